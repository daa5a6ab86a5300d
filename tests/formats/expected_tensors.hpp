#pragma once

#include <attune/core/dtype.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/json.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "format_tools.hpp"

namespace attune_test {

template <class T>
void append_elements(std::span<const std::byte> bytes, std::vector<double>& values) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    values.push_back(static_cast<double>(value));
  }
}

/// Stored elements of any type as doubles, for comparison with data/expected.json.
inline std::vector<double> values_of(attune::DType dtype, std::span<const std::byte> bytes) {
  std::vector<double> values;
  if (attune::is_floating(dtype)) {
    values.resize(bytes.size() / attune::size_of(dtype));
    attune::convert_elements<double>(dtype, bytes, values, "test");
    return values;
  }
  switch (dtype) {
    case attune::DType::i64:
      append_elements<std::int64_t>(bytes, values);
      break;
    case attune::DType::i32:
      append_elements<std::int32_t>(bytes, values);
      break;
    case attune::DType::i16:
      append_elements<std::int16_t>(bytes, values);
      break;
    case attune::DType::i8:
      append_elements<std::int8_t>(bytes, values);
      break;
    default:
      append_elements<std::uint8_t>(bytes, values);
      break;
  }
  return values;
}

/// What Python stored in a file: an object from names to {dtype, shape, values}.
inline nlohmann::json expected_tensors(const std::string& file) {
  return attune::read_json(fixture("expected.json")).at(file);
}

inline void check_tensor(const nlohmann::json& expected, std::string_view dtype, const attune::Shape& shape,
                         std::span<const std::byte> bytes) {
  CHECK(dtype == expected.at("dtype").get<std::string>());
  CHECK(shape ==
        attune::Shape(std::span<const std::int64_t>(expected.at("shape").get<std::vector<std::int64_t>>())));
  for (int type = 0; type <= static_cast<int>(attune::DType::boolean); ++type)
    if (attune::name_of(static_cast<attune::DType>(type)) == dtype)
      CHECK(values_of(static_cast<attune::DType>(type), bytes) ==
            expected.at("values").get<std::vector<double>>());
}

}  // namespace attune_test
