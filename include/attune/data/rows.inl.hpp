#pragma once

#include <atomic>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/data/rows.hpp>

namespace attune::detail {

ATTUNE_INLINE void RowLengths::fill(std::int64_t rows, const std::function<Row(std::int64_t)>& measure) {
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(rows));
  std::atomic<std::int64_t> truncated{0};
  parallel_chunks(rows, /*grain=*/64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const Row measured = measure(row);
      lengths[static_cast<std::size_t>(row)] = measured.length;
      if (measured.truncated) truncated.fetch_add(1, std::memory_order_relaxed);
    }
  });
  lengths_ = std::move(lengths);
  truncated_ = truncated.load();
}

ATTUNE_INLINE const std::vector<std::int32_t>& RowLengths::lengths(
    std::int64_t rows, const std::function<Row(std::int64_t)>& measure) {
  std::call_once(once_, [&] { fill(rows, measure); });
  return lengths_;
}

ATTUNE_INLINE std::int64_t RowLengths::truncated(std::int64_t rows,
                                                 const std::function<Row(std::int64_t)>& measure) {
  std::call_once(once_, [&] { fill(rows, measure); });
  return truncated_;
}

ATTUNE_INLINE void append_sequence(Batch& batch, const Encoding& encoding, std::int64_t row,
                                   bool with_types) {
  batch.input_ids.insert(batch.input_ids.end(), encoding.ids.begin(), encoding.ids.end());
  if (with_types)
    batch.token_type_ids.insert(batch.token_type_ids.end(), encoding.type_ids.begin(),
                                encoding.type_ids.end());
  batch.segments.append(static_cast<std::int32_t>(encoding.ids.size()));
  batch.rows.push_back(row);
}

ATTUNE_INLINE void check_row(const char* who, std::int64_t row, std::int64_t size) {
  if (row < 0 || row >= size)
    throw ConfigError(std::string(who) + ": expected a row from 0 to " + std::to_string(size - 1) +
                      ", found " + std::to_string(row));
}

ATTUNE_INLINE std::string_view trim(std::string_view text) {
  constexpr std::string_view space = " \t\r\n\f\v";
  const std::size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

ATTUNE_INLINE std::vector<std::string_view> split_field(std::string_view field, std::string_view separator) {
  std::vector<std::string_view> parts;
  if (trim(field).empty()) return parts;
  for (;;) {
    const std::size_t cut = field.find(separator);
    parts.push_back(trim(field.substr(0, cut)));
    if (cut == std::string_view::npos) return parts;
    field.remove_prefix(cut + separator.size());
  }
}

ATTUNE_INLINE float parse_float(std::string_view text) {
  text = trim(text);
  float value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::numeric_limits<float>::quiet_NaN();
  return value;
}

}  // namespace attune::detail
