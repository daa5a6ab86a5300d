#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/inline.hpp>
#include <attune/text/encoding.hpp>

/// What the datasets share.
namespace attune::detail {

/// The token counts of all rows, made on all threads when first asked for.
class RowLengths {
 public:
  struct Row {
    std::int32_t length;
    bool truncated;
  };

  const std::vector<std::int32_t>& lengths(std::int64_t rows,
                                           const std::function<Row(std::int64_t)>& measure);
  std::int64_t truncated(std::int64_t rows, const std::function<Row(std::int64_t)>& measure);

 private:
  void fill(std::int64_t rows, const std::function<Row(std::int64_t)>& measure);

  std::once_flag once_;
  std::vector<std::int32_t> lengths_;
  std::int64_t truncated_ = 0;
};

/// Appends an encoded sequence to a packed batch; token types only when `with_types`.
void append_sequence(Batch& batch, const Encoding& encoding, std::int64_t row, bool with_types);

/// Throws ConfigError unless 0 <= row < size.
void check_row(const char* who, std::int64_t row, std::int64_t size);

/// The chosen entries of one value per row (or of none at all).
template <class Value>
std::vector<Value> select_entries(const std::vector<Value>& values, std::span<const std::int64_t> rows) {
  std::vector<Value> chosen;
  if (values.empty()) return chosen;
  chosen.reserve(rows.size());
  for (const std::int64_t row : rows) chosen.push_back(values[static_cast<std::size_t>(row)]);
  return chosen;
}

/// Without the white space of ASCII at both ends.
std::string_view trim(std::string_view text);
/// The trimmed parts of a field; none for a blank one.
std::vector<std::string_view> split_field(std::string_view field, std::string_view separator);
/// A finite number that fills the whole (trimmed) text, or NaN.
float parse_float(std::string_view text);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/rows.inl.hpp>
#endif
