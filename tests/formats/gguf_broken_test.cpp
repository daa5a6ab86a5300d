#include <attune/core/random.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/gguf.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "format_tools.hpp"

// Broken GGUF files: crafted ones, each refused for its reason, and a small good one cut at every byte and
// with every byte changed, which must load or give an attune::Error within a memory cap.

using namespace attune;
using namespace attune_test;

namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
constexpr u64 huge = std::numeric_limits<u64>::max();

std::string text(const std::string& value) { return bytes_of<u64>(value.size()) + value; }
std::string header(u64 tensors, u64 values, u32 version = 3) {
  return "GGUF" + bytes_of(version) + bytes_of(tensors) + bytes_of(values);
}
std::string value(const std::string& key, u32 type, const std::string& bytes) {
  return text(key) + bytes_of(type) + bytes;
}
std::string tensor(const std::string& name, const std::vector<u64>& dims, u32 type, u64 offset) {
  std::string line = text(name) + bytes_of<u32>(static_cast<u32>(dims.size()));
  for (const u64 dim : dims) line += bytes_of(dim);
  return line + bytes_of(type) + bytes_of(offset);
}
std::string with_data(std::string head, std::size_t bytes) {
  head.append((32 - head.size() % 32) % 32, '\0');
  return head + std::string(bytes, '\1');
}

struct Broken {
  std::string name, bytes, message;
};

