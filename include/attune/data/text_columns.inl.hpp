#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <attune/data/rows.hpp>
#include <attune/data/table.hpp>
#include <attune/data/text_classification_options.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

struct TextColumns {
  int text = -1, pair = -1, label = -1;
};

/// The labels of one field.
inline std::vector<std::string> field_labels(std::string_view field,
                                             const TextClassificationOptions& options) {
  if (options.label_kind == LabelKind::single) return {std::string(trim(field))};
  if (auto list = parse_string_list(field)) return *list;
  const auto parts = split_field(field, options.label_separator);
  return {parts.begin(), parts.end()};
}

inline std::string column_list(const Table& table, const std::vector<int>& columns) {
  std::string list;
  for (const int column : columns) {
    const std::string& name = table.names()[static_cast<std::size_t>(column)];
    list += (list.empty() ? "" : ", ") + (table.has_names() ? "'" + name + "'" : name);
  }
  return list;
}

/// The one column whose values are all labels (most values, when bad rows are skipped anyway).
inline int find_label_column(const Table& table, const std::vector<int>& candidates,
                             const TextClassificationOptions& options) {
  const std::unordered_set<std::string> known(options.labels.begin(), options.labels.end());
  const auto fits = [&](std::int64_t row, int column) {
    const auto cell = table.find(row, column);
    if (!cell) return false;
    const auto labels = field_labels(*cell, options);
    return std::all_of(labels.begin(), labels.end(),
                       [&](const std::string& label) { return known.contains(label); });
  };
  std::vector<int> found;
  std::int64_t best_hits = -1, best_miss = 0;
  int best = 0;
  for (const int column : candidates) {
    std::int64_t hits = 0, miss = -1;
    for (std::int64_t row = 0; row < table.rows(); ++row) {
      if (fits(row, column))
        ++hits;
      else if (miss < 0)
        miss = row;
    }
    if (miss < 0 || (options.bad_rows == BadRows::skip && hits * 2 > table.rows())) found.push_back(column);
    if (hits > best_hits) {
      best_hits = hits;
      best_miss = miss;
      best = column;
    }
  }
  if (found.size() == 1) return found.front();
  if (found.size() > 1)
    throw FormatError(table.file(), -1,
                      "columns " + column_list(table, found) +
                          " all hold nothing but labels; say which one it is with label_column");
  if (candidates.empty()) throw FormatError(table.file(), -1, "no column is left for the labels");
  std::string names;
  for (std::size_t at = 0; at < options.labels.size() && at < 20; ++at)
    names += (at > 0 ? ", '" : "'") + options.labels[at] + "'";
  const auto cell = table.find(best_miss, best);
  throw line_error(
      table.file(), table.line(best_miss),
      "no column holds nothing but the labels " + names + "; column " + column_list(table, {best}) +
          " comes nearest, but here it holds " +
          (cell ? "'" + replace_invalid_utf8(cell->substr(0, 60)) + "'" : "nothing") +
          (best_hits + 1 == table.rows() && best_miss == 0 && !table.has_names() ? " (is this line a header?)"
                                                                                 : ""));
}

/// Decides which columns are meant, by the rules of TextClassificationOptions.
inline TextColumns find_text_columns(const Table& table, const TextClassificationOptions& options) {
  TextColumns columns;
  if (options.text_column) columns.text = table.column(*options.text_column);
  if (options.pair_column) columns.pair = table.column(*options.pair_column);
  if (options.label_column) columns.label = table.column(*options.label_column);
  const auto rest = [&] {
    std::vector<int> free;
    for (int column = 0; column < table.columns(); ++column)
      if (column != columns.text && column != columns.pair && column != columns.label) free.push_back(column);
    return free;
  };
  if (columns.label < 0) {
    if (!options.labels.empty() && options.label_kind != LabelKind::regression) {
      columns.label = find_label_column(table, rest(), options);
    } else {
      columns.label = table.find_column("label");
      if (columns.label < 0) columns.label = table.find_column("labels");
      if (columns.label < 0)
        throw FormatError(table.file(), -1,
                          "no column is named 'label'; say with label_column which of " +
                              column_list(table, rest()) + " it is, or give the labels");
    }
  }
  if (columns.text < 0) {
    const std::vector<int> free = rest();
    if (free.size() == 1) columns.text = free.front();
    for (const char* name : {"text", "sentence"})
      if (columns.text < 0) columns.text = table.find_column(name);
    if (columns.text < 0)
      throw FormatError(table.file(), -1,
                        free.empty() ? "no column is left for the text"
                                     : "say with text_column which of the columns " +
                                           column_list(table, free) + " is the text");
  }
  if (columns.text == columns.label || columns.pair == columns.label || columns.text == columns.pair)
    throw ConfigError(
        "TextClassificationDataset: text_column, pair_column and label_column must be different in " +
        table.file());
  return columns;
}

}  // namespace attune::detail
