#include "small_models.hpp"

#include <doctest/doctest.h>
#include <attune/models/decoder_config.hpp>

#include <cmath>
#include <fstream>
#include <string>

using namespace attune;
using attune::testing::TemporaryDirectory;

namespace {

template <class Config>
Config read(const std::string& text) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() + "/config.json") << text;
  return Config::from_pretrained(directory.path());
}

}  // namespace

TEST_CASE("decoder configs: defaults are transformers'") {
  const auto llama = read<LlamaConfig>(R"({"model_type": "llama"})");
  CHECK(llama.num_key_value_heads == 32);
  CHECK(llama.head_dim == 128);
  CHECK(llama.rope.theta == 10000.0);
  CHECK(llama.pad_token_id == -1);
  CHECK(llama.eos_token_ids == std::vector<std::int64_t>{2});
  CHECK(!llama.tie_word_embeddings);
  const auto mistral = read<MistralConfig>(R"({"model_type": "mistral"})");
  CHECK(mistral.num_key_value_heads == 8);
  CHECK(mistral.windows == std::vector<std::int64_t>(32, 4096));
  CHECK(read<MistralConfig>(R"({"model_type": "mistral", "sliding_window": null})").windows[0] == 0);
  const auto qwen2 = read<Qwen2Config>(R"({"model_type": "qwen2"})");
  CHECK(qwen2.qkv_bias);
  CHECK(!qwen2.output_bias);
  CHECK(qwen2.windows == std::vector<std::int64_t>(32, 0));
  CHECK(qwen2.eos_token_ids.empty());
  const auto sliding = read<Qwen2Config>(
      R"({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 7, "num_hidden_layers": 4, "max_window_layers": 3})");
  CHECK(sliding.windows == std::vector<std::int64_t>{0, 0, 0, 7});
  const auto qwen3 = read<Qwen3Config>(R"({"model_type": "qwen3", "eos_token_id": [4, 5]})");
  CHECK(qwen3.qk_norm);
  CHECK(qwen3.head_dim == 128);
  CHECK(qwen3.eos_token_ids == std::vector<std::int64_t>{4, 5});
  CHECK(read<Gpt2Config>(R"({"model_type": "gpt2", "n_embd": 24})").n_inner == 96);
}

TEST_CASE("decoder configs: rotary fields of transformers 4 and 5") {
  const auto four = read<LlamaConfig>(
      R"({"model_type": "llama", "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}})");
  const auto five = read<LlamaConfig>(
      R"({"model_type": "llama", "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}})");
  for (const auto& config : {four, five}) {
    CHECK(config.rope.type == RopeType::linear);
    CHECK(config.rope.theta == 500.0);
    CHECK(rope_frequencies(config.rope, 128, 1)[0] == 0.25);
    CHECK(rope_frequencies(config.rope, 128, 1)[32] == doctest::Approx(std::pow(500.0, -0.5) / 4.0));
  }
  CHECK(rope_frequencies(four.rope, 128, 10).size() == 64);
}

TEST_CASE("decoder configs: what is not supported is refused by name") {
  const auto refuses = [](const std::string& fields, const std::string& message) {
    CAPTURE(fields);
    CHECK_THROWS_WITH_AS(read<LlamaConfig>(R"({"model_type": "llama", )" + fields + "}"),
                         doctest::Contains(message.c_str()), ConfigError);
  };
  refuses(R"("hidden_act": "gelu")", "hidden_act: expected silu, found gelu");
  refuses(R"("rope_scaling": {"rope_type": "yarn", "factor": 2.0})",
          "rope_type: expected default, linear, dynamic or llama3");
  refuses(R"("rope_scaling": {"type": "linear"})", "factor");
  refuses(R"("rope_scaling": {"type": "linear", "factor": 0.5})", "factor: expected at least 1");
  refuses(
      R"("rope_parameters": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4, "high_freq_factor": 1})",
      "high_freq_factor");
  refuses(R"("partial_rotary_factor": 0.5)", "partial_rotary_factor");
  refuses(R"("num_key_value_heads": 5)", "num_key_value_heads: must divide");
  refuses(R"("head_dim": 5)", "head_dim: expected an even number");
  refuses(R"("quantization_config": {"bits": 4})", "quantization_config");
  refuses(R"("pad_token_id": 32000)", "pad_token_id");
  refuses(R"("hidden_size": 1000)", "num_attention_heads: must divide");
  refuses(R"("num_hidden_layers": 100000)", "num_hidden_layers");
  CHECK_THROWS_AS(read<LlamaConfig>(R"({"model_type": "qwen2"})"), ConfigError);
  CHECK_THROWS_AS(read<Qwen2Config>(R"({"model_type": "qwen2", "layer_types": ["full_attention"]})"),
                  ConfigError);
  CHECK_THROWS_AS(
      read<Qwen2Config>(R"({"model_type": "qwen2", "num_hidden_layers": 1, "layer_types": ["linear"]})"),
      ConfigError);
  CHECK_THROWS_AS(read<Gpt2Config>(R"({"model_type": "gpt2", "n_head": 7})"), ConfigError);
  CHECK_THROWS_AS(read<Gpt2Config>(R"({"model_type": "gpt2", "add_cross_attention": true})"), ConfigError);
}
