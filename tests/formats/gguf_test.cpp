#include <attune/formats/gguf.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "format_tools.hpp"

using namespace attune;
using namespace attune_test;

namespace {

std::vector<float> floats(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find(name);
  REQUIRE(tensor != nullptr);
  std::vector<float> values(static_cast<std::size_t>(tensor->shape.size()));
  dequantize_blocks(*tensor->type(), file.bytes(*tensor), values);
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void copy_gguf(const GgufFile& from, const std::string& path) {
  std::vector<GgufTensorInfo> tensors;
  for (const GgufTensor& tensor : from.tensors())
    tensors.push_back({tensor.name, *tensor.type(), tensor.shape});
  save_gguf(path, from.metadata(), tensors, [&](std::size_t i) { return from.bytes(from.tensors()[i]); });
}

}  // namespace

TEST_CASE("metadata of every type that gguf-py wrote is read") {
  const GgufFile file = GgufFile::open(fixture("types.gguf"));
  CHECK(file.version() == 3);
  CHECK(file.alignment() == 32);
  const GgufMetadata& metadata = file.metadata();
  CHECK(metadata.string("general.architecture") == "test");
  CHECK(metadata.integer("scalar.uint8") == 200);
  CHECK(metadata.integer("scalar.int8") == -100);
  CHECK(metadata.integer("scalar.uint16") == 60000);
  CHECK(metadata.integer("scalar.int16") == -30000);
  CHECK(metadata.integer("scalar.uint32") == 4000000000);
  CHECK(metadata.integer("scalar.int32") == -2000000000);
  CHECK(metadata.number("scalar.float32") == static_cast<double>(0.1f));
  CHECK(metadata.boolean("scalar.bool") == true);
  CHECK(metadata.string("scalar.string") == "text 三国");
  CHECK(std::get<std::uint64_t>(metadata.find("scalar.uint64")->value) ==
        std::numeric_limits<std::uint64_t>::max());
  CHECK(metadata.integer("scalar.int64") == std::numeric_limits<std::int64_t>::min());
  CHECK(metadata.number("scalar.float64") == 0.1);
  CHECK(metadata.strings("array.strings") == std::vector<std::string>{"a", "", "€"});
  CHECK(metadata.integers("array.ints") == std::vector<std::int64_t>{1, -2, 3});
  CHECK(metadata.numbers("array.floats") == std::vector<double>{0.5, -0.25});
  CHECK(metadata.find("array.bools")->value ==
        decltype(GgufValue::value)(GgufArray{GgufType::boolean, std::vector<std::uint64_t>{1, 0}}));
  CHECK(metadata.integers("array.bytes") == std::vector<std::int64_t>{0, 255});
}

TEST_CASE("a metadata value of another kind than asked for is refused by its key") {
  const GgufFile file = GgufFile::open(fixture("types.gguf"));
  const GgufMetadata& metadata = file.metadata();
  const auto error = [&](auto&& ask) { return error_of([&] { ask(); }).substr(13 + file.path().size() + 2); };
  CHECK(error([&] { metadata.integer("scalar.string"); }) ==
        "scalar.string: expected an integer, found string");
  CHECK(error([&] { metadata.integer("scalar.bool"); }) == "scalar.bool: expected an integer, found boolean");
  CHECK(error([&] { metadata.integer("scalar.uint64"); }) ==
        "scalar.uint64: 18446744073709551615 is too large");
  CHECK(error([&] { metadata.string("array.ints"); }) ==
        "array.ints: expected a string, found array of 3 int32");
  CHECK(error([&] { metadata.strings("array.ints"); }) ==
        "array.ints: expected an array of strings, found array of 3 int32");
  CHECK(error([&] { metadata.integers("array.floats"); }) ==
        "array.floats: expected an array of integers, found array of 2 float32");
  CHECK_FALSE(metadata.integer("not there"));
  CHECK(metadata.strings("not there").empty());
}

TEST_CASE("every element type is read as gguf-py reads it, bit for bit") {
  const GgufFile file = GgufFile::open(fixture("types.gguf"));
  for (const std::string type :
       {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"}) {
    CAPTURE(type);
    REQUIRE(file.find(type) != nullptr);
    CHECK(file.find(type)->type_name() == type);
    CHECK(find_ggml_type(type) == file.find(type)->type());
    CHECK(same_bits(floats(file, type), floats(file, type + ".float")));
  }
  CHECK(file.find("cube")->shape == Shape{2, 3, 4});
  CHECK(file.find("ints")->type() == GgmlType::i32);
  CHECK(error_of([&] { floats(file, "ints"); }).starts_with("ConfigError"));
}

TEST_CASE("elements are written as gguf-py writes them, byte for byte") {
  const GgufFile file = GgufFile::open(fixture("types.gguf"));
  const std::vector<float> input = floats(file, "input");
  for (const GgmlType type : {GgmlType::f16, GgmlType::bf16, GgmlType::q8_0, GgmlType::q4_0}) {
    const std::string name(ggml_layout(type).name);
    CAPTURE(name);
    const std::span<const std::byte> expected = file.bytes(*file.find("input." + name));
    std::vector<std::byte> bytes(expected.size());
    quantize_blocks(type, input, bytes);
    CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end()));
  }
}

