#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>

#include <attune/data/rows.hpp>
#include <attune/data/sentence_pairs.hpp>
#include <attune/text/utf8.hpp>

namespace attune {

struct SentencePairDataset::Rows {
  Rows(TextEncoder encoder, std::int64_t max_length)
      : tokenizer(std::move(encoder)), encode_options{.max_length = max_length} {
    if (max_length < 0)
      throw ConfigError("SentencePairDataset: max_length must not be negative, found " +
                        std::to_string(max_length));
  }

  detail::RowLengths::Row measure(std::int64_t row) const {
    const SentencePair& pair = pairs[static_cast<std::size_t>(row)];
    const Encoding first = tokenizer.encode(pair.text1, encode_options);
    const Encoding second = tokenizer.encode(pair.text2, encode_options);
    return {static_cast<std::int32_t>(first.ids.size() + second.ids.size()),
            first.truncated || second.truncated};
  }

  TextEncoder tokenizer;
  EncodeOptions encode_options;
  std::vector<SentencePair> pairs;
  std::int64_t skipped = 0;
  detail::RowLengths lengths;
};

ATTUNE_INLINE SentencePairDataset::SentencePairDataset(std::shared_ptr<Rows> rows) : rows_(std::move(rows)) {}

ATTUNE_INLINE SentencePairDataset::SentencePairDataset(TextEncoder tokenizer, const std::string& file,
                                                       const SentencePairOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), options.max_length)) {
  const auto named = [](const std::optional<Column>& column) { return column && column->is_name(); };
  const bool header = options.header.value_or(named(options.text1_column) || named(options.text2_column) ||
                                              named(options.score_column));
  const Table table =
      read_table(file, {.format = options.format, .header = header, .bad_rows = options.bad_rows});
  const auto choose = [&](const std::optional<Column>& wanted, const char* name, int number) {
    if (wanted) return table.column(*wanted);
    const int found = table.find_column(name);
    return found >= 0 ? found : table.column(Column(number));
  };
  const int text1 = choose(options.text1_column, "sentence1", 0);
  const int text2 = choose(options.text2_column, "sentence2", 1);
  int score = -1;
  const bool by_place = !options.text1_column && !options.text2_column && table.columns() == 3;
  if (options.score_column || table.find_column("score") >= 0 || by_place)
    score = choose(options.score_column, "score", 2);
  if (text1 == text2 || text1 == score || text2 == score)
    throw ConfigError(
        "SentencePairDataset: text1_column, text2_column and score_column must be different in " + file);

  rows_->skipped = table.skipped();
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    std::string problem;
    SentencePair pair;
    for (const int column : {text1, text2, score}) {
      if (column < 0) continue;
      const auto cell = table.find(row, column);
      if (!cell) {
        problem = "expected a value for '" + table.names()[static_cast<std::size_t>(column)] + "'";
      } else if (column == score) {
        pair.score = detail::parse_float(*cell);
        if (std::isnan(*pair.score))
          problem = "expected a finite number as score, found '" +
                    detail::replace_invalid_utf8(cell->substr(0, 60)) + "'";
      } else {
        (column == text1 ? pair.text1 : pair.text2) = std::string(*cell);
      }
    }
    if (problem.empty())
      rows_->pairs.push_back(std::move(pair));
    else if (options.bad_rows == BadRows::error)
      throw detail::line_error(file, table.line(row), problem);
    else
      ++rows_->skipped;
  }
  if (rows_->pairs.empty()) throw FormatError(file, -1, "expected at least one good row, found none");
}

ATTUNE_INLINE SentencePairDataset::SentencePairDataset(TextEncoder tokenizer, std::vector<SentencePair> pairs,
                                                       const SentencePairOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), options.max_length)) {
  if (pairs.empty()) throw ConfigError("SentencePairDataset: expected at least one pair, found none");
  for (std::size_t row = 0; row < pairs.size(); ++row)
    if (pairs[row].score.has_value() != pairs.front().score.has_value())
      throw ConfigError("SentencePairDataset: expected a score for all pairs or for none; pair " +
                        std::to_string(row) + " differs from the first");
  rows_->pairs = std::move(pairs);
}

ATTUNE_INLINE std::int64_t SentencePairDataset::size() const {
  return static_cast<std::int64_t>(rows_->pairs.size());
}
ATTUNE_INLINE bool SentencePairDataset::has_scores() const { return rows_->pairs.front().score.has_value(); }
ATTUNE_INLINE std::int64_t SentencePairDataset::skipped_rows() const { return rows_->skipped; }

ATTUNE_INLINE const SentencePair& SentencePairDataset::pair(std::int64_t row) const {
  detail::check_row("SentencePairDataset::pair", row, size());
  return rows_->pairs[static_cast<std::size_t>(row)];
}

ATTUNE_INLINE Batch SentencePairDataset::batch(std::span<const std::int64_t> rows, std::uint64_t) const {
  Batch batch;
  for (const auto text : {&SentencePair::text1, &SentencePair::text2})
    for (const std::int64_t row : rows)
      detail::append_sequence(batch, rows_->tokenizer.encode(pair(row).*text, rows_->encode_options), row,
                              /*with_types=*/false);
  if (has_scores())
    for (const std::int64_t row : rows) batch.targets.push_back(*pair(row).score);
  return batch;
}

ATTUNE_INLINE const std::vector<std::int32_t>& SentencePairDataset::lengths() const {
  return rows_->lengths.lengths(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE std::int64_t SentencePairDataset::truncated_rows() const {
  return rows_->lengths.truncated(size(), [this](std::int64_t row) { return rows_->measure(row); });
}

ATTUNE_INLINE SentencePairDataset SentencePairDataset::select(std::span<const std::int64_t> rows) const {
  if (rows.empty()) throw ConfigError("SentencePairDataset::select: expected at least one row, found none");
  for (const std::int64_t row : rows) detail::check_row("SentencePairDataset::select", row, size());
  auto chosen = std::make_shared<Rows>(rows_->tokenizer, rows_->encode_options.max_length);
  chosen->pairs = detail::select_entries(rows_->pairs, rows);
  return SentencePairDataset(std::move(chosen));
}

}  // namespace attune
