#pragma once

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/formats/json_writer.hpp>

namespace attune::detail {

/// Appends a scalar as nlohmann::json writes it.
ATTUNE_INLINE void append_json(std::string& text, const nlohmann::json& value,
                               JsonWriter::Unwritable unwritable) {
  using Handler = nlohmann::json::error_handler_t;
  try {
    text += value.dump(-1, ' ', false,
                       unwritable == JsonWriter::Unwritable::replace ? Handler::replace : Handler::strict);
  } catch (const nlohmann::json::exception&) {
    throw ConfigError("cannot write JSON: a text is not valid UTF-8");
  }
}

ATTUNE_INLINE void append_quoted(std::string& text, std::string_view value,
                                 JsonWriter::Unwritable unwritable) {
  const auto plain = [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; };
  if (std::all_of(value.begin(), value.end(), plain))  // vocabularies have many such strings
    ((text += '"') += value) += '"';
  else
    append_json(text, std::string(value), unwritable);
}

ATTUNE_INLINE void JsonWriter::new_line() {
  if (indent_ < 0) return;
  text_ += '\n';
  text_.append(open_.size() * static_cast<std::size_t>(indent_), ' ');
}

ATTUNE_INLINE void JsonWriter::place(std::string_view name) {
  if (open_.empty()) return;
  if (!first_) text_ += ',';
  first_ = false;
  new_line();
  if (open_.back() == '[') return;
  append_quoted(text_, name, unwritable_);
  text_ += indent_ < 0 ? ":" : ": ";
}

ATTUNE_INLINE void JsonWriter::begin(std::string_view name, char bracket) {
  place(name);
  text_ += bracket;
  open_ += bracket;
  first_ = true;
}

ATTUNE_INLINE void JsonWriter::begin_object(std::string_view name) { begin(name, '{'); }
ATTUNE_INLINE void JsonWriter::begin_array(std::string_view name) { begin(name, '['); }

ATTUNE_INLINE void JsonWriter::end(char bracket) {
  open_.pop_back();
  if (!first_) new_line();
  text_ += bracket;
  first_ = false;
}

ATTUNE_INLINE void JsonWriter::null(std::string_view name) {
  place(name);
  text_ += "null";
}

ATTUNE_INLINE void JsonWriter::boolean(std::string_view name, bool value) {
  place(name);
  text_ += value ? "true" : "false";
}

ATTUNE_INLINE void JsonWriter::integer(std::string_view name, std::int64_t value) {
  place(name);
  text_ += std::to_string(value);
}

ATTUNE_INLINE void JsonWriter::integer(std::string_view name, std::uint64_t value) {
  place(name);
  text_ += std::to_string(value);
}

ATTUNE_INLINE void JsonWriter::number(std::string_view name, double value) {
  place(name);
  if (unwritable_ == Unwritable::refuse && !std::isfinite(value))
    throw ConfigError("cannot write JSON: " + std::string(name) + ": JSON has no NaN or infinity");
  append_json(text_, value, unwritable_);
}

ATTUNE_INLINE void JsonWriter::string(std::string_view name, std::string_view value) {
  place(name);
  append_quoted(text_, value, unwritable_);
}

ATTUNE_INLINE std::string quote_json(std::string_view text) {
  std::string quoted;
  append_quoted(quoted, text, JsonWriter::Unwritable::refuse);
  return quoted;
}

}  // namespace attune::detail
