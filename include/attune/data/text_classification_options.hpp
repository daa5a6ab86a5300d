#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <attune/data/table.hpp>
#include <attune/text/encoding.hpp>

namespace attune {

/// What the label field of a row holds; Hugging Face's problem types.
enum class LabelKind {
  single,     ///< one of the labels: Batch::labels (single_label_classification)
  multi,      ///< any number of the labels: Batch::targets, 0 or 1 for each (multi_label_classification)
  regression  ///< a number: Batch::targets, one for each row (regression)
};

struct TextClassificationOptions {
  /// The labels' names in the order of their ids. Empty: all that occur, sorted by their bytes.
  std::vector<std::string> labels = {};
  /// The first text. Unset: the column that is left over, or else the one named "text" or "sentence".
  std::optional<Column> text_column = {};
  /// The second text of a pair. Unset: there is none.
  std::optional<Column> pair_column = {};
  /// Unset: the column whose values are all in `labels`; without `labels` (and for regression) the one named
  /// "label" or "labels".
  std::optional<Column> label_column = {};
  TableFormat format = TableFormat::automatic;
  /// Whether the first row holds the column names. Unset: yes when a column is given by name.
  std::optional<bool> header = {};
  LabelKind label_kind = LabelKind::single;
  /// Stands between the labels of a row (LabelKind::multi); a JSON array of labels is read as well.
  std::string label_separator = ",";
  /// The most tokens of a row, special tokens included; 0 for no limit.
  std::int64_t max_length = 512;
  Truncation truncation = Truncation::longest_first;
  /// Rows that are malformed or whose label is not one of `labels`.
  BadRows bad_rows = BadRows::error;
};

/// A row for datasets made in memory. Any type with the members `text`, `label` and perhaps `pair` will do;
/// labels may be strings or numbers.
struct TextExample {
  std::string text;
  std::string pair;
  std::string label;
};

}  // namespace attune
