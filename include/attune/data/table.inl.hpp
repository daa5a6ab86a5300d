#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/data/table.hpp>
#include <attune/data/text_file.inl.hpp>
#include <attune/formats/json.hpp>
#include <attune/text/utf8.hpp>

namespace attune {

ATTUNE_INLINE Column::Column(int number) : number_(number) {
  if (number < 0) throw ConfigError("Column: a number counts from 0, found " + std::to_string(number));
}
ATTUNE_INLINE Column::Column(std::string name) : name_(std::move(name)) {}
ATTUNE_INLINE Column::Column(const char* name) : name_(name) {}

ATTUNE_INLINE Column Column::parse(std::string_view text) {
  int number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure == std::errc() && end == text.data() + text.size() && number >= 0) return Column(number);
  return Column(std::string(text));
}

ATTUNE_INLINE std::string Column::to_string() const {
  return is_name() ? "column '" + name_ + "'" : "column " + std::to_string(number_);
}

ATTUNE_INLINE int Table::find_column(std::string_view name) const {
  if (!has_names_) return -1;
  const auto found = std::find(names_.begin(), names_.end(), name);
  return found == names_.end() ? -1 : static_cast<int>(found - names_.begin());
}

ATTUNE_INLINE int Table::column(const Column& wanted) const {
  if (!wanted.is_name()) {
    if (wanted.number() < columns()) return wanted.number();
    throw detail::line_error(file_, line(0),
                             "expected " + wanted.to_string() + " (counted from 0), found " +
                                 std::to_string(columns()) + " columns");
  }
  if (!has_names_)
    throw detail::line_error(file_, line(0),
                             "expected " + wanted.to_string() + ", but the table has no header");
  const int found = find_column(wanted.name());
  if (found < 0) {
    std::string known;
    for (std::size_t at = 0; at < names_.size() && at < 20; ++at)
      known += (at > 0 ? ", '" : "'") + names_[at] + "'";
    throw detail::line_error(file_, 1, "expected " + wanted.to_string() + ", found " + known);
  }
  if (std::count(names_.begin(), names_.end(), wanted.name()) > 1)
    throw detail::line_error(file_, 1, wanted.to_string() + " occurs more than once; name it by number");
  return found;
}

ATTUNE_INLINE std::optional<std::string_view> Table::find(std::int64_t row, int column) const {
  const auto index = static_cast<std::size_t>(row);
  for (std::size_t at = row_begin_[index]; at < row_begin_[index + 1]; ++at)
    if (cells_[at].column == static_cast<std::uint32_t>(column))
      return std::string_view(text_).substr(cells_[at].begin, cells_[at].length);
  return std::nullopt;
}

ATTUNE_INLINE std::string_view Table::at(std::int64_t row, int column) const {
  const auto cell = find(row, column);
  if (!cell)
    throw detail::line_error(file_, line(row),
                             "expected a value for '" + names_[static_cast<std::size_t>(column)] + "'");
  return *cell;
}

/// Fills a Table row by row.
class TableBuilder {
 public:
  TableBuilder(const std::string& name, const TableOptions& options) : options_(options) {
    table_.file_ = name;
  }

  Table finish() && {
    if (table_.lines_.empty()) {
      std::string found = "expected at least one row, found none";
      if (table_.skipped_ > 0) found += " besides " + std::to_string(table_.skipped_) + " bad ones";
      throw detail::line_error(table_.file_, 1, found);
    }
    return std::move(table_);
  }

  void parse_delimited(std::string_view content, char delimiter, bool quotes) {
    delimiter_ = delimiter;
    content_ = content;
    table_.has_names_ = options_.header;
    bool header = options_.header;
    while (at_ < content_.size()) {
      if (skip_blank_line()) continue;
      row_line_ = line_;
      fields_.clear();
      const std::size_t begin = at_;
      const std::string problem = quotes ? split_quoted() : split_plain();
      const std::string_view raw = content_.substr(begin, at_ - begin);
      next_line();
      if (header) {
        header = false;
        if (!problem.empty()) throw detail::line_error(table_.file_, row_line_, "in the header: " + problem);
        table_.names_ = std::move(fields_);
        counted_on_ = row_line_;
      } else if (!problem.empty()) {
        reject(problem);
      } else if (raw.find('\0') != std::string_view::npos) {
        reject("a zero byte inside the text");
      } else {
        add_fields();
      }
    }
  }

