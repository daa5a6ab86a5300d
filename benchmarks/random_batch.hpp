#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/random.hpp>
#include <attune/models/config.hpp>

namespace attune::bench {

/// "minilm" (6 layers of 384 features) or "bert-base".
inline BertConfig config_of(const std::string& shape) {
  BertConfig config;
  if (shape == "minilm") {
    config.hidden_size = 384;
    config.num_hidden_layers = 6;
    config.intermediate_size = 1536;
  }
  return config;
}

/// `batch` sequences of `length` tokens, or of lengths spread evenly by up to `ragged` times that around it.
inline Batch make_batch(std::int64_t batch, std::int64_t length, double ragged) {
  Batch result;
  RandomStream random(0);
  for (std::int64_t b = 0; b < batch; ++b) {
    const double place =
        batch > 1 ? 2.0 * static_cast<double>(b) / static_cast<double>(batch - 1) - 1.0 : 0.0;
    const auto tokens = std::max<std::int64_t>(
        1, length + static_cast<std::int64_t>(place * ragged * static_cast<double>(length)));
    std::vector<std::int32_t> positions;
    for (std::int64_t i = 0; i < tokens; ++i) {
      positions.push_back(static_cast<std::int32_t>(i));
      result.input_ids.push_back(1000 + static_cast<std::int32_t>(random.uniform() * 29000.0f));
    }
    result.segments.append(positions);
    result.labels.push_back(static_cast<std::int32_t>(b % 2));
  }
  return result;
}

}  // namespace attune::bench
