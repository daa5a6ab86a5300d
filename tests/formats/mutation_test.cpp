#include <attune/core/random.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/safetensors.hpp>
#include <attune/formats/torch_file.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "archive_tools.hpp"
#include "format_tools.hpp"

// Small files cut at every byte, with every bit flipped, and with random bytes replaced: each must load as a
// valid file or give an attune::Error, within a memory cap. Anything else (a crash, std::bad_alloc, another
// exception) fails.

using namespace attune;
using namespace attune_test;

namespace {

constexpr std::size_t memory_cap = std::size_t{1} << 20;

struct Outcome {
  bool loaded = false;
  std::string shapes;  // names, types and shapes of what was loaded
};

/// Opens a weights file and reads every element of every tensor.
Outcome load(const std::string& path) {
  Outcome outcome;
  const AllocationCap cap(memory_cap);
  const std::string error = error_of([&] {
    const CheckpointReader reader = CheckpointReader::open(path);
    unsigned sum = 0;
    std::string shapes;
    for (const CheckpointTensor& tensor : reader.tensors()) {
      shapes += tensor.name + std::string(tensor.dtype_name) + tensor.shape.to_string();
      if (!tensor.dtype) continue;
      const TensorBytes elements = reader.read(tensor);
      if (elements.bytes.size() != static_cast<std::size_t>(tensor.shape.size()) * size_of(*tensor.dtype))
        throw std::logic_error("a tensor's bytes do not fit its shape");
      for (const std::byte byte : elements.bytes) sum += static_cast<unsigned>(byte);
    }
    outcome.shapes = shapes;
    outcome.loaded = sum < 0xffffffffu;
  });
  if (outcome.loaded != (error == "none")) throw std::logic_error(error);
  return outcome;
}

std::string small_safetensors(const TemporaryDirectory& directory) {
  const std::string path = directory.path("small.safetensors");
  const std::string elements(24, 'x');
  const std::span<const std::byte> bytes = std::as_bytes(std::span(elements));
  save_safetensors(path, {{"weight", DType::f32, {2, 3}, bytes},
                          {"half", DType::f16, {2}, bytes.first(4)},
                          {"mask", DType::boolean, {3}, bytes.first(3)},
                          {"empty", DType::f32, {0, 7}, {}}});
  return read_text_file(path);
}

std::string small_torch_file() {
  using namespace pickle;
  const std::string program = "\x80\x02" + global("collections", "OrderedDict") + std::string(")Rq\0", 4) +
                              "(" + text("plain") + tensor(storage(4), 0, {2, 2}, {2, 1}) + text("turned") +
                              tensor(storage(4), 0, {2, 2}, {1, 2}) + text("parameter") +
                              global("torch._utils", "_rebuild_parameter") +
                              tuple(tensor(storage(8, "0", "HalfStorage"), 2, {3}, {1}) + "\x88" + hooks) +
                              "Ru}" + text("_metadata") + hooks + "sb.";
  return torch_archive(program);
}

/// Writes each variant over one file and counts those that load.
class Variants {
 public:
  explicit Variants(std::string name) : name_(std::move(name)) {}
  Outcome load(const std::string& bytes) const { return ::load(directory_.write(name_, bytes)); }

 private:
  TemporaryDirectory directory_;
  std::string name_;
};

void check_truncations(const Variants& variants, const std::string& good) {
  std::size_t loaded = 0;
  for (std::size_t size = 0; size < good.size(); ++size)
    loaded += variants.load(good.substr(0, size)).loaded ? 1 : 0;
  CHECK(loaded == 0);
}

/// Flips every bit, and every byte as a whole. Returns how many variants loaded.
std::size_t check_flips(const Variants& variants, const std::string& good) {
  std::size_t loaded = 0;
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const unsigned mask : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u, 255u}) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ mask);
      loaded += variants.load(bytes).loaded ? 1 : 0;
    }
  return loaded;
}

/// Replaces up to four random bytes, and sometimes removes or repeats a random piece.
std::size_t check_random(const Variants& variants, const std::string& good, std::uint32_t seed,
                         std::uint32_t count) {
  std::size_t loaded = 0;
  for (std::uint32_t trial = 0; trial < count; ++trial) {
    std::string bytes = good;
    for (std::uint32_t change = 0; change < 4; ++change) {
      const Philox::Counter random = Philox::generate({trial, change, 0, 0}, {seed, 0});
      const std::size_t at = random[0] % bytes.size();
      const std::size_t length = std::min<std::size_t>(random[1] % 40, bytes.size() - at);
      if (random[2] % 8 == 0 && length < bytes.size()) {
        bytes.erase(at, length);
      } else if (random[2] % 8 == 1) {
        bytes.insert(at, bytes.substr(at, length));
      } else if (random[2] % 8 < 6) {
        bytes[at] = static_cast<char>(random[3]);
      }
    }
    loaded += variants.load(bytes).loaded ? 1 : 0;
  }
  return loaded;
}

}  // namespace

TEST_CASE("every truncation and flip of a small safetensors file loads or throws") {
  const TemporaryDirectory directory;
  const std::string good = small_safetensors(directory);
  const Variants variants("model.safetensors");
  const Outcome original = variants.load(good);
  REQUIRE(original.loaded);
  check_truncations(variants, good);
  // Flips in the data change elements only; of those in the header some give other names.
  constexpr std::size_t data = 24 + 4 + 3;
  for (std::size_t at = good.size() - data; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(~bytes[at]);
    CHECK(variants.load(bytes).shapes == original.shapes);
  }
  const std::size_t loaded = check_flips(variants, good);
  CHECK(loaded >= data * 9);
  CHECK(loaded < good.size() * 9 / 2);
  check_random(variants, good, 1, 3000);
}

TEST_CASE("every truncation and flip of a small pytorch_model.bin loads or throws") {
  const std::string good = small_torch_file();
  const Variants variants("pytorch_model.bin");
  REQUIRE(variants.load(good).loaded);
  CHECK(variants.load(good).shapes == "parameterF16[3]plainF32[2, 2]turnedF32[2, 2]");
  check_truncations(variants, good);
  const std::size_t loaded = check_flips(variants, good);
  CHECK(loaded >= 16 * 9);
  CHECK(loaded < good.size() * 9 / 2);
  check_random(variants, good, 2, 3000);
}

TEST_CASE("every truncation and random changes of a file that PyTorch wrote load or throw") {
  const std::string good = read_text_file(fixture("views.bin"));
  const Variants variants("pytorch_model.bin");
  REQUIRE(variants.load(good).loaded);
  check_truncations(variants, good);
  check_random(variants, good, 3, 3000);
}

TEST_CASE("every truncation and flip of a JSON text parses or throws") {
  const std::string good =
      R"({"hidden_size": 384, "eps": 1e-12, "labels": {"0": "schlecht é", "1": null}, "x": [true]})";
  const auto parse = [](const std::string& text) {
    const AllocationCap cap(memory_cap);
    return error_of([&] { parse_json(text, "x.json"); });
  };
  CHECK(parse(good) == "none");
  for (std::size_t size = 0; size < good.size(); ++size)
    CHECK(parse(good.substr(0, size)).starts_with("FormatError: x.json"));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (unsigned value = 0; value < 256; ++value) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(value);
      const std::string error = parse(bytes);
      if (error != "none") REQUIRE(error.starts_with("FormatError: x.json"));
    }
}
