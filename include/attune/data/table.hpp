#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

enum class TableFormat {
  automatic,  ///< by extension: .tsv and .txt, .csv, .jsonl .ndjson and .json
  tsv,  ///< one row a line, fields separated by tabs, quotes have no meaning (IANA text/tab-separated-values)
  csv,  ///< RFC 4180: fields in double quotes may hold separators, line breaks and doubled quotes
  jsonl  ///< one JSON object a line; its keys are the columns
};

/// What to do with a row that cannot be used.
enum class BadRows {
  error,  ///< throw a FormatError that names file and line
  skip    ///< leave it out and count it
};

/// A column of a table: a number (from 0) or a name.
class Column {
 public:
  Column(int number);        // NOLINT: options read `.text_column = 1`
  Column(std::string name);  // NOLINT: ... or `.text_column = "review"`
  Column(const char* name);  // NOLINT
  /// Digits give a number, anything else a name: for command lines.
  static Column parse(std::string_view text);

  bool is_name() const { return number_ < 0; }
  int number() const { return number_; }
  const std::string& name() const { return name_; }
  /// "column 1" or "column 'review'", for messages.
  std::string to_string() const;

 private:
  int number_ = -1;
  std::string name_;
};

struct TableOptions {
  TableFormat format = TableFormat::automatic;
  /// TSV and CSV: the first row holds the column names.
  bool header = false;
  /// Field separator; 0 means a comma for CSV and a tab for TSV.
  char delimiter = 0;
  BadRows bad_rows = BadRows::error;
};

/// The cells of a delimited or JSON-lines file, as text in valid UTF-8 (ill-formed bytes became U+FFFD).
class Table {
 public:
  std::int64_t rows() const { return static_cast<std::int64_t>(lines_.size()); }
  int columns() const { return static_cast<int>(names_.size()); }
  /// Names from the header, or the JSON keys as they appear (in sorted order within a line); "0", "1", ...
  /// for a table without a header.
  const std::vector<std::string>& names() const { return names_; }
  bool has_names() const { return has_names_; }
  const std::string& file() const { return file_; }
  /// How many bad rows were left out.
  std::int64_t skipped() const { return skipped_; }
  /// The line on which a row begins, from 1.
  std::int64_t line(std::int64_t row) const { return lines_[static_cast<std::size_t>(row)]; }

  /// The number of a column. Throws FormatError, naming the columns there are, unless exactly one fits.
  int column(const Column& wanted) const;
  /// The number of a named column, or -1.
  int find_column(std::string_view name) const;
  /// A cell, or nothing: a JSON row may lack a key or hold null. JSON numbers, booleans, arrays and objects
  /// are given as JSON text.
  std::optional<std::string_view> find(std::int64_t row, int column) const;
  /// A cell; throws FormatError naming file, line and column when there is none.
  std::string_view at(std::int64_t row, int column) const;

 private:
  friend class TableBuilder;
  struct Cell {
    std::uint32_t column;
    std::size_t begin, length;
  };

  std::string file_;
  std::string text_;                       // the cells' bytes, one after another
  std::vector<Cell> cells_;                // the cells that exist, by row
  std::vector<std::size_t> row_begin_{0};  // rows + 1 places in cells_
  std::vector<std::int64_t> lines_;
  std::vector<std::string> names_;
  bool has_names_ = false;
  std::int64_t skipped_ = 0;
};

/// Reads a UTF-8 file (a byte order mark is allowed; LF or CRLF line ends; blank lines are passed over).
/// Throws IoError when it cannot be read, and FormatError naming file and line for a file without rows, a
/// quoted field that never ends, UTF-16, an unknown extension, and (unless bad_rows is skip) for a row with
/// another number of fields than the first, a stray quote, a zero byte, or a line that is not a JSON object.
Table read_table(const std::string& file, const TableOptions& options = {});

/// The same for text in memory; `name` stands for the file in messages and decides an automatic format.
Table parse_table(std::string content, const std::string& name, const TableOptions& options = {});

namespace detail {

/// A FormatError that says "FILE: line N: ..."; its offset is the line.
FormatError line_error(const std::string& file, std::int64_t line, const std::string& what);

/// `content` as valid UTF-8 without a byte order mark: each maximal ill-formed part becomes U+FFFD. Throws
/// FormatError for UTF-16; `name` stands for the file.
std::string to_utf8(std::string content, const std::string& name);

/// to_utf8(read_text_file(file)).
std::string read_utf8_file(const std::string& file);

/// The strings of a JSON array such as `["a", "b"]`; numbers become their text. Nothing when `text` is no
/// such array.
std::optional<std::vector<std::string>> parse_string_list(std::string_view text);

}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/table.inl.hpp>
#endif
