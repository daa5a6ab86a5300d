// Adapters on a base that is kept in the quantised blocks of a GGUF file.
#include "generation/small_decoders.hpp"
#include "models/small_models.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/formats/gguf_convert.hpp>
#include <attune/peft/lora.hpp>
#include <attune/train/checkpoint.hpp>

#include <cmath>
#include <string>
#include <vector>

using namespace attune;
using namespace attune::testing;

namespace {

LlamaConfig config_of_blocks() {
  LlamaConfig config = small_llama();
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.head_dim = 16;
  config.initializer_range = 0.1;
  return config;
}

/// The same matrix: q d - 8 d.
std::vector<std::byte> q4_1_from_q4_0(std::span<const std::byte> blocks) {
  std::vector<std::byte> result;
  for (std::size_t at = 0; at < blocks.size(); at += 18) {
    float16 d;
    std::memcpy(&d.bits, blocks.data() + at, 2);
    const float16 m(-8.0f * static_cast<float>(d));
    const auto* const low = reinterpret_cast<const std::byte*>(&m.bits);
    result.insert(result.end(), blocks.begin() + static_cast<std::ptrdiff_t>(at),
                  blocks.begin() + static_cast<std::ptrdiff_t>(at) + 2);
    result.insert(result.end(), low, low + 2);
    result.insert(result.end(), blocks.begin() + static_cast<std::ptrdiff_t>(at) + 2,
                  blocks.begin() + static_cast<std::ptrdiff_t>(at) + 18);
  }
  return result;
}

/// A model of random weights as a GGUF file.
std::string write_gguf(const TemporaryDirectory& directory, BlockType type) {
  const std::string folder = directory.path() + "/plain", path = directory.path() + "/model.gguf";
  LlamaForCausalLM<float, Cpu>::from_config(config_of_blocks()).save_pretrained(folder);
  const GgmlType written = type == BlockType::q8_0 ? GgmlType::q8_0 : GgmlType::q4_0;
  save_gguf_checkpoint(path, JsonObject::read(folder + "/config.json"), CheckpointReader::open(folder),
                       GgufMetadata(), {.type = written});
  if (type != BlockType::q4_1) return path;
  const GgufFile file = GgufFile::open(path);
  std::vector<GgufTensorInfo> tensors;
  for (const GgufTensor& tensor : file.tensors())
    tensors.push_back(
        {tensor.name, tensor.type() == GgmlType::q4_0 ? GgmlType::q4_1 : *tensor.type(), tensor.shape});
  std::vector<std::byte> bytes;
  const std::string changed = directory.path() + "/q4_1.gguf";
  save_gguf(changed, file.metadata(), tensors, [&](std::size_t i) -> std::span<const std::byte> {
    const GgufTensor& tensor = file.tensors()[i];
    if (tensor.type() != GgmlType::q4_0) return file.bytes(tensor);
    bytes = q4_1_from_q4_0(file.bytes(tensor));
    return bytes;
  });
  return changed;
}

LoraConfig lora_config(bool dora = false) {
  LoraConfig config;
  config.r = 4;
  config.target_modules = {"all-linear"};
  config.use_dora = dora;
  config.lora_dropout = dora ? 0.0 : 0.1;
  return config;
}

template <class Model>
std::size_t count_quantized(const Model& model) {
  std::size_t count = 0;
  for (const auto& parameter : model.parameters()) count += parameter.state->blocks.has_value() ? 1 : 0;
  return count;
}

/// Losses of some steps, the gradients of each, and the logits at the end.
template <class Model>
std::vector<double> train(const std::string& path, bool quantized, bool dora = false) {
  using B = typename Model::backend_type;
  Model model = Model::from_pretrained(path, {.frozen = true, .quantized = quantized}, B());
  CHECK(count_quantized(model) == (quantized ? 14 : 0));
  LoraAdapter<Model> lora(model, lora_config(dora));
  const Batch batch = text_batch({random_tokens(7, 1), random_tokens(12, 3)});
  std::vector<double> numbers;
  AdamW<B> optimizer(model.parameters(), {.lr = 1e-2});
  for (int step = 0; step < 4; ++step) {
    optimizer.zero_grad();
    auto loss = model(batch).loss;
    numbers.push_back(loss.item());
    loss.backward();
    for (const auto& parameter : model.parameters())
      if (parameter.trainable())
        for (const float value : parameter.grad().to_vector()) numbers.push_back(value);
    optimizer.step();
  }
  model.eval();
  Batch unlabelled = batch;
  unlabelled.labels.clear();
  for (const auto value : model(unlabelled).logits.to_vector()) numbers.push_back(double(value));
  CHECK(count_quantized(model) == (quantized ? 14 : 0));
  return numbers;
}

}  // namespace

TEST_CASE("qlora: every number is that of LoRA on the dequantised weights, in float and bfloat16") {
  for (const BlockType type : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1}) {
    CAPTURE(std::string(name_of(type)));
    const TemporaryDirectory directory;
    const std::string path = write_gguf(directory, type);
    const auto plain = train<LlamaForCausalLM<float, Cpu>>(path, false);
    CHECK(plain.size() > 10000);
    CHECK(train<LlamaForCausalLM<float, Cpu>>(path, true) == plain);
    const auto half = train<LlamaForCausalLM<bfloat16, Cpu>>(path, false);
    CHECK(train<LlamaForCausalLM<bfloat16, Cpu>>(path, true) == half);
    CHECK(train<LlamaForCausalLM<float, Cpu>>(path, false, true) ==
          train<LlamaForCausalLM<float, Cpu>>(path, true, true));
  }
}

