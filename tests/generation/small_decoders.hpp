#pragma once

#include <attune/core/random.hpp>
#include <attune/models/decoders.hpp>

#include <cstdint>
#include <vector>

namespace attune::testing {

/// Two layers with grouped heads; `window` in the second one.
inline LlamaConfig small_llama(std::int64_t window = 0) {
  LlamaConfig config;
  config.vocab_size = 50;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 8;
  config.initializer_range = 0.3;
  config.windows = {0, window};
  return config;
}

inline Gpt2Config small_gpt2() {
  Gpt2Config config;
  config.vocab_size = 50;
  config.n_embd = 32;
  config.n_layer = 2;
  config.n_head = 4;
  config.n_inner = 48;
  config.n_positions = 40;
  config.initializer_range = 0.3;
  return config;
}

inline std::vector<std::int32_t> random_tokens(std::int64_t count, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<std::int32_t>(random.below(50)));
  return tokens;
}

/// The texts packed, every token its own label.
inline Batch text_batch(const std::vector<std::vector<std::int32_t>>& texts, bool labelled = true) {
  Batch batch;
  for (const auto& text : texts) {
    batch.segments.append(static_cast<std::int32_t>(text.size()));
    batch.input_ids.insert(batch.input_ids.end(), text.begin(), text.end());
  }
  if (labelled) batch.labels = batch.input_ids;
  return batch;
}

}  // namespace attune::testing
