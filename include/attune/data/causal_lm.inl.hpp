#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include <attune/data/causal_lm.hpp>
#include <attune/data/rows.hpp>
#include <attune/data/table.hpp>

namespace attune {

struct CausalLmDataset::Rows {
  std::vector<TokenRow> rows;
  std::vector<std::int32_t> lengths;
  std::int64_t trained = 0;
};

namespace detail {

/// How many tokens of a sequence are learned; the first one has nothing before it.
inline std::int64_t trained_tokens(const TokenRow& row) {
  return std::count_if(row.labels.begin() + 1, row.labels.end(),
                       [](std::int32_t label) { return label != ignore_index; });
}

/// Appends a row to a batch as a sequence.
inline void append_row(Batch& batch, const TokenRow& row, std::int64_t number) {
  batch.input_ids.insert(batch.input_ids.end(), row.ids.begin(), row.ids.end());
  batch.labels.insert(batch.labels.end(), row.labels.begin(), row.labels.end());
  batch.segments.append(static_cast<std::int32_t>(row.ids.size()));
  batch.rows.push_back(number);
}

inline void check_trained(std::int64_t trained, std::span<const std::int64_t> rows) {
  if (trained > 0 || rows.empty()) return;
  std::string list;
  for (std::size_t i = 0; i < rows.size() && i < 8; ++i)
    list += (i > 0 ? ", " : "") + std::to_string(rows[i]);
  throw ConfigError("CausalLmDataset::batch: no token of rows " + list + (rows.size() > 8 ? ", ..." : "") +
                    " is to be learned; a larger max_length may help");
}

}  // namespace detail

ATTUNE_INLINE CausalLmDataset::CausalLmDataset(std::vector<TokenRow> rows) {
  auto made = std::make_shared<Rows>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].ids.empty() || rows[i].ids.size() != rows[i].labels.size())
      throw ConfigError("CausalLmDataset: row " + std::to_string(i) +
                        ": expected at least one token and a label for each, found " +
                        std::to_string(rows[i].ids.size()) + " and " + std::to_string(rows[i].labels.size()));
    made->lengths.push_back(static_cast<std::int32_t>(rows[i].ids.size()));
    made->trained += detail::trained_tokens(rows[i]);
  }
  if (rows.empty()) throw ConfigError("CausalLmDataset: expected at least one row, found none");
  made->rows = std::move(rows);
  rows_ = std::move(made);
}

ATTUNE_INLINE CausalLmDataset CausalLmDataset::from_texts(const TextEncoder& tokenizer,
                                                          std::span<const std::string> texts,
                                                          const TextBlockOptions& options) {
  if (options.block_size < 2)
    throw ConfigError("TextBlockOptions: block_size must be at least 2, found " +
                      std::to_string(options.block_size));
  const auto end = tokenizer.special_token_id("eos_token");
  if (options.join_texts && texts.size() > 1 && !end)
    throw ConfigError(
        "CausalLmDataset: the tokenizer has no end-of-text token to put between texts; set join_texts to "
        "false");
  const auto block = static_cast<std::size_t>(options.block_size);
  std::vector<TokenRow> rows;
  std::vector<std::int32_t> ids;
  const auto cut = [&] {
    for (std::size_t begin = 0; begin < ids.size(); begin += block) {
      const std::size_t count = std::min(block, ids.size() - begin);
      if (count < 2 || (count < block && options.drop_last)) break;
      const std::vector<std::int32_t> part(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                           ids.begin() + static_cast<std::ptrdiff_t>(begin + count));
      rows.push_back({part, part});
    }
    ids.clear();
  };
  for (const std::string& text : texts) {
    const Encoding encoding = tokenizer.encode(text, {.add_special_tokens = !options.join_texts});
    if (options.join_texts && !ids.empty()) ids.push_back(*end);
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    if (!options.join_texts) cut();
  }
  cut();
  if (rows.empty())
    throw ConfigError("CausalLmDataset: the texts give no block of " + std::to_string(options.block_size) +
                      " tokens");
  return CausalLmDataset(std::move(rows));
}

ATTUNE_INLINE CausalLmDataset CausalLmDataset::from_text_file(const TextEncoder& tokenizer,
                                                              const std::string& file,
                                                              const TextBlockOptions& options) {
  const std::string text = detail::read_utf8_file(file);
  if (detail::trim(text).empty()) throw FormatError(file, -1, "expected a text, found nothing");
  return from_texts(tokenizer, std::span(&text, 1), options);
}

ATTUNE_INLINE std::int64_t CausalLmDataset::size() const {
  return static_cast<std::int64_t>(rows_->rows.size());
}

ATTUNE_INLINE Batch CausalLmDataset::batch(std::span<const std::int64_t> rows, std::uint64_t) const {
  Batch batch;
  std::int64_t trained = 0;
  for (const std::int64_t number : rows) {
    const TokenRow& chosen = row(number);
    detail::append_row(batch, chosen, number);
    trained += detail::trained_tokens(chosen);
  }
  detail::check_trained(trained, rows);
  return batch;
}

ATTUNE_INLINE const std::vector<std::int32_t>& CausalLmDataset::lengths() const { return rows_->lengths; }
ATTUNE_INLINE const TokenRow& CausalLmDataset::row(std::int64_t row) const {
  detail::check_row("CausalLmDataset", row, size());
  return rows_->rows[static_cast<std::size_t>(row)];
}
ATTUNE_INLINE std::int64_t CausalLmDataset::trained_tokens() const { return rows_->trained; }

ATTUNE_INLINE CausalLmDataset CausalLmDataset::select(std::span<const std::int64_t> rows) const {
  for (const std::int64_t number : rows) detail::check_row("CausalLmDataset::select", number, size());
  return CausalLmDataset(detail::select_entries(rows_->rows, rows));
}

}  // namespace attune
