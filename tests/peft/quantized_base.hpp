#pragma once

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/formats/gguf_convert.hpp>
#include <attune/peft/lora.hpp>

#include <cstring>
#include <string>
#include <vector>

#include "generation/small_decoders.hpp"
#include "models/small_models.hpp"

// A small decoder in quantised blocks, and steps of training its adapters.

namespace attune::testing {

inline LlamaConfig config_of_blocks() {
  LlamaConfig config = small_llama();
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.head_dim = 16;
  config.initializer_range = 0.1;
  return config;
}

/// The same matrix: q d - 8 d.
inline std::vector<std::byte> q4_1_from_q4_0(std::span<const std::byte> blocks) {
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
inline std::string write_gguf(const TemporaryDirectory& directory, BlockType type) {
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

inline LoraConfig lora_config(bool dora = false) {
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

}  // namespace attune::testing
