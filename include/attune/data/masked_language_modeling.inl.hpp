#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <attune/core/random.hpp>
#include <attune/data/masked_language_modeling.hpp>
#include <attune/data/rows.hpp>
#include <attune/data/table.hpp>

namespace attune {

namespace detail {

/// Masks one sequence with its own random stream.
class SequenceMasker {
 public:
  SequenceMasker(const MaskingOptions& options, std::int32_t mask_id, std::int64_t vocab_size,
                 std::uint64_t epoch, std::int64_t row)
      : options_(options),
        mask_id_(mask_id),
        vocab_size_(vocab_size),
        // The top bit keeps these streams apart from those of samplers with the same seed.
        random_(options.seed, (std::uint64_t{1} << 63) + (epoch << 40) + static_cast<std::uint64_t>(row)) {}

  /// `places` are the tokens that may be masked.
  void mask(std::span<std::int32_t> ids, std::span<std::int32_t> labels,
            std::span<const std::size_t> places) {
    bool any = false;
    for (const std::size_t place : places) {
      if (random_.uniform() >= options_.mlm_probability) continue;
      replace(ids[place], labels[place]);
      any = true;
    }
    if (any || places.empty() || options_.mlm_probability == 0) return;
    const std::size_t place = places[static_cast<std::size_t>(random_.below(places.size()))];
    replace(ids[place], labels[place]);
  }

 private:
  void replace(std::int32_t& id, std::int32_t& label) {
    label = id;
    const double draw = random_.uniform();
    if (draw < options_.mask_replace_prob)
      id = mask_id_;
    else if (draw < options_.mask_replace_prob + options_.random_replace_prob)
      id = static_cast<std::int32_t>(random_.below(static_cast<std::uint64_t>(vocab_size_)));
  }

  const MaskingOptions& options_;
  std::int32_t mask_id_;
  std::int64_t vocab_size_;
  RandomStream random_;
};

inline void check_masking(const MaskingOptions& options) {
  for (const double share : {options.mlm_probability, options.mask_replace_prob, options.random_replace_prob,
                             options.mask_replace_prob + options.random_replace_prob})
    if (!(share >= 0 && share <= 1 + 1e-9))
      throw ConfigError(
          "MaskingOptions: probabilities and the sum of the two replacements must lie in [0, 1], found " +
          std::to_string(share));
}

}  // namespace detail

ATTUNE_INLINE void mask_tokens(Batch& batch, const TextEncoder& tokenizer, const MaskingOptions& options,
                               std::uint64_t epoch) {
  detail::check_masking(options);
  const std::int32_t mask_id = tokenizer.mask_token_id();
  if (tokenizer.vocab_size() < 1) throw ConfigError("mask_tokens: the tokenizer has no vocab_size");
  batch.labels.assign(batch.input_ids.size(), ignore_index);
  std::vector<std::size_t> places;
  const std::span<const std::int32_t> offsets = batch.segments.offsets();
  for (std::size_t sequence = 0; sequence + 1 < offsets.size(); ++sequence) {
    const auto begin = static_cast<std::size_t>(offsets[sequence]);
    const auto length = static_cast<std::size_t>(offsets[sequence + 1]) - begin;
    const std::span<std::int32_t> ids(batch.input_ids.data() + begin, length);
    places.clear();
    for (std::size_t place = 0; place < length; ++place)
      if (!tokenizer.is_special(ids[place])) places.push_back(place);
    const std::int64_t row = batch.rows.empty() ? static_cast<std::int64_t>(sequence) : batch.rows[sequence];
    detail::SequenceMasker(options, mask_id, tokenizer.vocab_size(), epoch, row)
        .mask(ids, std::span<std::int32_t>(batch.labels.data() + begin, length), places);
  }
}

struct MaskedLanguageModelingDataset::Rows {
  Rows(TextEncoder encoder, std::vector<std::string> lines, const MaskedLanguageModelingOptions& given)
      : tokenizer(std::move(encoder)),
        options(given),
        encode_options{.max_length = given.max_length},
        texts(std::move(lines)) {
    if (given.max_length < 0)
      throw ConfigError("MaskedLanguageModelingDataset: max_length must not be negative, found " +
                        std::to_string(given.max_length));
    detail::check_masking(given.masking);
    static_cast<void>(tokenizer.mask_token_id());  // throws when there is none
  }

