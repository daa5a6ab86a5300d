#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/text/chat_template_parser.inl.hpp>

// Values as Python has them: truth, text, order, and the objects that are no JSON.

namespace attune::detail {

struct TemplateScope {
  std::shared_ptr<TemplateScope> parent;
  std::vector<std::pair<std::string, TemplateValue>> variables;

  void set(const std::string& name, TemplateValue value) {
    for (auto& variable : variables)
      if (variable.first == name) {
        variable.second = std::move(value);
        return;
      }
    variables.emplace_back(name, std::move(value));
  }
};

/// A namespace, a macro, a function, a method of a value, or a loop's own variable.
struct TemplateObject {
  enum class Kind : std::uint8_t { name_space, macro, function, method, loop };
  Kind kind = Kind::function;
  std::string name{};
  std::vector<std::pair<std::string, TemplateValue>> attributes{};  // of a namespace
  TemplateValue self{};                                             // of a method
  const TemplateStatement* macro = nullptr;
  std::weak_ptr<TemplateScope> scope{};  // where the macro was made; the renderer keeps it
  std::vector<TemplateValue> items{};    // of a loop
  std::size_t index = 0;
  std::optional<TemplateValue> last_changed{};
};

/// The place, for messages, and what may still be used.
class TemplateContext {
 public:
  TemplateContext(const std::string& name, const ChatOptions& options)
      : name_(name), options_(options), steps_left_(options.limits.max_steps) {}

  [[noreturn]] void fail(const std::string& what) const { throw TemplateError(name_, line, what); }
  void charge(std::int64_t steps) {
    if (steps > steps_left_)
      fail("the template takes more than " + std::to_string(options_.limits.max_steps) + " steps");
    steps_left_ -= steps;
  }
  void charge_text(std::size_t bytes) { charge(static_cast<std::int64_t>(bytes / 16)); }
  /// A text that was made; none is longer than the output may be.
  TemplateValue text(std::string made) {
    check_length(made.size());
    charge_text(made.size());
    return made;
  }
  void check_length(std::size_t bytes) const {
    if (bytes > options_.limits.max_output)
      fail("a text of more than " + std::to_string(options_.limits.max_output) + " bytes");
  }
  TemplateValue list(std::vector<TemplateValue> elements, bool tuple = false) {
    charge(4 * static_cast<std::int64_t>(elements.size()));
    return checked(tuple ? TemplateValue::tuple(std::move(elements))
                         : TemplateValue::list(std::move(elements)));
  }
  TemplateValue dict(std::vector<std::pair<std::string, TemplateValue>> entries) {
    charge(4 * static_cast<std::int64_t>(entries.size()));
    return checked(TemplateValue::dict(std::move(entries)));
  }
  const ChatOptions& options() const { return options_; }

  int line = 1;

 private:
  TemplateValue checked(TemplateValue value) const {
    if (value.depth() > 200) fail("lists in lists deeper than 200 levels");
    return value;
  }

  const std::string& name_;
  const ChatOptions& options_;
  std::int64_t steps_left_;
};

inline std::string kind_name(const TemplateValue& value) {
  switch (value.kind()) {
    case TemplateValue::Kind::undefined:
      return value.undefined_name().empty() ? "something undefined"
                                            : "'" + value.undefined_name() + "', which is undefined";
    case TemplateValue::Kind::none:
      return "none";
    case TemplateValue::Kind::boolean:
      return "a boolean";
    case TemplateValue::Kind::integer:
      return "an integer";
    case TemplateValue::Kind::number:
      return "a float";
    case TemplateValue::Kind::string:
      return "a string";
    case TemplateValue::Kind::list:
      return value.is_tuple() ? "a tuple" : "a list";
    case TemplateValue::Kind::dict:
      return "a dict";
    default:
      return "an object";
  }
}

inline bool is_true(const TemplateValue& value) {
  switch (value.kind()) {
    case TemplateValue::Kind::undefined:
    case TemplateValue::Kind::none:
      return false;
    case TemplateValue::Kind::boolean:
    case TemplateValue::Kind::integer:
      return value.as_integer() != 0;
    case TemplateValue::Kind::number:
      return value.as_number() != 0;
    case TemplateValue::Kind::string:
      return !value.as_string().empty();
    case TemplateValue::Kind::list:
      return !value.as_list().empty();
    case TemplateValue::Kind::dict:
      return !value.as_dict().empty();
    default:
      return true;
  }
}

/// How Python shows a string in a list.
inline std::string quoted_text(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\')
      (result += '\\') += c;
    else if (c == '\n')
      result += "\\n";
    else if (c == '\r')
      result += "\\r";
    else if (c == '\t')
      result += "\\t";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr std::string_view digits = "0123456789abcdef";
      ((result += "\\x") += digits[static_cast<unsigned char>(c) >> 4]) += digits[c & 15];
    } else {
      result += c;
    }
  }
  return result + quote;
}