  void parse_json_lines(std::string_view content) {
    content_ = content;
    table_.has_names_ = true;
    while (at_ < content_.size()) {
      if (skip_blank_line()) continue;
      row_line_ = line_;
      const std::size_t end = std::min(content_.find('\n', at_), content_.size());
      add_object(content_.substr(at_, end - at_));
      at_ = end;
      next_line();
    }
  }

 private:
  using Json = nlohmann::json;

  void reject(const std::string& problem) {
    if (options_.bad_rows == BadRows::error) throw detail::line_error(table_.file_, row_line_, problem);
    ++table_.skipped_;
  }

  bool skip_blank_line() {
    std::size_t end = at_;
    while (end < content_.size() && (content_[end] == '\r' || content_[end] == ' ')) ++end;
    if (end < content_.size() && content_[end] != '\n') return false;
    at_ = end;
    next_line();
    return true;
  }

  void next_line() {  // past the line break at at_, if there is one
    if (at_ < content_.size()) ++at_;
    ++line_;
  }

  /// Both splitters fill fields_ from the row at at_, leave at_ on its line break or at the end, and return
  /// what is wrong with it, if anything.
  std::string split_plain() {
    const std::size_t end = std::min(content_.find('\n', at_), content_.size());
    std::string_view rest = content_.substr(at_, end - at_);
    if (!rest.empty() && rest.back() == '\r') rest.remove_suffix(1);
    for (;;) {
      const std::size_t cut = rest.find(delimiter_);
      fields_.emplace_back(rest.substr(0, cut));
      if (cut == std::string_view::npos) break;
      rest.remove_prefix(cut + 1);
    }
    at_ = end;
    return {};
  }

  std::string split_quoted() {
    std::string problem;
    for (;;) {
      const bool quoted = at_ < content_.size() && content_[at_] == '"';
      fields_.emplace_back();
      if (quoted) read_quoted(fields_.back());
      std::size_t end = at_;
      while (end < content_.size() && content_[end] != delimiter_ && content_[end] != '\n') ++end;
      std::string_view plain = content_.substr(at_, end - at_);
      const bool row_ends = end >= content_.size() || content_[end] == '\n';
      if (row_ends && !plain.empty() && plain.back() == '\r') plain.remove_suffix(1);
      if (quoted && !plain.empty())
        problem = "expected a separator after the closing quote of field " + std::to_string(fields_.size());
      else if (plain.find('"') != std::string_view::npos)
        problem = "a quote inside field " + std::to_string(fields_.size()) + ", which is not quoted";
      fields_.back() += plain;
      at_ = end;
      if (row_ends) return problem;
      ++at_;
    }
  }

  void read_quoted(std::string& field) {
    const std::int64_t opened = line_;
    ++at_;
    for (;;) {
      const std::size_t quote = content_.find('"', at_);
      // Where such a row ends cannot be known, so this one is an error even when bad rows are skipped.
      if (quote == std::string_view::npos)
        throw detail::line_error(table_.file_, opened, "a quoted field begins here and never ends");
      const std::string_view part = content_.substr(at_, quote - at_);
      line_ += std::count(part.begin(), part.end(), '\n');
      field += part;
      at_ = quote + 1;
      if (at_ >= content_.size() || content_[at_] != '"') return;
      field += '"';
      ++at_;
    }
  }

  void add_fields() {
    if (table_.names_.empty()) {  // the first row of a table without a header decides the number of columns
      for (std::size_t column = 0; column < fields_.size(); ++column)
        table_.names_.push_back(std::to_string(column));
      counted_on_ = row_line_;
    }
    if (fields_.size() != table_.names_.size())
      return reject("expected " + std::to_string(table_.names_.size()) + " fields as on line " +
                    std::to_string(counted_on_) + ", found " + std::to_string(fields_.size()));
    for (std::size_t column = 0; column < fields_.size(); ++column) add_cell(column, fields_[column]);
    end_row();
  }

