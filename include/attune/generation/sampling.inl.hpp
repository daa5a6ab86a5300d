#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include <attune/core/error.hpp>
#include <attune/generation/sampling.hpp>

namespace attune {

ATTUNE_INLINE std::vector<float> log_softmax(std::span<const float> logits) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0.0;
  bool valid = true;
  for (const float x : logits) {
    valid = valid && !std::isnan(x);
    largest = std::max(largest, double{x});
  }
  if (!valid || !std::isfinite(largest)) throw ConfigError("generation: the model's logits are not finite");
  for (const float x : logits) sum += std::exp(double{x} - largest);
  const double shift = largest + std::log(sum);
  std::vector<float> result;
  result.reserve(logits.size());
  for (const float x : logits) result.push_back(static_cast<float>(double{x} - shift));
  return result;
}

ATTUNE_INLINE void penalize_repetitions(std::span<float> scores, std::span<const std::int32_t> context,
                                        float penalty) {
  if (penalty == 1.0f) return;
  std::vector<std::int32_t> tokens(context.begin(), context.end());
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  for (const std::int32_t token : tokens) {
    float& score = scores[static_cast<std::size_t>(token)];
    score = score < 0.0f ? score * penalty : score / penalty;
  }
}

ATTUNE_INLINE std::vector<double> sampling_probabilities(std::span<const float> scores,
                                                         const GenerationOptions& options) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](std::int32_t token) {
    return double{scores[static_cast<std::size_t>(token)]} / double{options.temperature};
  };
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::size_t kept = order.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  if (options.top_p < 1.0f)
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), better);
  else if (kept < order.size())
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), better);
  order.resize(kept);

  const double largest = score(*std::min_element(order.begin(), order.end(), better));
  std::vector<double> weights;
  double total = 0.0;
  for (const std::int32_t token : order) {
    weights.push_back(std::exp(score(token) - largest));
    total += weights.back();
  }
  if (options.top_p < 1.0f) {  // the shortest beginning that has the probability top_p
    double before = 0.0;
    std::size_t end = 0;
    while (end < weights.size() && (end == 0 || before < double{options.top_p} * total))
      before += weights[end++];
    weights.resize(end);
  }
  std::vector<double> probabilities(scores.size(), 0.0);
  double left = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (weights[i] >= double{options.min_p}) left += weights[i];  // the likeliest token's weight is 1
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (weights[i] >= double{options.min_p})
      probabilities[static_cast<std::size_t>(order[i])] = weights[i] / left;
  return probabilities;
}

ATTUNE_INLINE std::int32_t likeliest(std::span<const float> scores) {
  return static_cast<std::int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

ATTUNE_INLINE std::int32_t draw_token(std::span<const double> probabilities, RandomStream& random) {
  const double point = (static_cast<double>(random.next()) + 0.5) * 0x1p-32;
  double sum = 0.0;
  std::int32_t last = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    if (probabilities[i] <= 0.0) continue;
    last = static_cast<std::int32_t>(i);
    sum += probabilities[i];
    if (point < sum) return last;
  }
  return last;  // the sum was rounded below 1
}

}  // namespace attune
