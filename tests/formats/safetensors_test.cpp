#include <attune/formats/safetensors.hpp>

#include <doctest/doctest.h>

#include <array>
#include <utility>

#include "expected_tensors.hpp"

using namespace attune;
using namespace attune_test;

TEST_CASE("SafetensorsFile reads every type that Python wrote") {
  const SafetensorsFile file = SafetensorsFile::open(fixture("types.safetensors"));
  const nlohmann::json expected = expected_tensors("types.safetensors");
  CHECK(file.entries().size() == expected.size());
  CHECK(file.metadata() == SafetensorsMetadata{{"format", "pt"}});
  for (const auto& item : expected.items()) {
    const std::string name = item.key();
    const nlohmann::json& tensor = item.value();
    CAPTURE(name);
    const SafetensorsEntry* entry = file.find(name);
    REQUIRE(entry != nullptr);
    check_tensor(tensor, entry->dtype_name, entry->shape, file.bytes(*entry));
  }
  CHECK(file.find("absent") == nullptr);
  CHECK(file.find("") == nullptr);
}

TEST_CASE("SafetensorsFile lists a type it cannot read and refuses its elements by name") {
  const SafetensorsFile file = SafetensorsFile::open(fixture("unsupported.safetensors"));
  const SafetensorsEntry* eight = file.find("eight");
  REQUIRE(eight != nullptr);
  CHECK(eight->dtype_name == "F8_E4M3");
  CHECK(eight->dtype == std::nullopt);
  CHECK(error_of([&] {
          file.bytes(*eight);
        }).ends_with("tensor \"eight\" has dtype F8_E4M3, which is not supported"));
  CHECK(values_of(DType::f32, file.bytes(*file.find("plain"))) == std::vector<double>{1, 2});
}

TEST_CASE("save_safetensors writes the bytes that Python writes, from spans and from a function") {
  const SafetensorsFile file = SafetensorsFile::open(fixture("types.safetensors"));
  std::vector<SafetensorsTensor> tensors;
  for (const SafetensorsEntry& entry : file.entries())
    tensors.push_back({entry.name, *entry.dtype, entry.shape, file.bytes(entry)});
  std::swap(tensors.front(), tensors.back());  // the order given does not matter

  const TemporaryDirectory directory;
  save_safetensors(directory.path("spans.safetensors"), tensors);
  std::vector<std::size_t> order;
  save_safetensors(directory.path("function.safetensors"), tensors, [&](std::size_t i) {
    order.push_back(i);
    return tensors[i].bytes;
  });
  const std::string python = read_text_file(fixture("types.safetensors"));
  CHECK(read_text_file(directory.path("spans.safetensors")) == python);
  CHECK(read_text_file(directory.path("function.safetensors")) == python);
  CHECK(order.size() == tensors.size());
}

TEST_CASE("save_safetensors writes files without tensors or metadata") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("x.safetensors");
  save_safetensors(path, {}, SafetensorsMetadata{});
  CHECK(read_text_file(path) == safetensors_bytes("{}      "));
  CHECK(SafetensorsFile::open(path).entries().empty());
  save_safetensors(path, {}, SafetensorsMetadata{{"b", "2"}, {"a", "quote \" and é"}});
  CHECK(SafetensorsFile::open(path).metadata().at("a") == "quote \" and é");
}

TEST_CASE("a file may be saved over itself while it is mapped") {
  const TemporaryDirectory directory;
  const std::string path = directory.write("x.safetensors", read_text_file(fixture("types.safetensors")));
  const SafetensorsFile file = SafetensorsFile::open(path);
  const SafetensorsEntry& entry = *file.find("double");
  save_safetensors(path, {{"only", DType::f64, entry.shape, file.bytes(entry)}});
  check_tensor(expected_tensors("types.safetensors").at("double"), "F64", entry.shape, file.bytes(entry));
  CHECK(SafetensorsFile::open(path).entries().size() == 1);
}

TEST_CASE("save_safetensors refuses what could not be read back and leaves no file") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("x.safetensors");
  const std::array<float, 4> values{};
  const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
  const auto save = [&](std::vector<SafetensorsTensor> tensors) {
    return error_of([&] { save_safetensors(path, tensors); });
  };
  CHECK(save({{"a", DType::f32, {4}, bytes}, {"a", DType::f32, {4}, bytes}}) ==
        "ConfigError: " + path + ": tensor name \"a\" is used twice");
  CHECK(save({{"a", DType::f32, {4}, bytes}, {"b", DType::f32, {4}, bytes}, {"a", DType::f64, {2}, bytes}}) ==
        "ConfigError: " + path + ": tensor name \"a\" is used twice");
  CHECK(save({{"__metadata__", DType::f32, {4}, bytes}}) ==
        "ConfigError: " + path + ": tensor name \"__metadata__\" is reserved");
  CHECK(save({{"a", DType::f32, {5}, bytes}}) ==
        "ConfigError: " + path + ": tensor \"a\" of shape [5] takes 20 bytes, found 16");
  CHECK(save({{"a", DType::f32, {-1}, bytes}}).ends_with("tensor \"a\": bad shape [-1]"));
  CHECK(save({{"\xff", DType::f32, {4}, bytes}}).ends_with("is not valid UTF-8"));
  CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE("convert_elements rounds to nearest even and refuses integers and wrong sizes") {
  const std::array<double, 3> values = {1.0 / 3.0, 1.00390625, -1e300};
  const std::span<const std::byte> bytes = std::as_bytes(std::span(values));
  std::array<float, 3> floats{};
  convert_elements<float>(DType::f64, bytes, floats, "x");
  CHECK(floats[0] == static_cast<float>(1.0 / 3.0));
  CHECK(floats[2] == -std::numeric_limits<float>::infinity());
  std::array<bfloat16, 3> brains{};
  convert_elements<bfloat16>(DType::f64, bytes, brains, "x");
  CHECK(static_cast<float>(brains[1]) == 1.0f);
  std::array<double, 3> doubles{};
  convert_elements<double>(DType::f64, bytes, doubles, "x");
  CHECK(doubles == values);
  CHECK(error_of([&] { convert_elements<float>(DType::i64, bytes, floats, "x"); }) ==
        "ConfigError: x: expected a floating-point type, found I64");
  CHECK(error_of([&] { convert_elements<float>(DType::f32, bytes, floats, "x"); }) ==
        "ShapeError: x: expected 3 elements of F32, found 24 bytes");

  // Unaligned input, and enough of it for several chunks.
  std::string many(1, ' ');
  for (int i = 0; i < 200000; ++i) {
    const float16 half(static_cast<float>(i % 2048));
    many += bytes_of(half.bits);
  }
  std::vector<float> wide(200000);
  convert_elements<float>(DType::f16, std::as_bytes(std::span(many)).subspan(1), wide, "x");
  bool same = true;
  for (int i = 0; i < 200000; ++i)
    same = same && wide[static_cast<std::size_t>(i)] == static_cast<float>(i % 2048);
  CHECK(same);
}

TEST_CASE("checked_element_count refuses what overflows in any order") {
  constexpr std::int64_t large = std::int64_t{1} << 40;
  CHECK(checked_element_count({}) == 1);
  CHECK(checked_element_count({2, 3}) == 6);
  CHECK(checked_element_count({large, 0}) == 0);
  CHECK(checked_element_count({-1, 2}) == std::nullopt);
  CHECK(checked_element_count({large, large}) == std::nullopt);
  CHECK(checked_element_count({0, large, large}) == std::nullopt);
  CHECK(checked_element_count({std::numeric_limits<std::int64_t>::max()}) == std::nullopt);
}
