#pragma once

#include <cmath>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/generation/options.hpp>

namespace attune {

ATTUNE_INLINE void check_generation_options(const GenerationOptions& o) {
  const auto refuse = [](const char* name, const char* range, double found) {
    throw ConfigError("generation: " + std::string(name) + ": expected " + range + ", found " +
                      std::to_string(found));
  };
  if (o.max_new_tokens < 1) refuse("max_new_tokens", "at least 1", static_cast<double>(o.max_new_tokens));
  if (!(o.temperature > 0.0f && std::isfinite(o.temperature)))
    refuse("temperature", "a positive number", double{o.temperature});
  if (o.top_k < 0) refuse("top_k", "0 (all) or more", static_cast<double>(o.top_k));
  if (!(o.top_p > 0.0f && o.top_p <= 1.0f)) refuse("top_p", "a number in (0, 1]", double{o.top_p});
  if (!(o.min_p >= 0.0f && o.min_p <= 1.0f)) refuse("min_p", "a number in [0, 1]", double{o.min_p});
  if (!(o.repetition_penalty > 0.0f && std::isfinite(o.repetition_penalty)))
    refuse("repetition_penalty", "a positive number", double{o.repetition_penalty});
  if (o.num_beams < 1 || o.num_beams > 1000)
    refuse("num_beams", "1 to 1000", static_cast<double>(o.num_beams));
  if (!std::isfinite(o.length_penalty)) refuse("length_penalty", "a finite number", double{o.length_penalty});
  if (o.num_beams > 1 && o.do_sample)
    throw ConfigError("generation: num_beams: beams are not sampled; set do_sample to false");
  if (o.num_beams > 1 && o.on_token)
    throw ConfigError("generation: on_token: beam search knows its tokens only at the end");
  if (!o.stop_strings.empty() && !o.decode)
    throw ConfigError("generation: stop_strings: `decode` is needed to find them");
  for (const std::string& text : o.stop_strings)
    if (text.empty()) throw ConfigError("generation: stop_strings: an empty string stops nothing");
}

}  // namespace attune
