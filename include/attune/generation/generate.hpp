#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/generation/options.hpp>

namespace attune {

namespace detail {

/// A model as generation sees it: sequences numbered from 0 in a cache.
struct GenerationSteps {
  std::int64_t vocab_size = 0;
  /// Reads the next tokens of each sequence (none: it rests), and returns a row of logits for each that has
  /// any.
  std::function<std::vector<float>(const std::vector<std::vector<std::int32_t>>&)> next;
  /// Sequence i becomes what sources[i] was.
  std::function<void(std::span<const std::int32_t>)> select;
};

/// Greedy or sampled, all prompts side by side.
std::vector<GeneratedText> generate_texts(const GenerationSteps& steps,
                                          const std::vector<std::vector<std::int32_t>>& prompts,
                                          const GenerationOptions& options,
                                          const std::vector<std::int32_t>& eos);
/// One prompt, whose beams are the cache's sequences.
GeneratedText search_beams(const GenerationSteps& steps, const std::vector<std::int32_t>& prompt,
                           const GenerationOptions& options, const std::vector<std::int32_t>& eos);
/// Whether the text ends with its last token because of a stop string.
bool has_stop_string(std::span<const std::int32_t> tokens, const GenerationOptions& options);

/// Dropout off until the end of a scope.
template <class Model>
class EvalMode {
 public:
  explicit EvalMode(Model& model) : model_(model), training_(model.training()) {
    if (training_) model.eval();
  }
  ~EvalMode() {
    if (training_) model_.train();
  }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  Model& model_;
  bool training_;
};

template <class Model, class Cache>
GenerationSteps generation_steps(const Model& model, Cache& cache) {
  return {model.vocab_size(),
          [&](const std::vector<std::vector<std::int32_t>>& tokens) {
            const auto values = model.next_logits(tokens, cache).to_vector();
            return std::vector<float>(values.begin(), values.end());
          },
          [&](std::span<const std::int32_t> sources) { cache.select(sources); }};
}

}  // namespace detail

/// Continues each prompt (token ids, at least one each) with a causal language model. Prompts may differ in
/// length; none is padded, and a text does not depend on its neighbours. Dropout is off meanwhile, so that
/// text can be generated between two steps of training. The same seed gives the same text. Throws ConfigError
/// for an option out of range, an empty prompt, an id that is none, or a text that would outgrow the model's
/// positions.
template <class Model>
std::vector<GeneratedText> generate(Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
                                    const GenerationOptions& options = {}) {
  check_generation_options(options);
  std::size_t longest = 0;
  for (const auto& prompt : prompts) {
    if (prompt.empty()) throw ConfigError("generate: a prompt needs at least one token");
    for (const std::int32_t id : prompt)
      if (id < 0 || id >= model.vocab_size())
        throw ConfigError("generate: a token id must lie in [0, " + std::to_string(model.vocab_size()) +
                          "), found " + std::to_string(id));
    longest = std::max(longest, prompt.size());
  }
  if (prompts.empty()) return {};
  const std::int64_t capacity = static_cast<std::int64_t>(longest) + options.max_new_tokens;
  if (model.max_positions() > 0 && capacity > model.max_positions())
    throw ConfigError("generate: the model has " + std::to_string(model.max_positions()) +
                      " positions, and a prompt of " + std::to_string(longest) + " tokens with " +
                      std::to_string(options.max_new_tokens) + " new ones needs " + std::to_string(capacity));
  const std::vector<std::int32_t> eos =
      options.eos_token_ids ? *options.eos_token_ids : model.eos_token_ids();

  const detail::EvalMode<Model> no_dropout(model);
  std::vector<GeneratedText> texts;
  if (options.num_beams == 1) {
    auto cache = model.make_cache(static_cast<std::int64_t>(prompts.size()), capacity);
    return detail::generate_texts(detail::generation_steps(model, cache), prompts, options, eos);
  }
  for (const auto& prompt : prompts) {
    auto cache = model.make_cache(options.num_beams,
                                  static_cast<std::int64_t>(prompt.size()) + options.max_new_tokens);
    texts.push_back(detail::search_beams(detail::generation_steps(model, cache), prompt, options, eos));
  }
  return texts;
}

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/generation/generate.inl.hpp>
#endif
