#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace attune {

/// When beam search has enough finished beams, as `early_stopping` of transformers.
enum class BeamStop {
  heuristic,  ///< false: when the best running beam, at its present length, cannot beat the worst finished
              ///< one
  full,       ///< true: as soon as num_beams beams are finished
  never,      ///< "never": as heuristic, but with the length that favours the running beam most
};

/// How text is generated. Names and defaults are those of transformers' GenerationConfig, but that
/// max_new_tokens counts alone and top_k is off.
struct GenerationOptions {
  std::int64_t max_new_tokens = 128;
  bool do_sample = false;    ///< false: the likeliest token each time
  float temperature = 1.0f;  ///< > 0; divides the logits before sampling
  std::int64_t top_k = 0;    ///< only the k likeliest tokens; 0: all
  float top_p = 1.0f;        ///< in (0, 1]: only the likeliest tokens that together have this probability
  float min_p = 0.0f;        ///< in [0, 1]: only tokens with this share of the likeliest one's probability
  float repetition_penalty = 1.0f;  ///< > 0: of tokens that the text already has; 1: none
  std::int64_t num_beams = 1;       ///< more than 1: beam search
  float length_penalty = 1.0f;      ///< exponent of the length by which a beam's score is divided
  BeamStop early_stopping = BeamStop::heuristic;
  std::optional<std::vector<std::int32_t>>
      eos_token_ids{};     ///< end a text; unset: as the model's config says
  std::uint64_t seed = 0;  ///< of sampling

  /// A text that has one of these ends (the string stays in it). Needs `decode`.
  std::vector<std::string> stop_strings{};
  std::function<std::string(std::span<const std::int32_t>)> decode{};
  /// Called with each new token of prompt number `sequence`, in order; false ends that text. Not with beams.
  std::function<bool(std::int64_t sequence, std::int32_t token)> on_token{};
};

enum class FinishReason { length, end_of_text, stop_string, callback };

/// What was generated for one prompt.
struct GeneratedText {
  std::vector<std::int32_t> tokens{};  ///< the new ones, with the end-of-text token when it came
  /// Of each token, from the model's own distribution before any processing; empty for beams.
  std::vector<float> logprobs{};
  FinishReason finish_reason = FinishReason::length;
  float score = 0.0f;  ///< of a beam: its log probability over its length to the power of length_penalty
};

/// Throws ConfigError for an option out of its range.
void check_generation_options(const GenerationOptions& options);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/generation/options.inl.hpp>
#endif
