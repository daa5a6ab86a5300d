#pragma once

#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/json_events.hpp>

namespace attune::detail {

/// Builds a value from parse events within the limits of JsonReadOptions.
class JsonBuilder final : public JsonEvents {
 public:
  using Json = nlohmann::json;

  JsonBuilder(const std::string& name, const JsonReadOptions& options)
      : JsonEvents(name), options_(options) {}

  Json take() { return std::move(root_); }

  void null() override { place(nullptr); }
  void boolean(bool value) override { place(value); }
  void number_integer(std::int64_t value) override { place(value); }
  void number_unsigned(std::uint64_t value) override { place(value); }
  void number_float(double value) override { place(value); }
  void string(std::string& value) override { place(std::move(value)); }
  void start_object() override { open(Json::object()); }
  void start_array() override { open(Json::array()); }
  void end_object() override { open_.pop_back(); }
  void end_array() override { open_.pop_back(); }
  void key(std::string& name) override {
    Json::object_t& object = open_.back()->get_ref<Json::object_t&>();
    const auto [entry, added] = object.try_emplace(name);
    if (!added && !options_.allow_duplicate_keys) fail("duplicate key \"" + name + "\"");
    slot_ = &entry->second;
  }

 private:
  void open(Json container) {
    if (open_.size() >= static_cast<std::size_t>(options_.max_depth))
      fail("nested deeper than " + std::to_string(options_.max_depth) + " levels");
    open_.push_back(&place(std::move(container)));
  }
  Json& place(Json value) {
    if (++values_ > options_.max_values) fail("more than " + std::to_string(options_.max_values) + " values");
    if (open_.empty()) return root_ = std::move(value);
    if (open_.back()->is_object()) return *slot_ = std::move(value);
    return open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(value));
  }

  JsonReadOptions options_;
  Json root_;
  std::vector<Json*> open_;  // the containers that have begun and not ended
  Json* slot_ = nullptr;     // where the value after a key goes
  std::size_t values_ = 0;
};

/// "a string", "an integer", ... for messages.
inline std::string json_kind(const nlohmann::json& value) {
  using Type = nlohmann::json::value_t;
  switch (value.type()) {
    case Type::null:
      return "null";
    case Type::boolean:
      return "a boolean";
    case Type::number_integer:
    case Type::number_unsigned:
      return "the integer " + value.dump();
    case Type::number_float:
      return "the number " + value.dump();
    case Type::string:
      return "a string";
    case Type::array:
      return "an array";
    case Type::object:
      return "an object";
    default:
      return "something else";
  }
}

// convert_json gives nullptr on success, otherwise what was expected.

inline const char* convert_json(const nlohmann::json& json, bool& value) {
  if (!json.is_boolean()) return "a boolean";
  value = json.get<bool>();
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, std::int64_t& value) {
  if (!json.is_number_integer()) return "an integer";
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return "an integer of at most 64 bits";
  value = json.get<std::int64_t>();
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, int& value) {
  std::int64_t wide = 0;
  if (const char* expected = convert_json(json, wide)) return expected;
  if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max())
    return "an integer of at most 32 bits";
  value = static_cast<int>(wide);
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, double& value) {
  if (!json.is_number()) return "a number";
  value = json.get<double>();
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, float& value) {
  double wide = 0;
  if (const char* expected = convert_json(json, wide)) return expected;
  if (std::fabs(wide) > static_cast<double>(std::numeric_limits<float>::max()))
    return "a number in float's range";
  value = static_cast<float>(wide);
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, std::string& value) {
  if (!json.is_string()) return "a string";
  value = json.get_ref<const std::string&>();
  return nullptr;
}

template <class T>
const char* convert_json(const nlohmann::json& json, std::vector<T>& value, const char* expected) {
  if (!json.is_array()) return expected;
  std::vector<T> elements;
  elements.reserve(json.size());
  for (const nlohmann::json& element : json)
    if (convert_json(element, elements.emplace_back()) != nullptr) return expected;
  value = std::move(elements);
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, std::vector<std::string>& value) {
  return convert_json(json, value, "an array of strings");
}
inline const char* convert_json(const nlohmann::json& json, std::vector<std::int64_t>& value) {
  return convert_json(json, value, "an array of integers");
}
inline const char* convert_json(const nlohmann::json& json, std::vector<double>& value) {
  return convert_json(json, value, "an array of numbers");
}

template <class T>
const char* convert_json(const nlohmann::json& json, std::map<std::string, T>& value, const char* expected) {
  if (!json.is_object()) return expected;
  std::map<std::string, T> entries;
  for (const auto& [key, element] : json.get_ref<const nlohmann::json::object_t&>())
    if (convert_json(element, entries[key]) != nullptr) return expected;
  value = std::move(entries);
  return nullptr;
}

inline const char* convert_json(const nlohmann::json& json, std::map<std::string, std::string>& value) {
  return convert_json(json, value, "an object of strings");
}
inline const char* convert_json(const nlohmann::json& json, std::map<std::string, std::int64_t>& value) {
  return convert_json(json, value, "an object of integers");
}

