// Adapters on a base that is kept in the quantised blocks of a GGUF file.
#include "peft/quantized_base.hpp"

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
