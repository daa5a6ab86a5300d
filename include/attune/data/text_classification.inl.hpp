#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include <attune/data/rows.hpp>
#include <attune/data/text_classification.hpp>
#include <attune/data/text_columns.inl.hpp>

namespace attune {

struct TextClassificationDataset::Rows {
  Rows(TextEncoder encoder, const TextClassificationOptions& options)
      : tokenizer(std::move(encoder)),
        encode_options{.max_length = options.max_length, .truncation = options.truncation},
        kind(options.label_kind) {
    if (options.max_length < 0)
      throw ConfigError("TextClassificationDataset: max_length must not be negative, found " +
                        std::to_string(options.max_length));
    if (options.label_separator.empty())
      throw ConfigError("TextClassificationDataset: label_separator must not be empty");
    if (kind == LabelKind::regression && !options.labels.empty())
      throw ConfigError("TextClassificationDataset: labels have no meaning for regression");
    names = options.labels;
    index_names();
  }

  void index_names() {
    ids.clear();
    for (const std::string& name : names)
      if (!ids.try_emplace(name, static_cast<std::int32_t>(ids.size())).second)
        throw ConfigError("TextClassificationDataset: label '" + name + "' occurs twice");
  }

  /// Takes the labels that occur as the names, unless there are some.
  void discover(const std::vector<std::vector<std::string>>& labels) {
    if (!names.empty() || kind == LabelKind::regression) return;
    std::set<std::string> distinct;
    for (const auto& row : labels) distinct.insert(row.begin(), row.end());
    distinct.erase("");  // no label: a row that has it is a bad one
    names.assign(distinct.begin(), distinct.end());
    index_names();
  }

  /// Adds the label of a row; what is wrong with it, if anything (and then nothing was added).
  std::string add_label(const std::vector<std::string>& row) {
    if (kind == LabelKind::regression) {
      const float value = row.size() == 1 ? detail::parse_float(row.front()) : std::nanf("");
      if (std::isnan(value))
        return "expected a finite number as label, found '" + (row.empty() ? std::string() : row.front()) +
               "'";
      targets.push_back(value);
      return {};
    }
    for (const std::string& name : row)
      if (!ids.contains(name))
        return name.empty() ? "expected a label, found an empty field"
                            : "expected one of the labels " + name_list() + ", found '" + name + "'";
    if (kind == LabelKind::single) {
      labels.push_back(ids.at(row.front()));
      return {};
    }
    const std::size_t begin = targets.size();
    targets.resize(begin + names.size());
    for (const std::string& name : row) targets[begin + static_cast<std::size_t>(ids.at(name))] = 1;
    return {};
  }

  std::string name_list() const {
    std::string list;
    for (std::size_t at = 0; at < names.size() && at < 20; ++at)
      list += (at > 0 ? ", '" : "'") + names[at] + "'";
    return names.size() > 20 ? list + ", ..." : list;
  }

  std::int64_t size() const { return static_cast<std::int64_t>(texts.size()); }
  std::size_t width() const { return kind == LabelKind::regression ? 1 : names.size(); }

  Encoding encode(std::int64_t row) const {
    const auto at = static_cast<std::size_t>(row);
    return pairs.empty() ? tokenizer.encode(texts[at], encode_options)
                         : tokenizer.encode_pair(texts[at], pairs[at], encode_options);
  }

  detail::RowLengths::Row measure(std::int64_t row) const {
    const Encoding encoding = encode(row);
    return {static_cast<std::int32_t>(encoding.ids.size()), encoding.truncated};
  }

  TextEncoder tokenizer;
  EncodeOptions encode_options;
  LabelKind kind;
  std::vector<std::string> names;
  std::unordered_map<std::string, std::int32_t> ids;  // of the names
  std::vector<std::string> texts, pairs;
  std::vector<std::int32_t> labels;
  std::vector<float> targets;
  std::int64_t skipped = 0;
  detail::RowLengths lengths;
};

ATTUNE_INLINE TextClassificationDataset::TextClassificationDataset(std::shared_ptr<Rows> rows)
    : rows_(std::move(rows)) {}

ATTUNE_INLINE TextClassificationDataset::TextClassificationDataset(TextEncoder tokenizer,
                                                                   const std::string& file,
                                                                   const TextClassificationOptions& options)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), options)) {
  const auto named = [](const std::optional<Column>& column) { return column && column->is_name(); };
  const bool header = options.header.value_or(named(options.text_column) || named(options.pair_column) ||
                                              named(options.label_column));
  const Table table =
      read_table(file, {.format = options.format, .header = header, .bad_rows = options.bad_rows});
  const detail::TextColumns columns = detail::find_text_columns(table, options);
  Rows& rows = *rows_;
  rows.skipped = table.skipped();

  const auto reject = [&](std::int64_t row, const std::string& problem) {
    if (options.bad_rows == BadRows::error) throw detail::line_error(file, table.line(row), problem);
    ++rows.skipped;
  };
  std::vector<std::int64_t> complete;  // rows that have every cell
  std::vector<std::vector<std::string>> labels;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    std::string missing;
    for (const int column : {columns.text, columns.pair, columns.label})
      if (column >= 0 && !table.find(row, column))
        missing = "expected a value for '" + table.names()[static_cast<std::size_t>(column)] + "'";
    if (!missing.empty()) {
      reject(row, missing);
      continue;
    }
    complete.push_back(row);
    labels.push_back(detail::field_labels(table.at(row, columns.label), options));
  }
  rows.discover(labels);
  for (std::size_t at = 0; at < complete.size(); ++at) {
    const std::string problem = rows.add_label(labels[at]);
    if (!problem.empty()) {
      reject(complete[at], problem);
      continue;
    }
    rows.texts.emplace_back(table.at(complete[at], columns.text));
    if (columns.pair >= 0) rows.pairs.emplace_back(table.at(complete[at], columns.pair));
  }
  if (rows.texts.empty()) throw FormatError(file, -1, "expected at least one good row, found none");
}

