#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace attune {

/// How rotary frequencies are stretched beyond the length that a model was pretrained on.
enum class RopeType { standard, linear, dynamic, llama3 };

/// The fields of "rope_parameters" (transformers 5) or of "rope_theta" and "rope_scaling" (transformers 4).
struct RopeConfig {
  RopeType type = RopeType::standard;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  ///< llama3
  std::int64_t original_max_position_embeddings = 0;     ///< llama3
  std::int64_t max_position_embeddings = 2048;           ///< dynamic: nothing is stretched up to here
};

/// The angle per position of each pair, head_size / 2 of them. `length` is one more than the largest
/// position: "dynamic" (NTK-aware) raises the base with it. Here it is the length of the batch alone,
/// whatever came before. Su et al. 2021, arXiv:2104.09864; the scalings as in
/// transformers/modeling_rope_utils.py.
inline std::vector<double> rope_frequencies(const RopeConfig& rope, std::int64_t head_size,
                                            std::int64_t length) {
  const double size = static_cast<double>(head_size);
  double base = rope.theta;
  if (rope.type == RopeType::dynamic && length > rope.max_position_embeddings) {
    const double stretch = static_cast<double>(length) / static_cast<double>(rope.max_position_embeddings);
    base *= std::pow(rope.factor * stretch - (rope.factor - 1.0), size / (size - 2.0));
  }
  std::vector<double> frequencies;
  for (std::int64_t d = 0; d < head_size; d += 2) {
    double frequency = std::pow(base, -static_cast<double>(d) / size);
    if (rope.type == RopeType::linear) frequency /= rope.factor;
    if (rope.type == RopeType::llama3) {
      // Short waves stay, long ones are stretched, and between the two bounds there is a ramp.
      const double turns =
          static_cast<double>(rope.original_max_position_embeddings) * frequency / (2.0 * std::numbers::pi);
      if (turns < rope.low_freq_factor) {
        frequency /= rope.factor;
      } else if (turns <= rope.high_freq_factor) {
        const double smooth = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
        frequency = (1.0 - smooth) * frequency / rope.factor + smooth * frequency;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace attune
