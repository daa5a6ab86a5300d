#include "corpus.hpp"

#include <attune/formats/checkpoint.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/safetensors.hpp>
#include <attune/formats/torch_file.hpp>
#include <attune/formats/zip.hpp>

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "archive_tools.hpp"

using namespace attune;

namespace attune_test {

void read_broken(const std::string& path, Reader reader) {
  switch (reader) {
    case Reader::safetensors: {
      const SafetensorsFile file = SafetensorsFile::open(path);
      for (const SafetensorsEntry& entry : file.entries()) file.bytes(entry);
      break;
    }
    case Reader::json:
      read_json(path);
      break;
    case Reader::config:
      JsonObject::read(path).get<int>("hidden_size");
      break;
    case Reader::zip:
      ZipFile::open(path);
      break;
    case Reader::torch: {
      const TorchFile file = TorchFile::open(path);
      for (const TorchEntry& entry : file.entries()) file.read(entry);
      break;
    }
    case Reader::index:
      CheckpointReader::open(path);
      break;
  }
}

namespace {

/// What reading may allocate in all, besides a multiple of the file's size.
constexpr std::size_t memory_cap = std::size_t{1} << 20;
constexpr std::size_t memory_per_byte = 100;

std::size_t check_corpus(const std::vector<BrokenFile>& files) {
  const TemporaryDirectory directory;
  directory.write("shard.safetensors",
                  safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  directory.write("broken.safetensors", "");
  for (const BrokenFile& file : files) {
    CAPTURE(file.name);
    const std::string path =
        directory.write(file.reader == Reader::index ? "model.safetensors.index.json" : "file", file.bytes);
    std::string error;
    {
      const AllocationCap cap(memory_cap + memory_per_byte * file.bytes.size());
      error = error_of([&] { read_broken(path, file.reader); });
    }
    INFO(error);
    CHECK(error.starts_with(file.type + ": " + directory.path()));
    CHECK(error.find(file.message) != std::string::npos);
    CHECK(error.size() < 1000);
  }
  return files.size();
}

}  // namespace

TEST_CASE("broken safetensors files are refused, each for its reason") {
  CHECK(check_corpus(broken_safetensors()) >= 70);
}
TEST_CASE("broken JSON texts are refused, each for its reason") { CHECK(check_corpus(broken_json()) >= 40); }
TEST_CASE("broken zip archives are refused, each for its reason") {
  CHECK(check_corpus(broken_zips()) >= 40);
}
TEST_CASE("broken pickles are refused, each for its reason") { CHECK(check_corpus(broken_pickles()) >= 100); }
TEST_CASE("broken indices are refused, each for its reason") { CHECK(check_corpus(broken_indices()) >= 20); }

TEST_CASE("what the broken archives are made from is right") {
  const TemporaryDirectory directory;
  const ZipContent content = {{"first", "some content"}, {"second", "more"}};
  for (const bool zip64 : {false, true}) {
    const ZipFile zip = ZipFile::open(directory.write("zip", make_zip(content, zip64).bytes));
    REQUIRE(zip.entries().size() == 2);
    const std::span<const std::byte> bytes = zip.bytes(*zip.find("second"));
    CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == "more");
  }
  using namespace pickle;
  const TorchFile file =
      TorchFile::open(directory.write("torch", torch_archive(with_tensor(tensor(storage(4), 1, {3}, {1})))));
  REQUIRE(file.entries().size() == 1);
  CHECK(file.find("a")->shape == Shape{3});
}

}  // namespace attune_test
