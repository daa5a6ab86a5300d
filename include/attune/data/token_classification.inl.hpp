#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include <attune/data/rows.hpp>
#include <attune/data/tagged_files.inl.hpp>
#include <attune/data/token_classification.hpp>

namespace attune {

struct TokenClassificationDataset::Rows {
  Rows(TextEncoder encoder, const TokenClassificationOptions& options)
      : tokenizer(std::move(encoder)),
        encode_options{.max_length = options.max_length},
        names(options.labels) {
    if (options.max_length < 0)
      throw ConfigError("TokenClassificationDataset: max_length must not be negative, found " +
                        std::to_string(options.max_length));
  }

  /// Adds sentences; `reject(index, problem)` hears of the bad ones.
  void add(std::vector<TaggedSentence> sentences,
           const std::function<void(std::size_t, const std::string&)>& reject) {
    if (names.empty()) {
      std::set<std::string> distinct;
      for (const TaggedSentence& sentence : sentences)
        distinct.insert(sentence.tags.begin(), sentence.tags.end());
      distinct.erase("");  // no tag: a sentence that has it is a bad one
      names.assign(distinct.begin(), distinct.end());
    }
    std::unordered_map<std::string, std::int32_t> ids;
    for (const std::string& name : names)
      if (!ids.try_emplace(name, static_cast<std::int32_t>(ids.size())).second)
        throw ConfigError("TokenClassificationDataset: label '" + name + "' occurs twice");
    for (std::size_t index = 0; index < sentences.size(); ++index) {
      TaggedSentence& sentence = sentences[index];
      std::string problem;
      std::vector<std::int32_t> tag_ids;
      if (sentence.words.size() != sentence.tags.size())
        problem = "expected a tag for each word, found " + std::to_string(sentence.words.size()) +
                  " words and " + std::to_string(sentence.tags.size()) + " tags";
      for (const std::string& tag : sentence.tags) {
        const auto id = ids.find(tag);
        if (id != ids.end())
          tag_ids.push_back(id->second);
        else if (problem.empty())
          problem = "tag '" + tag + "' is not one of the " + std::to_string(names.size()) + " labels";
      }
      if (problem.empty()) {
        words.push_back(std::move(sentence.words));
        tags.push_back(std::move(tag_ids));
      } else {
        reject(index, problem);
        ++skipped;
      }
    }
  }

  Encoding encode(std::int64_t row) const {
    return tokenizer.encode_words(words[static_cast<std::size_t>(row)], encode_options);
  }
  detail::RowLengths::Row measure(std::int64_t row) const {
    const Encoding encoding = encode(row);
    return {static_cast<std::int32_t>(encoding.ids.size()), encoding.truncated};
  }

  TextEncoder tokenizer;
  EncodeOptions encode_options;
  std::vector<std::string> names;
  std::vector<std::vector<std::string>> words;
  std::vector<std::vector<std::int32_t>> tags;
  std::int64_t skipped = 0;
  detail::RowLengths lengths;
};

ATTUNE_INLINE TokenClassificationDataset::TokenClassificationDataset(std::shared_ptr<Rows> rows)
    : rows_(std::move(rows)) {}

ATTUNE_INLINE TokenClassificationDataset::TokenClassificationDataset(
    TextEncoder tokenizer, const std::string& file, const TokenClassificationOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), options)) {
  const std::string extension = std::filesystem::path(file).extension().string();
  const bool json = extension == ".jsonl" || extension == ".ndjson" || extension == ".json";
  detail::TaggedFile read =
      json ? detail::read_tagged_json(file, options) : detail::ConllReader(file, options).read();
  rows_->skipped = read.skipped;
  rows_->add(std::move(read.sentences), [&](std::size_t index, const std::string& problem) {
    if (options.bad_rows == BadRows::error) throw detail::line_error(file, read.lines[index], problem);
  });
  if (rows_->words.empty()) throw FormatError(file, -1, "expected at least one good sentence, found none");
}

ATTUNE_INLINE TokenClassificationDataset::TokenClassificationDataset(
    TextEncoder tokenizer, std::vector<TaggedSentence> sentences, const TokenClassificationOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), options)) {
  rows_->add(std::move(sentences), [&](std::size_t index, const std::string& problem) {
    if (options.bad_rows == BadRows::error)
      throw ConfigError("TokenClassificationDataset: sentence " + std::to_string(index) + ": " + problem);
  });
  if (rows_->words.empty())
    throw ConfigError("TokenClassificationDataset: expected at least one good sentence, found none");
}

ATTUNE_INLINE std::int64_t TokenClassificationDataset::size() const {
  return static_cast<std::int64_t>(rows_->words.size());
}

ATTUNE_INLINE Batch TokenClassificationDataset::batch(std::span<const std::int64_t> rows,
                                                      std::uint64_t) const {
  Batch batch;
  for (const std::int64_t row : rows) {
    detail::check_row("TokenClassificationDataset::batch", row, size());
    const Encoding encoding = rows_->encode(row);
    detail::append_sequence(batch, encoding, row, /*with_types=*/false);
    std::int32_t previous = -1;
    for (const std::int32_t word : encoding.word_ids) {
      const bool begins = word >= 0 && word != previous;
      batch.labels.push_back(begins ? tag_ids(row)[static_cast<std::size_t>(word)] : ignore_index);
      previous = word;
    }
  }
  return batch;
}

ATTUNE_INLINE const std::vector<std::int32_t>& TokenClassificationDataset::lengths() const {
  return rows_->lengths.lengths(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE std::int64_t TokenClassificationDataset::truncated_rows() const {
  return rows_->lengths.truncated(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE std::int64_t TokenClassificationDataset::skipped_rows() const { return rows_->skipped; }
ATTUNE_INLINE const std::vector<std::string>& TokenClassificationDataset::id2label() const {
  return rows_->names;
}
ATTUNE_INLINE std::int64_t TokenClassificationDataset::num_labels() const {
  return static_cast<std::int64_t>(rows_->names.size());
}
ATTUNE_INLINE const std::vector<std::string>& TokenClassificationDataset::words(std::int64_t row) const {
  detail::check_row("TokenClassificationDataset::words", row, size());
  return rows_->words[static_cast<std::size_t>(row)];
}
ATTUNE_INLINE const std::vector<std::int32_t>& TokenClassificationDataset::tag_ids(std::int64_t row) const {
  detail::check_row("TokenClassificationDataset::tag_ids", row, size());
  return rows_->tags[static_cast<std::size_t>(row)];
}

ATTUNE_INLINE TokenClassificationDataset
TokenClassificationDataset::select(std::span<const std::int64_t> rows) const {
  for (const std::int64_t row : rows) detail::check_row("TokenClassificationDataset::select", row, size());
  TokenClassificationOptions options;
  options.labels = rows_->names;
  options.max_length = rows_->encode_options.max_length;
  auto chosen = std::make_shared<Rows>(rows_->tokenizer, options);
  chosen->words = detail::select_entries(rows_->words, rows);
  chosen->tags = detail::select_entries(rows_->tags, rows);
  return TokenClassificationDataset(std::move(chosen));
}

}  // namespace attune
