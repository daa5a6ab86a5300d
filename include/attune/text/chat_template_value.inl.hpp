#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>

#include <attune/formats/json_events.hpp>
#include <attune/text/chat_template_value.hpp>
#include <attune/text/utf8.hpp>

namespace attune {

struct TemplateValue::List {
  std::vector<TemplateValue> elements;
  bool tuple = false;
  int depth = 1;
};

struct TemplateValue::Dict {
  std::vector<std::pair<std::string, TemplateValue>> entries;
  int depth = 1;
};

namespace detail {

/// Builds a value from JSON's events; keys keep their order.
class TemplateValueBuilder final : public JsonEvents {
 public:
  explicit TemplateValueBuilder(const std::string& name) : JsonEvents(name) {}

  TemplateValue take() { return std::move(root_); }

  void null() override { place(nullptr); }
  void boolean(bool value) override { place(value); }
  void number_integer(std::int64_t value) override { place(value); }
  void number_unsigned(std::uint64_t value) override {
    if (value > 0x7fffffffffffffffull)
      place(static_cast<double>(value));
    else
      place(static_cast<std::int64_t>(value));
  }
  void number_float(double value) override { place(value); }
  void string(std::string& value) override { place(std::move(value)); }
  void start_object() override { open(true); }
  void start_array() override { open(false); }
  void end_object() override {
    TemplateValue value = TemplateValue::dict(std::move(open_.back().entries));
    open_.pop_back();
    place(std::move(value));
  }
  void end_array() override {
    std::vector<TemplateValue> elements;
    for (auto& entry : open_.back().entries) elements.push_back(std::move(entry.second));
    open_.pop_back();
    place(TemplateValue::list(std::move(elements)));
  }
  void key(std::string& name) override { open_.back().key = std::move(name); }

 private:
  struct Container {
    std::vector<std::pair<std::string, TemplateValue>> entries;
    std::string key;
  };

  void open(bool) {
    if (open_.size() >= 64) fail("nested deeper than 64 levels");
    open_.emplace_back();
  }
  void place(TemplateValue value) {
    if (open_.empty())
      root_ = std::move(value);
    else
      open_.back().entries.emplace_back(open_.back().key, std::move(value));
  }

  std::vector<Container> open_;
  TemplateValue root_;
};

}  // namespace detail

ATTUNE_INLINE TemplateValue::TemplateValue(std::string text) {
  if (detail::valid_utf8_prefix(text) < text.size()) text = detail::replace_invalid_utf8(text);
  value_ = std::make_shared<const std::string>(std::move(text));
}

ATTUNE_INLINE TemplateValue TemplateValue::list(std::vector<TemplateValue> elements) {
  int depth = 0;
  for (const TemplateValue& element : elements) depth = std::max(depth, element.depth());
  TemplateValue value;
  value.value_ = std::make_shared<const List>(List{std::move(elements), false, depth + 1});
  return value;
}
ATTUNE_INLINE TemplateValue TemplateValue::tuple(std::vector<TemplateValue> elements) {
  int depth = 0;
  for (const TemplateValue& element : elements) depth = std::max(depth, element.depth());
  TemplateValue value;
  value.value_ = std::make_shared<const List>(List{std::move(elements), true, depth + 1});
  return value;
}

ATTUNE_INLINE TemplateValue TemplateValue::dict(std::vector<std::pair<std::string, TemplateValue>> entries) {
  std::vector<std::size_t> order(entries.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return entries[a].first < entries[b].first; });
  std::vector<bool> repeated(entries.size(), false);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    if (entries[order[i]].first != entries[order[i + 1]].first) continue;
    // The first place keeps its key and gets the later value, as in Python.
    entries[order[i]].second = std::move(entries[order[i + 1]].second);
    repeated[order[i + 1]] = true;
    order[i + 1] = order[i];
  }
  std::vector<std::pair<std::string, TemplateValue>> unique;
  unique.reserve(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (!repeated[i]) unique.push_back(std::move(entries[i]));
  int depth = 0;
  for (const auto& entry : unique) depth = std::max(depth, entry.second.depth());
  TemplateValue value;
  value.value_ = std::make_shared<const Dict>(Dict{std::move(unique), depth + 1});
  return value;
}

