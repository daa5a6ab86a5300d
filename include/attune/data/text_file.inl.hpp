#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/data/table.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

ATTUNE_INLINE FormatError line_error(const std::string& file, std::int64_t line, const std::string& what) {
  FormatError error(file, -1, "line " + std::to_string(line) + ": " + what);
  error.offset = line;
  return error;
}

ATTUNE_INLINE std::string read_utf8_file(const std::string& file) {
  return to_utf8(read_text_file(file, /*max_bytes=*/std::size_t{1} << 36), file);
}

ATTUNE_INLINE std::string to_utf8(std::string content, const std::string& name) {
  if (content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF"))
    throw line_error(name, 1, "expected UTF-8, found a byte order mark of UTF-16");
  if (valid_utf8_prefix(content) < content.size()) content = replace_invalid_utf8(content);
  if (content.starts_with("\xEF\xBB\xBF")) content.erase(0, 3);
  return content;
}

}  // namespace attune::detail