/// str() of a value, or repr() inside of lists.
inline std::string python_text(TemplateContext& context, const TemplateValue& value, bool quoted = false) {
  context.charge(1);
  std::string result;
  switch (value.kind()) {
    case TemplateValue::Kind::undefined:
      return quoted ? "Undefined" : "";
    case TemplateValue::Kind::none:
      return "None";
    case TemplateValue::Kind::boolean:
      return value.as_bool() ? "True" : "False";
    case TemplateValue::Kind::integer:
      return std::to_string(value.as_integer());
    case TemplateValue::Kind::number:
      return python_float(value.as_number());
    case TemplateValue::Kind::string:
      context.charge_text(value.as_string().size());
      return quoted ? quoted_text(value.as_string()) : value.as_string();
    case TemplateValue::Kind::list: {
      for (const TemplateValue& element : value.as_list()) {
        if (!result.empty()) result += ", ";
        result += python_text(context, element, true);
        context.check_length(result.size());
      }
      if (!value.is_tuple()) return "[" + result + "]";
      return "(" + result + (value.as_list().size() == 1 ? ",)" : ")");
    }
    case TemplateValue::Kind::dict: {
      for (const auto& entry : value.as_dict()) {
        if (!result.empty()) result += ", ";
        result += quoted_text(entry.first) + ": " + python_text(context, entry.second, true);
        context.check_length(result.size());
      }
      return "{" + result + "}";
    }
    default:
      context.fail("a namespace, macro, function or loop has no text");
  }
}

inline bool equal_values(TemplateContext& context, const TemplateValue& a, const TemplateValue& b) {
  context.charge(1);
  if (a.is_number() && b.is_number())
    return a.is_integer() && b.is_integer() ? a.as_integer() == b.as_integer()
                                            : a.as_number() == b.as_number();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case TemplateValue::Kind::string:
      if (a.as_string().size() != b.as_string().size()) return false;
      context.charge_text(a.as_string().size());
      return a.as_string() == b.as_string();
    case TemplateValue::Kind::list: {
      const auto& left = a.as_list();
      const auto& right = b.as_list();
      if (left.size() != right.size() || a.is_tuple() != b.is_tuple()) return false;
      for (std::size_t i = 0; i < left.size(); ++i)
        if (!equal_values(context, left[i], right[i])) return false;
      return true;
    }
    case TemplateValue::Kind::dict: {
      if (a.as_dict().size() != b.as_dict().size()) return false;
      for (const auto& entry : a.as_dict()) {
        context.charge(static_cast<std::int64_t>(b.as_dict().size()));
        const TemplateValue* other = b.find(entry.first);
        if (other == nullptr || !equal_values(context, entry.second, *other)) return false;
      }
      return true;
    }
    case TemplateValue::Kind::object:
      return a.as_object() == b.as_object();
    default:
      return true;  // undefined and none
  }
}

/// Below 0, 0 or above 0.
inline int compare_values(TemplateContext& context, const TemplateValue& a, const TemplateValue& b) {
  context.charge(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer())
      return a.as_integer() < b.as_integer() ? -1 : a.as_integer() > b.as_integer() ? 1 : 0;
    return a.as_number() < b.as_number() ? -1 : a.as_number() > b.as_number() ? 1 : 0;
  }
  if (a.is_string() && b.is_string()) {
    context.charge_text(std::min(a.as_string().size(), b.as_string().size()));
    return a.as_string().compare(b.as_string());  // UTF-8 sorts as its code points do
  }
  if (a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    const std::size_t common = std::min(a.as_list().size(), b.as_list().size());
    for (std::size_t i = 0; i < common; ++i)
      if (const int order = compare_values(context, a.as_list()[i], b.as_list()[i]); order != 0) return order;
    return a.as_list().size() < b.as_list().size() ? -1 : a.as_list().size() > b.as_list().size() ? 1 : 0;
  }
  context.fail("cannot order " + kind_name(a) + " and " + kind_name(b));
}