  Encoding encode(std::int64_t row) const {
    return tokenizer.encode(texts[static_cast<std::size_t>(row)], encode_options);
  }
  detail::RowLengths::Row measure(std::int64_t row) const {
    const Encoding encoding = encode(row);
    return {static_cast<std::int32_t>(encoding.ids.size()), encoding.truncated};
  }

  TextEncoder tokenizer;
  MaskedLanguageModelingOptions options;
  EncodeOptions encode_options;
  std::vector<std::string> texts;
  detail::RowLengths lengths;
};

namespace detail {

/// The lines of a text file that are not blank, in valid UTF-8.
inline std::vector<std::string> read_lines(const std::string& file) {
  const std::string content = read_utf8_file(file);
  std::vector<std::string> lines;
  std::string_view rest = content;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = trim(rest.substr(0, end));
    if (!line.empty()) lines.emplace_back(line);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  if (lines.empty()) throw FormatError(file, -1, "expected at least one line of text, found none");
  return lines;
}

}  // namespace detail

ATTUNE_INLINE MaskedLanguageModelingDataset::MaskedLanguageModelingDataset(std::shared_ptr<Rows> rows)
    : rows_(std::move(rows)) {}
ATTUNE_INLINE MaskedLanguageModelingDataset::MaskedLanguageModelingDataset(
    TextEncoder tokenizer, const std::string& file, const MaskedLanguageModelingOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), detail::read_lines(file), options)) {}
ATTUNE_INLINE MaskedLanguageModelingDataset::MaskedLanguageModelingDataset(
    TextEncoder tokenizer, std::vector<std::string> texts, const MaskedLanguageModelingOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), std::move(texts), options)) {
  if (rows_->texts.empty())
    throw ConfigError("MaskedLanguageModelingDataset: expected at least one text, found none");
}

ATTUNE_INLINE std::int64_t MaskedLanguageModelingDataset::size() const {
  return static_cast<std::int64_t>(rows_->texts.size());
}

ATTUNE_INLINE Batch MaskedLanguageModelingDataset::batch(std::span<const std::int64_t> rows,
                                                         std::uint64_t epoch) const {
  Batch batch;
  for (const std::int64_t row : rows) {
    detail::check_row("MaskedLanguageModelingDataset::batch", row, size());
    detail::append_sequence(batch, rows_->encode(row), row, /*with_types=*/false);
  }
  mask_tokens(batch, rows_->tokenizer, rows_->options.masking, epoch);
  return batch;
}

ATTUNE_INLINE const std::vector<std::int32_t>& MaskedLanguageModelingDataset::lengths() const {
  return rows_->lengths.lengths(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE std::int64_t MaskedLanguageModelingDataset::truncated_rows() const {
  return rows_->lengths.truncated(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE const std::string& MaskedLanguageModelingDataset::text(std::int64_t row) const {
  detail::check_row("MaskedLanguageModelingDataset::text", row, size());
  return rows_->texts[static_cast<std::size_t>(row)];
}
ATTUNE_INLINE MaskedLanguageModelingDataset
MaskedLanguageModelingDataset::select(std::span<const std::int64_t> rows) const {
  for (const std::int64_t row : rows) detail::check_row("MaskedLanguageModelingDataset::select", row, size());
  return MaskedLanguageModelingDataset(
      std::make_shared<Rows>(rows_->tokenizer, detail::select_entries(rows_->texts, rows), rows_->options));
}

}  // namespace attune
