#include <attune/formats/checkpoint.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdlib>

#include "expected_tensors.hpp"

using namespace attune;
using namespace attune_test;

namespace {

void copy(const TemporaryDirectory& to, const std::string& file, const std::string& as) {
  to.write(as, read_text_file(fixture(file)));
}

void check_against_python(const CheckpointReader& reader, const std::string& name) {
  const nlohmann::json expected = expected_tensors(name);
  CHECK(reader.tensors().size() == expected.size());
  for (const auto& item : expected.items()) {
    const std::string tensor_name = item.key();
    const nlohmann::json& tensor = item.value();
    CAPTURE(tensor_name);
    const CheckpointTensor* found = reader.find(tensor_name);
    REQUIRE(found != nullptr);
    check_tensor(tensor, found->dtype_name, found->shape, reader.read(*found).bytes);
  }
}

}  // namespace

TEST_CASE("CheckpointReader finds a directory's weights, safetensors before pickles") {
  const TemporaryDirectory directory;
  const std::string error = error_of([&] { CheckpointReader::open(directory.path()); });
  CHECK(error ==
        "IoError: " + directory.path() +
            ": no weights in this directory; looked for model.safetensors, model.safetensors.index.json, "
            "pytorch_model.bin, pytorch_model.bin.index.json");
  copy(directory, "module.bin", "pytorch_model.bin");
  check_against_python(CheckpointReader::open(directory.path()), "module.bin");
  copy(directory, "types.safetensors", "model.safetensors");
  const CheckpointReader reader = CheckpointReader::open(directory.path() + "/");
  check_against_python(reader, "types.safetensors");
  CHECK(reader.metadata() == SafetensorsMetadata{{"format", "pt"}});
  CHECK(reader.files() == std::vector<std::string>{directory.path() + "/model.safetensors"});
  check_against_python(CheckpointReader::open(directory.path(), "pytorch_model.bin"), "module.bin");
  check_against_python(CheckpointReader::open(fixture("types.bin")), "types.bin");
  CHECK(error_of([&] {
          CheckpointReader::open(directory.path(), "adapter_model.safetensors");
        }).ends_with("adapter_model.safetensors: cannot open: No such file or directory"));
  CHECK(error_of([&] { reader.read("absent"); }).ends_with("model.safetensors: no tensor \"absent\""));
}

TEST_CASE("CheckpointReader converts to float, double and bfloat16") {
  const CheckpointReader reader = CheckpointReader::open(fixture("types.safetensors"));
  const nlohmann::json expected = expected_tensors("types.safetensors");
  for (const std::string name : {"half", "brain", "double", "encoder.weight"}) {
    const auto values = expected.at(name).at("values").get<std::vector<double>>();
    const CheckpointTensor& tensor = *reader.find(name);
    std::vector<float> floats(values.size());
    std::vector<double> doubles(values.size());
    std::vector<bfloat16> brains(values.size());
    reader.copy_as<float>(tensor, floats);
    reader.copy_as<double>(tensor, doubles);
    reader.copy_as<bfloat16>(tensor, brains);
    CHECK(doubles == values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      CHECK(floats[i] == static_cast<float>(values[i]));
      CHECK(brains[i].bits == bfloat16(static_cast<float>(values[i])).bits);
    }
  }
  std::vector<float> floats(6);
  CHECK(error_of([&] {
          reader.copy_as<float>(*reader.find("long"), floats);
        }).ends_with("tensor \"long\": expected a floating-point type, found I64"));
  CHECK(error_of([&] { reader.copy_as<float>(*reader.find("half"), floats); }).starts_with("ShapeError: "));

  const CheckpointReader unsupported = CheckpointReader::open(fixture("unsupported.safetensors"));
  CHECK(unsupported.find("eight")->dtype_name == "F8_E4M3");
  CHECK(error_of([&] {
          unsupported.copy_as<float>(*unsupported.find("eight"), floats);
        }).ends_with("tensor \"eight\" has dtype F8_E4M3, which is not supported"));
}

TEST_CASE("CheckpointReader reads shards by their index, through symbolic links") {
  const TemporaryDirectory directory;
  const TemporaryDirectory blobs;
  const std::array<float, 2> one = {1, 2};
  const std::array<float, 3> two = {3, 4, 5};
  const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
  save_safetensors(blobs.path("1234"),
                   {{"a", DType::f32, {2}, bytes(one)}, {"unlisted", DType::f32, {2}, bytes(one)}});
  save_safetensors(blobs.path("5678"),
                   {{"b", DType::f32, {3}, bytes(two)}, {"a", DType::f32, {3}, bytes(two)}});
  blobs.write("9abc",
              R"({"metadata": {"total_size": 20}, "weight_map": {"a": "model-00001-of-00002.safetensors",
                           "b": "model-00002-of-00002.safetensors"}})");
  for (const auto& [blob, name] : {std::pair("1234", "model-00001-of-00002.safetensors"),
                                   std::pair("5678", "model-00002-of-00002.safetensors"),
                                   std::pair("9abc", "model.safetensors.index.json")})
    std::filesystem::create_symlink(blobs.path(blob), directory.path(name));

  const CheckpointReader reader = CheckpointReader::open(directory.path());
  CHECK(reader.files().size() == 2);
  REQUIRE(reader.tensors().size() == 2);
  CHECK(values_of(DType::f32, reader.read("a").bytes) == std::vector<double>{1, 2});
  CHECK(values_of(DType::f32, reader.read("b").bytes) == std::vector<double>{3, 4, 5});

  // The same with PyTorch's files.
  const TemporaryDirectory torch;
  copy(torch, "types.bin", "pytorch_model-00001-of-00002.bin");
  copy(torch, "views.bin", "pytorch_model-00002-of-00002.bin");
  torch.write("pytorch_model.bin.index.json", R"({"weight_map": {"half": "pytorch_model-00001-of-00002.bin",
                                                   "transposed": "pytorch_model-00002-of-00002.bin"}})");
  const CheckpointReader pickles = CheckpointReader::open(torch.path());
  REQUIRE(pickles.tensors().size() == 2);
  const CheckpointTensor& view = *pickles.find("transposed");
  check_tensor(expected_tensors("views.bin").at("transposed"), view.dtype_name, view.shape,
               pickles.read(view).bytes);
}

TEST_CASE("a dangling link to the weights is named") {
  const TemporaryDirectory directory;
  std::filesystem::create_symlink(directory.path("gone"), directory.path("model.safetensors"));
  CHECK(error_of([&] {
          CheckpointReader::open(directory.path());
        }).ends_with("model.safetensors: cannot open: No such file or directory"));
}

TEST_CASE("the real MiniLM checkpoint opens") {
  const char* model = std::getenv("ATTUNE_MINILM");
  if (model == nullptr) {
    MESSAGE("skipped: ATTUNE_MINILM does not name the model directory");
    return;
  }
  const CheckpointReader reader = CheckpointReader::open(model);
  const CheckpointTensor* words = reader.find("embeddings.word_embeddings.weight");
  REQUIRE(words != nullptr);
  CHECK(words->shape == Shape{30522, 384});
  std::vector<float> values(static_cast<std::size_t>(words->shape.size()));
  reader.copy_as<float>(*words, values);
  double sum = 0;
  for (const float value : values) sum += std::fabs(static_cast<double>(value));
  CHECK(sum / static_cast<double>(values.size()) == doctest::Approx(0.04).epsilon(0.5));
  CHECK(JsonObject::read(std::string(model) + "/config.json").get<int>("hidden_size") == 384);
}