ATTUNE_INLINE TemplateValue TemplateValue::undefined(std::string name) {
  TemplateValue value;
  value.value_ = Undefined{std::move(name)};
  return value;
}
ATTUNE_INLINE TemplateValue TemplateValue::object(std::shared_ptr<detail::TemplateObject> object) {
  TemplateValue value;
  value.value_ = std::move(object);
  return value;
}

ATTUNE_INLINE TemplateValue TemplateValue::parse(std::string_view json, const std::string& name) {
  detail::TemplateValueBuilder builder(name);
  detail::parse_json_events(json, builder);
  return builder.take();
}

ATTUNE_INLINE int TemplateValue::depth() const {
  if (is_list()) return std::get<std::shared_ptr<const List>>(value_)->depth;
  return is_dict() ? std::get<std::shared_ptr<const Dict>>(value_)->depth : 0;
}
ATTUNE_INLINE std::int64_t TemplateValue::as_integer() const {
  if (kind() == Kind::boolean) return as_bool() ? 1 : 0;
  return std::get<std::int64_t>(value_);
}
ATTUNE_INLINE double TemplateValue::as_number() const {
  return kind() == Kind::number ? std::get<double>(value_) : static_cast<double>(as_integer());
}
ATTUNE_INLINE const std::vector<TemplateValue>& TemplateValue::as_list() const {
  return std::get<std::shared_ptr<const List>>(value_)->elements;
}
ATTUNE_INLINE bool TemplateValue::is_tuple() const {
  return kind() == Kind::list && std::get<std::shared_ptr<const List>>(value_)->tuple;
}
ATTUNE_INLINE const std::vector<std::pair<std::string, TemplateValue>>& TemplateValue::as_dict() const {
  return std::get<std::shared_ptr<const Dict>>(value_)->entries;
}
ATTUNE_INLINE const TemplateValue* TemplateValue::find(std::string_view key) const {
  if (!is_dict()) return nullptr;
  for (const auto& entry : as_dict())
    if (entry.first == key) return &entry.second;
  return nullptr;
}

namespace detail {

/// Python's whitespace: what strip() takes away.
inline bool is_python_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

/// Where each code point of valid text begins, and the end.
inline std::vector<std::size_t> code_point_places(std::string_view text) {
  std::vector<std::size_t> places;
  places.reserve(text.size() + 1);
  for (std::size_t at = 0; at < text.size();
       at += static_cast<std::size_t>(decode_valid_utf8(text.data() + at).bytes))
    places.push_back(at);
  places.push_back(text.size());
  return places;
}

/// The text without white space, or without the given characters, at its ends.
inline std::string_view python_strip(std::string_view text, bool left, bool right,
                                     const std::string* chars = nullptr) {
  const auto goes = [&](std::string_view at, int bytes) {
    if (chars == nullptr) return is_python_space(decode_valid_utf8(at.data()).value);
    return chars->find(at.substr(0, static_cast<std::size_t>(bytes))) != std::string::npos;
  };
  while (left && !text.empty()) {
    const int bytes = decode_valid_utf8(text.data()).bytes;
    if (!goes(text, bytes)) break;
    text.remove_prefix(static_cast<std::size_t>(bytes));
  }
  while (right && !text.empty()) {
    std::size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!goes(text.substr(begin), static_cast<int>(text.size() - begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

/// A float as Python prints it: the fewest digits that read back, with an exponent below 1e-4 and from 1e16
/// on.
inline std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t mark = text.find('e');
  int exponent = 0;
  const char* digits_of_exponent = text.data() + mark + (text[mark + 1] == '+' ? 2 : 1);
  std::from_chars(digits_of_exponent, end, exponent);
  if (exponent < -4 || exponent >= 16) {
    std::string result(text.substr(0, mark));
    result += exponent < 0 ? "e-" : "e+";
    const std::string number = std::to_string(std::abs(exponent));
    return result + (number.size() < 2 ? "0" : "") + number;
  }
  const auto fixed = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
  std::string result(buffer, static_cast<std::size_t>(fixed - buffer));
  return result.find('.') == std::string::npos ? result + ".0" : result;
}

}  // namespace detail

}  // namespace attune
