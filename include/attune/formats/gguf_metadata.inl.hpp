#pragma once

#include <algorithm>
#include <limits>

#include <attune/core/error.hpp>
#include <attune/formats/gguf.hpp>

namespace attune::detail {

/// "uint32 7", "string", "array of 3 string", for messages.
inline std::string describe(const GgufValue& value) {
  std::string text(name_of(value.type));
  if (const auto* array = std::get_if<GgufArray>(&value.value))
    text += " of " + std::to_string(array->size()) + " " + std::string(name_of(array->type));
  return text;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE GgufArray GgufArray::of_strings(std::vector<std::string> elements) {
  return {GgufType::string, std::move(elements)};
}
ATTUNE_INLINE GgufArray GgufArray::of_i32(const std::vector<std::int32_t>& elements) {
  return {GgufType::i32, std::vector<std::int64_t>(elements.begin(), elements.end())};
}
ATTUNE_INLINE GgufArray GgufArray::of_f32(const std::vector<float>& elements) {
  return {GgufType::f32, std::vector<double>(elements.begin(), elements.end())};
}

ATTUNE_INLINE GgufValue GgufValue::of_u32(std::uint32_t number) {
  return {GgufType::u32, static_cast<std::uint64_t>(number)};
}
ATTUNE_INLINE GgufValue GgufValue::of_i32(std::int32_t number) {
  return {GgufType::i32, static_cast<std::int64_t>(number)};
}
ATTUNE_INLINE GgufValue GgufValue::of_u64(std::uint64_t number) { return {GgufType::u64, number}; }
ATTUNE_INLINE GgufValue GgufValue::of_f32(float number) {
  return {GgufType::f32, static_cast<double>(number)};
}
ATTUNE_INLINE GgufValue GgufValue::of_bool(bool truth) {
  return {GgufType::boolean, static_cast<std::uint64_t>(truth)};
}
ATTUNE_INLINE GgufValue GgufValue::of_string(std::string text) { return {GgufType::string, std::move(text)}; }
ATTUNE_INLINE GgufValue GgufValue::of_array(GgufArray elements) {
  return {GgufType::array, std::move(elements)};
}

ATTUNE_INLINE const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto place =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == key; });
  return place == entries_.end() ? nullptr : &place->second;
}

ATTUNE_INLINE void GgufMetadata::set(const std::string& key, GgufValue value) {
  const auto place =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == key; });
  if (place == entries_.end())
    entries_.emplace_back(key, std::move(value));
  else
    place->second = std::move(value);
}

ATTUNE_INLINE void GgufMetadata::refuse(std::string_view key, const std::string& what) const {
  throw ConfigError(where_ + ": " + std::string(key) + ": " + what);
}
ATTUNE_INLINE void GgufMetadata::throw_missing(std::string_view key) const {
  throw ConfigError(where_ + ": " + std::string(key) + " is missing");
}

ATTUNE_INLINE std::optional<std::int64_t> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<std::int64_t>(&value->value)) return *number;
  const auto* number = std::get_if<std::uint64_t>(&value->value);
  if (number == nullptr || value->type == GgufType::boolean)
    refuse(key, "expected an integer, found " + detail::describe(*value));
  if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    refuse(key, std::to_string(*number) + " is too large");
  return static_cast<std::int64_t>(*number);
}

ATTUNE_INLINE std::optional<double> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<double>(&value->value)) return *number;
  if (!std::holds_alternative<std::uint64_t>(value->value) &&
      !std::holds_alternative<std::int64_t>(value->value))
    refuse(key, "expected a number, found " + detail::describe(*value));
  return static_cast<double>(*integer(key));
}

ATTUNE_INLINE std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufType::boolean) refuse(key, "expected a boolean, found " + detail::describe(*value));
  return std::get<std::uint64_t>(value->value) != 0;
}

ATTUNE_INLINE std::optional<std::string> GgufMetadata::string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto* text = std::get_if<std::string>(&value->value);
  if (text == nullptr) refuse(key, "expected a string, found " + detail::describe(*value));
  return *text;
}

ATTUNE_INLINE std::vector<std::string> GgufMetadata::strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  const auto* array = std::get_if<GgufArray>(&value->value);
  const auto* texts = array == nullptr ? nullptr : std::get_if<std::vector<std::string>>(&array->values);
  if (texts == nullptr) refuse(key, "expected an array of strings, found " + detail::describe(*value));
  return *texts;
}

ATTUNE_INLINE std::vector<std::int64_t> GgufMetadata::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  if (const auto* array = std::get_if<GgufArray>(&value->value)) {
    if (const auto* numbers = std::get_if<std::vector<std::int64_t>>(&array->values)) return *numbers;
    if (const auto* numbers = std::get_if<std::vector<std::uint64_t>>(&array->values)) {
      for (const std::uint64_t number : *numbers)
        if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
          refuse(key, std::to_string(number) + " is too large");
      return {numbers->begin(), numbers->end()};
    }
  }
  refuse(key, "expected an array of integers, found " + detail::describe(*value));
}

ATTUNE_INLINE std::vector<double> GgufMetadata::numbers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return {};
  if (const auto* array = std::get_if<GgufArray>(&value->value))
    if (const auto* numbers = std::get_if<std::vector<double>>(&array->values)) return *numbers;
  const std::vector<std::int64_t> whole = integers(key);
  return {whole.begin(), whole.end()};
}

}  // namespace attune
