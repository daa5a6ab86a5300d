#pragma once

#include <string>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/models/decoders.hpp>

namespace attune {

/// Calls f with the family (LlamaFamily, MistralFamily, Qwen2Family, Qwen3Family, Gpt2Family) of a model
/// directory or GGUF file, so that a program written over families reads any of them. Throws ConfigError for
/// a model_type that is none.
template <class F>
decltype(auto) with_decoder_family(const std::string& path, F&& f) {
  const std::string type = read_decoder_type(path);
  if (type == LlamaConfig::model_type) return std::forward<F>(f)(LlamaFamily());
  if (type == MistralConfig::model_type) return std::forward<F>(f)(MistralFamily());
  if (type == Qwen2Config::model_type) return std::forward<F>(f)(Qwen2Family());
  if (type == Qwen3Config::model_type) return std::forward<F>(f)(Qwen3Family());
  if (type == Gpt2Config::model_type) return std::forward<F>(f)(Gpt2Family());
  throw ConfigError(path + ": model_type: expected llama, mistral, qwen2, qwen3 or gpt2, found '" + type +
                    "'");
}

}  // namespace attune
