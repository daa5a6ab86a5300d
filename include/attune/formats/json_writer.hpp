#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// Writes a JSON text whose fields keep the order in which they are given, which those of a nlohmann::json
/// object do not. Laid out as dump_json lays values out. Throws ConfigError for what it refuses. Calls must
/// nest; `name` is a field's in an object, empty in an array.
class JsonWriter {
 public:
  /// What JSON cannot hold: a number that is not finite, a text that is not UTF-8. `replace` writes null and
  /// U+FFFD.
  enum class Unwritable { refuse, replace };

  /// `indent` < 0 writes one line.
  explicit JsonWriter(int indent, Unwritable unwritable = Unwritable::refuse)
      : indent_(indent), unwritable_(unwritable) {}

  void begin_object(std::string_view name = {});
  void end_object() { end('}'); }
  void begin_array(std::string_view name = {});
  void end_array() { end(']'); }
  void null(std::string_view name);
  void boolean(std::string_view name, bool value);
  void integer(std::string_view name, std::int64_t value);
  void integer(std::string_view name, std::uint64_t value);
  void number(std::string_view name, double value);
  void string(std::string_view name, std::string_view value);

  std::string take() { return std::move(text_); }

 private:
  void begin(std::string_view name, char bracket);
  void end(char bracket);
  /// Writes what comes before a value.
  void place(std::string_view name);
  void new_line();

  int indent_;
  Unwritable unwritable_;
  std::string text_;
  std::string open_;   // a bracket for each container that has begun and not ended
  bool first_ = true;  // in the innermost one
};

/// A JSON string. Throws ConfigError for what is not UTF-8.
std::string quote_json(std::string_view text);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/json_writer.inl.hpp>
#endif
