#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <attune/core/inline.hpp>

namespace attune {

namespace detail {
struct TemplateObject;
}

/// A value that a chat template computes with: JSON's kinds, objects with their keys in order, and
/// "undefined". Copies share what they hold; nothing changes a list, an object or a text once it is made.
class TemplateValue {
 public:
  enum class Kind : std::uint8_t { undefined, none, boolean, integer, number, string, list, dict, object };
  struct List;
  struct Dict;
  struct Undefined {
    std::string name;  // of what is missing, for messages
  };

  TemplateValue() : value_(std::in_place_type<Undefined>) {}
  TemplateValue(std::nullptr_t) : value_(nullptr) {}           // NOLINT: values are written like JSON's
  TemplateValue(bool truth) : value_(truth) {}                 // NOLINT
  TemplateValue(int number) : value_(std::int64_t{number}) {}  // NOLINT
  TemplateValue(std::int64_t number) : value_(number) {}       // NOLINT
  TemplateValue(double number) : value_(number) {}             // NOLINT
  TemplateValue(std::string text);                             // NOLINT: ill-formed UTF-8 becomes U+FFFD
  TemplateValue(std::string_view text) : TemplateValue(std::string(text)) {}  // NOLINT
  TemplateValue(const char* text) : TemplateValue(std::string(text)) {}       // NOLINT
  static TemplateValue list(std::vector<TemplateValue> elements);
  static TemplateValue tuple(std::vector<TemplateValue> elements);
  /// Of two equal keys the last one counts.
  static TemplateValue dict(std::vector<std::pair<std::string, TemplateValue>> entries);
  static TemplateValue undefined(std::string name);
  static TemplateValue object(std::shared_ptr<detail::TemplateObject> object);
  /// Reads JSON; keys keep their order. `name` is where the text came from. Throws FormatError for what is
  /// not JSON or nests deeper than 64 levels.
  static TemplateValue parse(std::string_view json, const std::string& name);

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_undefined() const { return kind() == Kind::undefined; }
  bool is_none() const { return kind() == Kind::none; }
  bool is_string() const { return kind() == Kind::string; }
  bool is_list() const { return kind() == Kind::list; }
  bool is_dict() const { return kind() == Kind::dict; }
  /// Booleans count as 0 and 1.
  bool is_integer() const { return kind() == Kind::integer || kind() == Kind::boolean; }
  bool is_number() const { return is_integer() || kind() == Kind::number; }

  // These are for values of that kind.
  bool as_bool() const { return std::get<bool>(value_); }
  std::int64_t as_integer() const;
  double as_number() const;
  const std::string& as_string() const { return *std::get<std::shared_ptr<const std::string>>(value_); }
  const std::vector<TemplateValue>& as_list() const;
  bool is_tuple() const;
  const std::vector<std::pair<std::string, TemplateValue>>& as_dict() const;
  const std::shared_ptr<detail::TemplateObject>& as_object() const {
    return std::get<std::shared_ptr<detail::TemplateObject>>(value_);
  }
  const std::string& undefined_name() const { return std::get<Undefined>(value_).name; }
  /// How deep lists and objects nest in it: 0 for a value that holds none.
  int depth() const;
  /// The value of a key of an object, or nullptr.
  const TemplateValue* find(std::string_view key) const;

 private:
  std::variant<Undefined, std::nullptr_t, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>,
               std::shared_ptr<detail::TemplateObject>>
      value_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/chat_template_value.inl.hpp>
#endif