ATTUNE_INLINE TextClassificationDataset::TextClassificationDataset(TextEncoder tokenizer,
                                                                   std::vector<TextExample> examples,
                                                                   const TextClassificationOptions& options,
                                                                   FromMemory)
    : rows_(std::make_shared<Rows>(std::move(tokenizer), options)) {
  Rows& rows = *rows_;
  std::vector<std::vector<std::string>> labels;
  for (const TextExample& example : examples) labels.push_back(detail::field_labels(example.label, options));
  rows.discover(labels);
  const bool with_pairs = std::any_of(examples.begin(), examples.end(),
                                      [](const TextExample& example) { return !example.pair.empty(); });
  for (std::size_t at = 0; at < examples.size(); ++at) {
    const std::string problem = rows.add_label(labels[at]);
    if (!problem.empty()) {
      if (options.bad_rows == BadRows::error)
        throw ConfigError("TextClassificationDataset: example " + std::to_string(at) + ": " + problem);
      ++rows.skipped;
      continue;
    }
    rows.texts.push_back(std::move(examples[at].text));
    if (with_pairs) rows.pairs.push_back(std::move(examples[at].pair));
  }
  if (rows.texts.empty())
    throw ConfigError("TextClassificationDataset: expected at least one good example, found none");
}

ATTUNE_INLINE std::int64_t TextClassificationDataset::size() const { return rows_->size(); }

ATTUNE_INLINE Batch TextClassificationDataset::batch(std::span<const std::int64_t> rows,
                                                     std::uint64_t) const {
  Batch batch;
  for (const std::int64_t row : rows) {
    detail::check_row("TextClassificationDataset::batch", row, size());
    detail::append_sequence(batch, rows_->encode(row), row, has_pairs());
    if (rows_->kind == LabelKind::single) {
      batch.labels.push_back(rows_->labels[static_cast<std::size_t>(row)]);
    } else {
      const std::size_t width = rows_->width();
      const auto begin =
          rows_->targets.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * width);
      batch.targets.insert(batch.targets.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
    }
  }
  return batch;
}

ATTUNE_INLINE const std::vector<std::int32_t>& TextClassificationDataset::lengths() const {
  return rows_->lengths.lengths(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE std::int64_t TextClassificationDataset::truncated_rows() const {
  return rows_->lengths.truncated(size(), [this](std::int64_t row) { return rows_->measure(row); });
}
ATTUNE_INLINE std::int64_t TextClassificationDataset::skipped_rows() const { return rows_->skipped; }
ATTUNE_INLINE LabelKind TextClassificationDataset::label_kind() const { return rows_->kind; }
ATTUNE_INLINE const std::vector<std::string>& TextClassificationDataset::id2label() const {
  return rows_->names;
}
ATTUNE_INLINE std::int64_t TextClassificationDataset::num_labels() const {
  return static_cast<std::int64_t>(rows_->width());
}
ATTUNE_INLINE const std::vector<std::int32_t>& TextClassificationDataset::label_ids() const {
  return rows_->labels;
}
ATTUNE_INLINE const std::vector<float>& TextClassificationDataset::targets() const { return rows_->targets; }
ATTUNE_INLINE bool TextClassificationDataset::has_pairs() const { return !rows_->pairs.empty(); }

ATTUNE_INLINE const std::string& TextClassificationDataset::text(std::int64_t row) const {
  detail::check_row("TextClassificationDataset::text", row, size());
  return rows_->texts[static_cast<std::size_t>(row)];
}
ATTUNE_INLINE const std::string& TextClassificationDataset::pair(std::int64_t row) const {
  static const std::string none;
  detail::check_row("TextClassificationDataset::pair", row, size());
  return has_pairs() ? rows_->pairs[static_cast<std::size_t>(row)] : none;
}

ATTUNE_INLINE TextClassificationDataset
TextClassificationDataset::select(std::span<const std::int64_t> rows) const {
  for (const std::int64_t row : rows) detail::check_row("TextClassificationDataset::select", row, size());
  TextClassificationOptions options{.labels = rows_->names,
                                    .label_kind = rows_->kind,
                                    .max_length = rows_->encode_options.max_length,
                                    .truncation = rows_->encode_options.truncation};
  auto chosen = std::make_shared<Rows>(rows_->tokenizer, options);
  chosen->texts = detail::select_entries(rows_->texts, rows);
  chosen->pairs = detail::select_entries(rows_->pairs, rows);
  chosen->labels = detail::select_entries(rows_->labels, rows);
  const std::size_t width = rows_->width();
  if (!rows_->targets.empty())
    for (const std::int64_t row : rows)
      for (std::size_t column = 0; column < width; ++column)
        chosen->targets.push_back(rows_->targets[static_cast<std::size_t>(row) * width + column]);
  return TextClassificationDataset(std::move(chosen));
}

ATTUNE_INLINE std::vector<float> TextClassificationDataset::class_weights() const {
  if (rows_->kind != LabelKind::single)
    throw ConfigError("TextClassificationDataset::class_weights: expected rows with a single label");
  return balanced_class_weights(rows_->labels, num_labels());
}

}  // namespace attune