std::vector<Broken> crafted() {
  std::vector<Broken> files;
  const auto add = [&](const std::string& name, const std::string& bytes, const std::string& message) {
    files.push_back({name, bytes, message});
  };
  const auto one_value = [&](const std::string& name, const std::string& bytes, const std::string& message) {
    add(name, header(0, 1) + bytes, message);
  };
  const auto one_tensor = [&](const std::string& name, const std::string& line, const std::string& message,
                              std::size_t data = 64) {
    add(name, with_data(header(1, 0) + line, data), message);
  };
  add("empty", "", "the file ends inside the header");
  add("another magic", "GGML" + header(0, 0).substr(4), "not a GGUF file");
  add("version 1", header(0, 0, 1), "version 2 or 3 is expected, found 1");
  add("version 4", header(0, 0, 4), "version 2 or 3 is expected, found 4");
  add("big-endian", header(0, 0, 0x03000000u), "big-endian");
  add("no counts", header(0, 0).substr(0, 12), "the file ends inside the number of tensors");
  add("many tensors", header(huge, 0) + std::string(100, '\0'),
      "the number of tensors is 18446744073709551615");
  add("more tensors than bytes", header(5, 0) + std::string(100, '\0'), "the number of tensors is 5");
  add("many values", header(0, huge) + std::string(100, '\0'), "the number of metadata values is 1844674");
  add("values that wrap", header(0, huge / 13 + 1) + std::string(100, '\0'),
      "the number of metadata values is");
  one_value("a value that is missing", std::string(12, '\0'), "the number of metadata values is 1");
  one_value("an empty key", value("", 4, bytes_of<u32>(1)), "an empty key");
  one_value("a long key", value(std::string(70000, 'k'), 4, bytes_of<u32>(1)),
            "at most 65535 bytes, found 70000");
  one_value("a key that leaves the file", bytes_of<u64>(1000) + std::string(50, 'k'),
            "a key's length is 1000");
  one_value("a key of 2^64 - 1 bytes", bytes_of(huge) + std::string(50, 'k'),
            "a key's length is 18446744073709551615");
  one_value("an unknown value type", value("k", 13, bytes_of<u64>(1)), "unknown value type 13");
  one_value("a value type of 2^32 - 1", value("k", 0xffffffffu, bytes_of<u64>(1)),
            "unknown value type 4294967295");
  one_value("a cut number", value("key", 10, "1234"), "the file ends inside a value");
  one_value("a boolean 2", value("k", 7, bytes_of<u8>(2)), "a boolean is 0 or 1, found 2");
  one_value("a long string", value("k", 8, bytes_of<u64>(1u << 31) + "abc"),
            "a string's length is 2147483648");
  one_value("a string of 2^64 - 1 bytes", value("k", 8, bytes_of(huge) + "abc"),
            "a string's length is 18446744");
  one_value("an array of an unknown type", value("k", 9, bytes_of<u32>(77) + bytes_of<u64>(0)),
            "unknown value type 77");
  for (u32 type = 0; type < 13; ++type)
    one_value("a long array of type " + std::to_string(type),
              value("k", 9, bytes_of(type) + bytes_of<u64>(huge / 2) + std::string(40, '\0')),
              "an array's length is 9223372036854775807");
  one_value("an array one longer than the file",
            value("k", 9, bytes_of<u32>(4) + bytes_of<u64>(4) + std::string(15, '\0')),
            "an array's length is 4");
  one_value("a string in an array that leaves the file",
            value("k", 9, bytes_of<u32>(8) + bytes_of<u64>(2) + text("ab") + bytes_of<u64>(9) + "x"),
            "a string's length is 9");
  one_value("a boolean 3 in an array", value("k", 9, bytes_of<u32>(7) + bytes_of<u64>(2) + "\1\3"),
            "a boolean is 0 or 1, found 3");
  std::string deep;
  for (int level = 0; level < 100000; ++level) deep += bytes_of<u32>(9) + bytes_of<u64>(1);
  one_value("arrays 100000 deep", value("k", 9, deep), "arrays nest deeper than 8 levels");
  add("a key twice", header(0, 2) + value("k", 4, bytes_of<u32>(1)) + value("k", 4, bytes_of<u32>(2)),
      "duplicate key \"k\"");
  one_value("an alignment of 0", value("general.alignment", 4, bytes_of<u32>(0)),
            "general.alignment: expected a power of two");
  one_value("an alignment of 24", value("general.alignment", 4, bytes_of<u32>(24)),
            "general.alignment: expected a power of two");
  one_value("an alignment as a string", value("general.alignment", 8, text("32")),
            "general.alignment: expected a power of two");
  add("an alignment of 2^31",
      header(1, 1) + value("general.alignment", 4, bytes_of<u32>(1u << 31)) + tensor("t", {1}, 0, 0),
      "leave the file");

  one_tensor("a tensor name that leaves the file", bytes_of<u64>(2000) + std::string(30, 'n'),
             "a tensor name's length is 2000", 0);
  one_tensor("five dimensions", tensor("t", {1, 1, 1, 1, 1}, 0, 0),
             "tensor \"t\": at most 4 dimensions, found 5");
  one_tensor("2^32 - 1 dimensions", text("t") + bytes_of(0xffffffffu) + std::string(60, '\0'),
             "at most 4 dimensions");
  one_tensor("a cut table", text("tensor") + bytes_of<u32>(2) + bytes_of<u64>(1),
             "the file ends inside a tensor's", 0);
  one_tensor("an extent of 2^63", tensor("t", {u64{1} << 63}, 0, 0),
             "extent 9223372036854775808 is too large");
  one_tensor("a shape that overflows", tensor("t", {u64{1} << 32, u64{1} << 32}, 0, 0), "overflows");
  one_tensor("a shape that overflows with a zero", tensor("t", {u64{1} << 40, u64{1} << 40, 0}, 0, 0),
             "overflows");
  one_tensor("an unknown element type", tensor("t", {1}, 77, 0), "unknown element type 77");
  one_tensor("a type that ggml removed", tensor("t", {32}, 4, 0), "unknown element type 4");
  one_tensor("rows that are no whole blocks", tensor("t", {16, 2}, 8, 0),
             "rows of 16 elements are no whole blocks of Q8_0");
  one_tensor("a scalar in blocks", tensor("t", {}, 12, 0), "rows of 1 elements are no whole blocks of Q4_K");
  one_tensor("an offset off the grid", tensor("t", {1}, 0, 4), "its offset 4 is no multiple of 32");
  one_tensor("an offset behind the end", tensor("t", {1}, 0, 96), "leave the file");
  one_tensor("an offset of 2^64 - 32", tensor("t", {1}, 0, huge - 31), "leave the file");
  one_tensor("data that leave the file", tensor("t", {17}, 0, 0), "its 68 bytes at 0 leave the file");
  one_tensor("an empty tensor behind the end", tensor("t", {0}, 0, 3200), "leave the file");
  one_tensor("no data at all", tensor("t", {4}, 0, 0), "leave the file", 0);
  add("overlapping tensors", with_data(header(2, 0) + tensor("a", {16}, 0, 0) + tensor("b", {8}, 0, 32), 64),
      "tensors \"a\" and \"b\" overlap");
  add("two tensors in one place",
      with_data(header(2, 0) + tensor("a", {8}, 0, 0) + tensor("b", {8}, 0, 0), 64), "overlap");
  add("a tensor name twice", with_data(header(2, 0) + tensor("a", {8}, 0, 0) + tensor("a", {8}, 0, 32), 64),
      "duplicate tensor name \"a\"");
  add("a type that is not supported", with_data(header(1, 0) + tensor("t", {256}, 10, 0), 96),
      "tensor \"t\" has type Q2_K, which is not supported");
  return files;
}