TEST_CASE("qlora: the backend's blocks give what the reference computes in double") {
  const TemporaryDirectory directory;
  const std::string path = write_gguf(directory, BlockType::q4_1);
  const auto batch = text_batch({random_tokens(9, 5)});
  const auto loss = LlamaForCausalLM<float, Cpu>::from_pretrained(path, {.frozen = true, .quantized = true});
  const auto exact = LlamaForCausalLM<double, Reference>::from_pretrained(
      path, {.frozen = true, .quantized = true}, Reference());
  CHECK(count_quantized(exact) == 14);
  CHECK(std::abs(loss(batch).loss.item() - exact(batch).loss.item()) < 1e-5);
}

TEST_CASE("qlora: blocks take the memory of blocks, and no float copy is ever made") {
  const TemporaryDirectory directory;
  const std::string path = write_gguf(directory, BlockType::q4_0);
  auto model = LlamaForCausalLM<bfloat16, Cpu>::from_pretrained(path, {.frozen = true, .quantized = true});
  std::size_t kept = 0;
  for (const auto& parameter : model.parameters()) {
    CHECK(!parameter.state->master);
    if (!parameter.state->blocks) continue;
    CHECK(parameter.state->value.bytes() == static_cast<std::size_t>(parameter.size()) / 32 * 18);
    kept += parameter.state->value.bytes();
  }
  CHECK(kept > 20000);
}

TEST_CASE("qlora: a training checkpoint holds the blocks, and a run goes on from it") {
  const TemporaryDirectory directory;
  const std::string path = write_gguf(directory, BlockType::q8_0);
  using Model = LlamaForCausalLM<bfloat16, Cpu>;
  const Batch batch = text_batch({random_tokens(7, 1)});
  std::vector<float> losses;
  for (const bool resumed : {false, true}) {
    Model model = Model::from_pretrained(path, {.frozen = true, .quantized = true});
    const LoraAdapter<Model> lora(model, lora_config());
    AdamW<Cpu> optimizer(model.parameters(), {.lr = 1e-2});
    TrainingCheckpoints<Cpu> checkpoints(directory.path() + "/run", model.parameters(), optimizer);
    const auto step = [&] {
      optimizer.zero_grad();
      auto loss = model(batch).loss;
      loss.backward();
      optimizer.step();
      return loss.item();
    };
    if (resumed) {
      CHECK(checkpoints.load_latest().has_value());
    } else {
      step();
      checkpoints.save();
    }
    losses.push_back(step());
  }
  CHECK(losses[0] == losses[1]);
}

TEST_CASE("qlora: merging dequantises, and a model is saved with its elements") {
  const TemporaryDirectory directory;
  const std::string path = write_gguf(directory, BlockType::q8_0);
  using Model = LlamaForCausalLM<float, Cpu>;
  Model model = Model::from_pretrained(path, {.frozen = true, .quantized = true});
  model.eval();
  Batch batch = text_batch({random_tokens(7, 1)}, false);
  const auto logits = [&](const Model& of) { return of(batch).logits.to_vector(); };
  const auto close = [](const std::vector<float>& a, const std::vector<float>& b) {
    float worst = a.size() == b.size() ? 0.0f : 1.0f;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst < 1e-4f;
  };
  const auto before = logits(model);
  model.save_pretrained(directory.path() + "/saved");
  CHECK(logits(Model::from_pretrained(directory.path() + "/saved")) == before);

  LoraAdapter<Model> lora(model, lora_config());
  for (const auto& parameter : model.parameters())
    if (parameter.trainable() && parameter.name.find("lora_B") != std::string::npos)
      parameter.master().copy_from(std::vector<float>(static_cast<std::size_t>(parameter.size()), 0.05f));
  const auto adapted = logits(model);
  CHECK(!close(adapted, before));
  lora.merge();
  CHECK(count_quantized(model) == 0);
  CHECK(close(logits(model), adapted));
  lora.unmerge();
  lora.deactivate();
  CHECK(close(logits(model), before));
}

TEST_CASE("qlora: what cannot be is refused by name") {
  const TemporaryDirectory directory;
  const std::string path = write_gguf(directory, BlockType::q4_0);
  using Model = LlamaForCausalLM<float, Cpu>;
  CHECK_THROWS_WITH_AS(Model::from_pretrained(path, {.quantized = true}), doctest::Contains("frozen"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(
      Model::from_pretrained(directory.path() + "/plain", {.frozen = true, .quantized = true}),
      doctest::Contains("GGUF"), ConfigError);
  Model model = Model::from_pretrained(path, {.frozen = true, .quantized = true});
  CHECK_THROWS_WITH_AS(model.unfreeze("*q_proj.weight"), doctest::Contains("Q4_0 blocks, which do not train"),
                       ConfigError);
  CHECK_THROWS_AS(model.decoder.layers[0].mlp.up_proj.weight.value(), ConfigError);
  LoraConfig config = lora_config();
  config.modules_to_save = {"up_proj"};
  CHECK_THROWS_WITH_AS((LoraAdapter<Model>(model, config)), doctest::Contains("up_proj.weight is quantised"),
                       ConfigError);
  for (const auto& parameter : model.parameters()) CHECK(parameter.name.find("lora") == std::string::npos);
  model.unfreeze("*norm.weight");  // the rest trains as ever
  CHECK(model.num_parameters(true) > 0);
}
