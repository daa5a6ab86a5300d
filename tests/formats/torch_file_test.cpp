#include <attune/formats/torch_file.hpp>

#include <doctest/doctest.h>

#include "expected_tensors.hpp"

using namespace attune;
using namespace attune_test;

namespace {

void check_against_python(const std::string& name) {
  CAPTURE(name);
  const TorchFile file = TorchFile::open(fixture(name));
  const nlohmann::json expected = expected_tensors(name);
  CHECK(file.entries().size() == expected.size());
  for (const auto& item : expected.items()) {
    const std::string tensor_name = item.key();
    const nlohmann::json& tensor = item.value();
    CAPTURE(tensor_name);
    const TorchEntry* entry = file.find(tensor_name);
    REQUIRE(entry != nullptr);
    check_tensor(tensor, name_of(entry->dtype), entry->shape, file.read(*entry).bytes);
  }
  CHECK(file.find("absent") == nullptr);
}

std::string refusal(const std::string& name) {
  return error_of([&] { TorchFile::open(fixture(name)); });
}

}  // namespace

TEST_CASE("TorchFile reads every type, state dicts of modules, nested ones and pickle protocol 4") {
  check_against_python("types.bin");
  check_against_python("module.bin");
  check_against_python("protocol4.bin");
  check_against_python("nested.bin");
}

TEST_CASE("TorchFile reads views: transposed, sliced, with an offset, empty") {
  check_against_python("views.bin");
  const TorchFile file = TorchFile::open(fixture("views.bin"));
  CHECK_FALSE(file.find("transposed")->contiguous);
  CHECK(file.find("slice")->contiguous);
  CHECK(file.find("expanded_one")->contiguous);
  TensorBytes first = file.read(*file.find("transposed"));
  const std::byte* address = first.bytes.data();
  const TensorBytes second = std::move(first);
  CHECK(second.bytes.data() == address);
  CHECK(second.bytes.data() == second.copy.data());
}

TEST_CASE("tied weights are views of one storage") {
  const TorchFile file = TorchFile::open(fixture("module.bin"));
  CHECK(file.find("embedding.weight")->offset == file.find("decoder.weight")->offset);
}

TEST_CASE("TorchFile executes nothing and says what it refuses") {
  CHECK(refusal("evil.bin").find("pickle: global \"posix.system\" is not allowed") != std::string::npos);
  CHECK(refusal("rebuild_v3.bin").find("global \"torch._utils._rebuild_tensor_v3\" is not allowed") !=
        std::string::npos);
  CHECK(refusal("legacy.bin").find("from before version 1.6") != std::string::npos);
  CHECK(refusal("compressed.bin").find("is compressed (method 8)") != std::string::npos);
  CHECK(refusal("repeated.bin")
            .find("tensor \"repeated\": shape [1000] has more elements than its storage of 1") !=
        std::string::npos);
  CHECK(refusal("not_only_tensors.bin").find("\"epoch\": expected a tensor, found an integer") !=
        std::string::npos);
  CHECK(refusal("types.safetensors").find("not a PyTorch checkpoint") != std::string::npos);
  CHECK(refusal("absent.bin").starts_with("IoError"));
}