inline std::vector<TemplateValue> code_points(TemplateContext& context, const std::string& text) {
  const std::vector<std::size_t> places = code_point_places(text);
  context.charge(4 * static_cast<std::int64_t>(places.size()));
  std::vector<TemplateValue> result;
  for (std::size_t i = 0; i + 1 < places.size(); ++i)
    result.emplace_back(text.substr(places[i], places[i + 1] - places[i]));
  return result;
}

/// The elements of a list, the keys of an object, the characters of a text.
inline std::vector<TemplateValue> elements_of(TemplateContext& context, const TemplateValue& value) {
  switch (value.kind()) {
    case TemplateValue::Kind::undefined:
      return {};
    case TemplateValue::Kind::string:
      return code_points(context, value.as_string());
    case TemplateValue::Kind::list:
      context.charge(static_cast<std::int64_t>(value.as_list().size()));
      return value.as_list();
    case TemplateValue::Kind::dict: {
      std::vector<TemplateValue> keys;
      for (const auto& entry : value.as_dict()) keys.emplace_back(entry.first);
      context.charge(4 * static_cast<std::int64_t>(keys.size()));
      return keys;
    }
    default:
      context.fail("cannot iterate over " + kind_name(value));
  }
}

inline std::int64_t length_of(TemplateContext& context, const TemplateValue& value) {
  switch (value.kind()) {
    case TemplateValue::Kind::undefined:
      return 0;
    case TemplateValue::Kind::string:
      context.charge_text(value.as_string().size());
      return count_code_points(value.as_string());
    case TemplateValue::Kind::list:
      return static_cast<std::int64_t>(value.as_list().size());
    case TemplateValue::Kind::dict:
      return static_cast<std::int64_t>(value.as_dict().size());
    default:
      context.fail(kind_name(value) + " has no length");
  }
}

inline bool contains_value(TemplateContext& context, const TemplateValue& container,
                           const TemplateValue& value) {
  if (container.is_string()) {
    if (!value.is_string()) context.fail("'in' a string: expected a string, found " + kind_name(value));
    context.charge_text(container.as_string().size());
    return container.as_string().find(value.as_string()) != std::string::npos;
  }
  if (container.is_dict()) {
    context.charge(static_cast<std::int64_t>(container.as_dict().size()));
    return value.is_string() && container.find(value.as_string()) != nullptr;
  }
  if (container.is_undefined()) return false;
  if (!container.is_list())
    context.fail("'in': expected a list, a dict or a string, found " + kind_name(container));
  for (const TemplateValue& element : container.as_list())
    if (equal_values(context, element, value)) return true;
  return false;
}

/// The arguments of a call, by place or by name.
struct TemplateArguments {
  std::vector<TemplateValue> values;
  std::vector<std::pair<std::string, TemplateValue>> named;

  const TemplateValue* find(std::size_t index, std::string_view name) const {
    if (index < values.size()) return &values[index];
    for (const auto& argument : named)
      if (argument.first == name) return &argument.second;
    return nullptr;
  }
  const TemplateValue& get(TemplateContext& context, std::size_t index, std::string_view name) const {
    const TemplateValue* value = find(index, name);
    if (value == nullptr) context.fail("the argument '" + std::string(name) + "' is missing");
    return *value;
  }
  std::string text(TemplateContext& context, std::size_t index, std::string_view name,
                   const char* fallback) const {
    const TemplateValue* value = find(index, name);
    return value == nullptr ? fallback : python_text(context, *value);
  }
  std::int64_t integer(TemplateContext& context, std::size_t index, std::string_view name,
                       std::int64_t fallback) const {
    const TemplateValue* value = find(index, name);
    if (value == nullptr || value->is_none()) return fallback;
    if (!value->is_integer())
      context.fail(std::string(name) + ": expected an integer, found " + kind_name(*value));
    return value->as_integer();
  }
  bool flag(std::size_t index, std::string_view name, bool fallback) const {
    const TemplateValue* value = find(index, name);
    return value == nullptr ? fallback : is_true(*value);
  }
};

}  // namespace attune::detail