/// Throws for what dump() would overflow the stack on or silently write as null.
inline void check_writable(const nlohmann::json& value, const std::string& path, int depth) {
  if (depth > JsonReadOptions{}.max_depth) throw ConfigError("dump_json: " + path + ": nested too deeply");
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    throw ConfigError("dump_json: " + path + ": JSON has no NaN or infinity");
  if (value.is_object()) {
    for (const auto& [key, element] : value.get_ref<const nlohmann::json::object_t&>())
      if (element.is_structured() || element.is_number_float())
        check_writable(element, path.empty() ? key : path + "." + key, depth + 1);
  } else if (value.is_array()) {
    for (std::size_t index = 0; index < value.size(); ++index)
      if (value[index].is_structured() || value[index].is_number_float())
        check_writable(value[index], path + "[" + std::to_string(index) + "]", depth + 1);
  }
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE nlohmann::json parse_json(std::string_view text, const std::string& name,
                                        const JsonReadOptions& options) {
  if (text.size() > options.max_bytes)
    throw FormatError(name, -1,
                      "expected at most " + std::to_string(options.max_bytes) + " bytes, found " +
                          std::to_string(text.size()));
  detail::JsonBuilder builder(name, options);
  detail::parse_json_events(text, builder);
  return builder.take();
}

ATTUNE_INLINE nlohmann::json read_json(const std::string& path, const JsonReadOptions& options) {
  return parse_json(read_text_file(path, options.max_bytes), path, options);
}

ATTUNE_INLINE std::string dump_json(const nlohmann::json& value, const JsonWriteOptions& options) {
  detail::check_writable(value, "", 0);
  try {
    return value.dump(options.indent, ' ', options.ascii);
  } catch (const nlohmann::json::exception&) {
    throw ConfigError("dump_json: a text is not valid UTF-8");
  }
}

ATTUNE_INLINE void write_json(const std::string& path, const nlohmann::json& value,
                              const JsonWriteOptions& options) {
  write_text_file(path, dump_json(value, options) + "\n");
}

ATTUNE_INLINE double shortest_decimal(float value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  double wide = static_cast<double>(value);
  if (error == std::errc()) std::from_chars(digits, end, wide);
  return wide;
}

ATTUNE_INLINE JsonObject JsonObject::parse(std::string_view text, const std::string& name,
                                           const JsonReadOptions& options) {
  nlohmann::json value = parse_json(text, name, options);
  if (!value.is_object()) throw FormatError(name, 0, "expected an object, found " + detail::json_kind(value));
  return {std::move(value), name};
}

ATTUNE_INLINE JsonObject JsonObject::read(const std::string& path, const JsonReadOptions& options) {
  return parse(read_text_file(path, options.max_bytes), path, options);
}

ATTUNE_INLINE JsonObject::JsonObject(nlohmann::json value, std::string where)
    : value_(std::make_shared<const nlohmann::json>(std::move(value))), where_(std::move(where)) {
  if (!value_->is_object())
    throw ConfigError(where_ + ": expected an object, found " + detail::json_kind(*value_));
}

ATTUNE_INLINE bool JsonObject::has(std::string_view key) const {
  const auto field = value_->find(key);
  return field != value_->end() && !field->is_null();
}

ATTUNE_INLINE JsonObject JsonObject::object(std::string_view key) const {
  const auto field = value_->find(key);
  if (field == value_->end()) throw_missing(key);
  const std::string name = where_ + ": " + std::string(key);
  if (!field->is_object())
    throw ConfigError(name + ": expected an object, found " + detail::json_kind(*field));
  return {std::shared_ptr<const nlohmann::json>(value_, &*field), name};
}

ATTUNE_INLINE void JsonObject::refuse(std::string_view key, const std::string& what) const {
  throw ConfigError(where_ + ": " + std::string(key) + ": " + what);
}

ATTUNE_INLINE void JsonObject::throw_missing(std::string_view key) const {
  refuse(key,
         value_->contains(key) ? "this field is required, found null" : "this field is required and missing");
}

template <class T>
bool JsonObject::load_field(std::string_view key, T& value) const {
  const auto field = value_->find(key);
  if (field == value_->end() || field->is_null()) return false;
  if (const char* expected = detail::convert_json(*field, value))
    refuse(key, std::string("expected ") + expected + ", found " + detail::json_kind(*field));
  return true;
}

ATTUNE_INLINE bool JsonObject::load(std::string_view key, bool& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, int& value) const { return load_field(key, value); }
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::int64_t& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, float& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, double& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::string& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::vector<std::string>& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::vector<std::int64_t>& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::vector<double>& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::map<std::string, std::string>& value) const {
  return load_field(key, value);
}
ATTUNE_INLINE bool JsonObject::load(std::string_view key, std::map<std::string, std::int64_t>& value) const {
  return load_field(key, value);
}

}  // namespace attune