TEST_CASE("what cannot be quantised is refused") {
  std::vector<std::byte> bytes(34);
  std::vector<float> values(32, 1.0f);
  CHECK(error_of([&] { quantize_blocks(GgmlType::q4_1, values, std::span(bytes).first(20)); }) ==
        "ConfigError: quantize_blocks: expected F32, F16, BF16, Q8_0 or Q4_0, found Q4_1");
  CHECK(error_of([&] {
          quantize_blocks(GgmlType::q8_0, std::span(values).first(31), bytes);
        }).starts_with("ShapeError: quantize_blocks: Q8_0 keeps 32 elements in 34 bytes"));
  values[3] = 1e8f;
  CHECK(error_of([&] { quantize_blocks(GgmlType::q8_0, values, bytes); }).starts_with("ConfigError"));
  values[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK(error_of([&] { quantize_blocks(GgmlType::q8_0, values, bytes); }) ==
        "ConfigError: quantize_blocks: found an element that is not finite");
  CHECK(error_of([&] {
          dequantize_blocks(GgmlType::q8_0, bytes, std::span(values).first(16));
        }).starts_with("ShapeError"));
}

TEST_CASE("a file is written as gguf-py writes it, byte for byte") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("copy.gguf");
  copy_gguf(GgufFile::open(fixture("types.gguf")), path);
  CHECK(read_text_file(path) == read_text_file(fixture("types.gguf")));
}

TEST_CASE("nested arrays, another alignment and scalars come back as they were written") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("nested.gguf");
  const GgufArray inner{GgufType::i16, std::vector<std::int64_t>{-1, 2}};
  const GgufArray middle{GgufType::array, std::vector<GgufArray>{inner, inner}};
  GgufMetadata metadata;
  metadata.set("nested", GgufValue::of_array({GgufType::array, std::vector<GgufArray>{middle}}));
  metadata.set("general.alignment", GgufValue::of_u32(64));
  metadata.set("empty", GgufValue::of_array(GgufArray::of_strings({})));
  metadata.set("general.architecture", GgufValue::of_string("nothing"));
  metadata.set("empty", GgufValue::of_array(GgufArray::of_f32({})));
  const std::vector<float> values{1.5f};
  save_gguf(path, metadata,
            {{"scalar", GgmlType::f32, {}}, {"empty", GgmlType::f32, {0, 3}}, {"w", GgmlType::f32, {1}}},
            [&](std::size_t i) { return std::as_bytes(std::span(values).first(i == 1 ? 0 : 1)); });
  const GgufFile file = GgufFile::open(path);
  CHECK(file.alignment() == 64);
  CHECK(file.metadata().entries().front().first == "general.architecture");
  CHECK(*file.metadata().find("nested") == *metadata.find("nested"));
  CHECK(file.metadata().numbers("empty").empty());
  CHECK(file.find("scalar")->shape == Shape{});
  CHECK(file.find("empty")->shape == Shape{0, 3});
  CHECK(file.find("w")->offset % 64 == 0);
  CHECK(floats(file, "w") == values);
}

TEST_CASE("what a GGUF file cannot hold is refused before anything is written") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("x.gguf");
  const std::vector<float> values(64);
  const auto error = [&](const std::vector<GgufTensorInfo>& tensors,
                         const GgufMetadata& metadata = GgufMetadata()) {
    const std::string text = error_of([&] {
      save_gguf(path, metadata, tensors, [&](std::size_t) { return std::as_bytes(std::span(values)); });
    });
    CHECK_FALSE(std::filesystem::exists(path));
    return text.substr(text.find(path) == std::string::npos ? 0 : text.find(path) + path.size() + 2);
  };
  CHECK(error({{"a", GgmlType::f32, {64}}, {"a", GgmlType::f32, {64}}}) == "tensor name \"a\" is used twice");
  CHECK(error({{"a", GgmlType::f32, {63}}}) == "tensor \"a\" of shape [63] takes 252 bytes, found 256");
  CHECK(error({{"a", GgmlType::q8_0, {2, 16}}}) ==
        "tensor \"a\": rows of 16 elements are no whole blocks of Q8_0");
  CHECK(error({{"a", GgmlType::f32, {1, 1, 1, 1, 1}}}) == "tensor \"a\": at most 4 dimensions, found 5");
  CHECK(error({{"a", GgmlType::f32, {-1}}}) == "tensor \"a\": bad shape [-1]");
  CHECK(error({{std::string(64, 'n'), GgmlType::f32, {64}}}).ends_with("a name has 1 to 63 bytes, found 64"));
  GgufMetadata metadata;
  metadata.set("k", GgufValue{GgufType::string, std::uint64_t{1}});
  CHECK(error({}, metadata) == "k: the value is not of its type");
  metadata.set("k", GgufValue::of_array({GgufType::string, std::vector<std::int64_t>{1}}));
  CHECK(error({}, metadata) == "k: the array's elements are not of its type");
  GgufMetadata alignment;
  alignment.set("general.alignment", GgufValue::of_u32(48));
  CHECK(error({}, alignment) ==
        "ConfigError: GGUF metadata: general.alignment: expected a power of two as uint32");
}
