#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/data/split.hpp>
#include <attune/data/text_classification_options.hpp>
#include <attune/data/text_encoder.hpp>

namespace attune {

namespace detail {

template <class E>
concept TextExampleLike = requires(const E& example) {
  { example.text } -> std::convertible_to<std::string_view>;
  example.label;
};

template <class Label>
std::string label_text(const Label& label) {
  if constexpr (std::is_convertible_v<const Label&, std::string_view>) {
    return std::string(std::string_view(label));
  } else {
    static_assert(std::is_arithmetic_v<Label>, "a label is a string or a number");
    if constexpr (std::is_integral_v<Label>) return std::to_string(label);
    char digits[32];
    return {digits, std::to_chars(digits, digits + sizeof(digits), label).ptr};
  }
}

}  // namespace detail

/// Texts, or pairs of texts, with a class, several classes or a number each; tokenised when a batch is made.
///
///     TextClassificationDataset dataset(tokenizer, "train.tsv", {.labels = {"0", "1"}, .max_length = 128});
///
/// A value that is cheap to copy: copies share their rows.
class TextClassificationDataset {
 public:
  /// Reads a TSV, CSV or JSON-lines file. Throws IoError; FormatError, naming the file and if possible the
  /// line, when the table is malformed, the columns are not clear or a label is unknown; ConfigError for
  /// options that do not fit together.
  TextClassificationDataset(TextEncoder tokenizer, const std::string& file,
                            const TextClassificationOptions& options = {});

  /// Takes the rows of any range of `{text, pair, label}`. The column, format and header options have no
  /// meaning here.
  template <std::ranges::input_range Range>
  requires detail::TextExampleLike<std::ranges::range_value_t<Range>> TextClassificationDataset(
      TextEncoder tokenizer, const Range& examples, const TextClassificationOptions& options = {})
      : TextClassificationDataset(std::move(tokenizer), collect(examples), options, FromMemory()) {}

  std::int64_t size() const;
  /// The sequences of the given rows with labels or targets. Throws ConfigError for a row that does not
  /// exist.
  Batch batch(std::span<const std::int64_t> rows, std::uint64_t epoch = 0) const;

  /// Tokens of each row after truncation. Made on all threads when first asked for, then kept.
  const std::vector<std::int32_t>& lengths() const;
  /// How many rows lose tokens to max_length (as lengths()).
  std::int64_t truncated_rows() const;
  /// Bad rows that were left out (BadRows::skip).
  std::int64_t skipped_rows() const;

  LabelKind label_kind() const;
  /// The labels' names by id; empty for regression.
  const std::vector<std::string>& id2label() const;
  /// Outputs that a model needs: the number of labels, 1 for regression.
  std::int64_t num_labels() const;
  /// The label id of each row; empty unless LabelKind::single.
  const std::vector<std::int32_t>& label_ids() const;
  /// [size, num_labels], row-major; empty for LabelKind::single.
  const std::vector<float>& targets() const;
  const std::string& text(std::int64_t row) const;
  bool has_pairs() const;
  /// The second text; empty when there are no pairs.
  const std::string& pair(std::int64_t row) const;

  /// The given rows, in that order, as a dataset with the same labels and options.
  TextClassificationDataset select(std::span<const std::int64_t> rows) const;
  /// balanced_class_weights() of label_ids().
  std::vector<float> class_weights() const;

 private:
  struct Rows;
  struct FromMemory {};

  TextClassificationDataset(TextEncoder tokenizer, std::vector<TextExample> examples,
                            const TextClassificationOptions& options, FromMemory);
  explicit TextClassificationDataset(std::shared_ptr<Rows> rows);

  template <class Range>
  static std::vector<TextExample> collect(const Range& examples) {
    std::vector<TextExample> rows;
    for (const auto& example : examples) {
      rows.push_back({std::string(std::string_view(example.text)), {}, detail::label_text(example.label)});
      if constexpr (requires { std::string_view(example.pair); })
        rows.back().pair = std::string(std::string_view(example.pair));
    }
    return rows;
  }

  std::shared_ptr<Rows> rows_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/text_classification.inl.hpp>
#endif