  void add_cell(std::size_t column, std::string_view text) {
    table_.cells_.push_back({static_cast<std::uint32_t>(column), table_.text_.size(), text.size()});
    table_.text_ += text;
  }

  void end_row() {
    table_.row_begin_.push_back(table_.cells_.size());
    table_.lines_.push_back(row_line_);
  }

  void add_object(std::string_view line) {
    if (line.find('\0') != std::string_view::npos) return reject("a zero byte inside the text");
    Json object;
    try {
      object = parse_json(line, "expected a JSON object, found broken JSON",
                          {.max_bytes = line.size(), .allow_duplicate_keys = true});
    } catch (const FormatError& failure) {
      return reject(detail::replace_invalid_utf8(failure.what()));
    }
    if (!object.is_object())
      return reject(std::string("expected a JSON object, found ") + object.type_name());
    for (const auto& [key, value] : object.items())
      if (value.is_string() && value.template get_ref<const std::string&>().find('\0') != std::string::npos)
        return reject("a zero byte inside '" + key + "'");
    for (const auto& [key, value] : object.items()) {
      if (value.is_null()) continue;
      const auto [column, is_new] = columns_.try_emplace(key, columns_.size());
      if (is_new) table_.names_.push_back(key);
      add_cell(column->second, value.is_string() ? value.template get<std::string>() : value.dump());
    }
    end_row();
  }

  TableOptions options_;
  Table table_;
  std::string_view content_;
  std::size_t at_ = 0;
  char delimiter_ = ',';
  std::int64_t line_ = 1;      // of at_
  std::int64_t row_line_ = 1;  // where the row in hand begins
  std::int64_t counted_on_ = 1;
  std::vector<std::string> fields_;
  std::unordered_map<std::string, std::size_t> columns_;  // JSON keys
};

namespace detail {

inline TableFormat table_format(const std::string& name) {
  std::string extension = std::filesystem::path(name).extension().string();
  for (char& letter : extension) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  if (extension == ".tsv" || extension == ".txt") return TableFormat::tsv;
  if (extension == ".csv") return TableFormat::csv;
  if (extension == ".jsonl" || extension == ".ndjson" || extension == ".json") return TableFormat::jsonl;
  throw FormatError(name, -1,
                    "expected the extension .tsv, .txt, .csv, .jsonl, .ndjson or .json, found '" + extension +
                        "'; give the format as an option");
}

ATTUNE_INLINE std::optional<std::vector<std::string>> parse_string_list(std::string_view text) {
  if (text.empty() || text.front() != '[') return std::nullopt;
  nlohmann::json list;
  try {
    list = parse_json(text, "a list", {.max_depth = 1});
  } catch (const FormatError&) {
    return std::nullopt;
  }
  std::vector<std::string> strings;
  for (const auto& entry : list) {
    if (entry.is_structured() || entry.is_null()) return std::nullopt;
    strings.push_back(entry.is_string() ? entry.get<std::string>() : entry.dump());
  }
  return strings;
}

}  // namespace detail

ATTUNE_INLINE Table parse_table(std::string content, const std::string& name, const TableOptions& options) {
  const TableFormat format =
      options.format == TableFormat::automatic ? detail::table_format(name) : options.format;
  content = detail::to_utf8(std::move(content), name);
  TableBuilder builder(name, options);
  if (format == TableFormat::jsonl)
    builder.parse_json_lines(content);
  else if (format == TableFormat::csv)
    builder.parse_delimited(content, options.delimiter == 0 ? ',' : options.delimiter, /*quotes=*/true);
  else
    builder.parse_delimited(content, options.delimiter == 0 ? '\t' : options.delimiter, /*quotes=*/false);
  return std::move(builder).finish();
}

ATTUNE_INLINE Table read_table(const std::string& file, const TableOptions& options) {
  return parse_table(detail::read_utf8_file(file), file, options);
}

}  // namespace attune