void read_all(const std::string& path) {
  const GgufFile file = GgufFile::open(path);
  std::vector<float> values;
  for (const GgufTensor& tensor : file.tensors()) {
    const std::span<const std::byte> bytes = file.bytes(tensor);
    const auto plain = plain_dtype(*tensor.type());
    if (!plain || is_floating(*plain)) {
      values.resize(static_cast<std::size_t>(tensor.shape.size()));
      dequantize_blocks(*tensor.type(), bytes, values);
    }
  }
}

std::string small_file(u32 version) {
  std::string head =
      header(3, 3, version) + value("general.architecture", 8, text("llama")) +
      value("a", 9, bytes_of<u32>(8) + bytes_of<u64>(2) + text("x") + text("")) +
      value("n", 9, bytes_of<u32>(9) + bytes_of<u64>(1) + bytes_of<u32>(0) + bytes_of<u64>(2) + "ab") +
      tensor("w", {32, 2}, 2, 0) + tensor("b", {3}, 1, 64) + tensor("i", {2}, 26, 96);
  return with_data(std::move(head), 104);
}

}  // namespace

TEST_CASE("broken GGUF files are refused, each for its reason") {
  const TemporaryDirectory directory;
  const std::vector<Broken> files = crafted();
  CHECK(files.size() >= 60);
  for (const Broken& broken : files) {
    CAPTURE(broken.name);
    const std::string path = directory.write("broken.gguf", broken.bytes);
    std::string error;
    {
      const AllocationCap cap((std::size_t{1} << 20) + 100 * broken.bytes.size());
      error = error_of([&] { read_all(path); });
    }
    INFO(error);
    CHECK(error.starts_with("FormatError: " + path));
    CHECK(error.find(broken.message) != std::string::npos);
    CHECK(error.size() < 1000);
  }
}

TEST_CASE("every truncation and every changed byte of a small GGUF loads or throws") {
  const TemporaryDirectory directory;
  const auto error = [&](const std::string& bytes) {
    const std::string path = directory.write("small.gguf", bytes);
    const AllocationCap cap(std::size_t{1} << 20);
    return error_of([&] { read_all(path); });
  };
  for (const u32 version : {2u, 3u}) {
    const std::string good = small_file(version);
    REQUIRE(error(good) == "none");
    for (std::size_t size = 0; size < good.size(); ++size) {
      CAPTURE(size);
      CHECK(error(good.substr(0, size)).starts_with("FormatError: "));
    }
    std::size_t loaded = 0, refused = 0;
    for (std::size_t at = 0; at < good.size(); ++at)
      for (const unsigned mask : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u, 255u}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ mask);
        const std::string outcome = error(bytes);
        if (outcome == "none")
          ++loaded;
        else
          CHECK(outcome.starts_with("FormatError: "));
        refused += outcome == "none" ? 0 : 1;
      }
    CHECK(loaded >= 42 * 9);  // the data
    CHECK(refused >= 100 * 9);
  }
}
