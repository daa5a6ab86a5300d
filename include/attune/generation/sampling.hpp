#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/core/random.hpp>
#include <attune/generation/options.hpp>

// One step's choice of a token, on the host.

namespace attune {

/// log(softmax(logits)), in double inside. Throws ConfigError when a logit is NaN or all are -inf.
std::vector<float> log_softmax(std::span<const float> logits);

/// Divides the positive scores, and multiplies the negative ones, of every token in `context`.
/// Keskar et al. 2019, arXiv:1909.05858.
void penalize_repetitions(std::span<float> scores, std::span<const std::int32_t> context, float penalty);

/// The probabilities that sampling draws from: temperature, top_k, top_p (Holtzman et al. 2020,
/// arXiv:1904.09751) and min_p (Nguyen et al. 2024, arXiv:2407.01082) one after another, in the order of
/// transformers.
std::vector<double> sampling_probabilities(std::span<const float> scores, const GenerationOptions& options);

/// The likeliest token, the lowest id among equals.
std::int32_t likeliest(std::span<const float> scores);

/// Draws from probabilities that sum to about 1.
std::int32_t draw_token(std::span<const double> probabilities, RandomStream& random);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/generation/sampling.inl.hpp>
#endif
