#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <attune/core/inline.hpp>
#include <attune/formats/gguf.hpp>
#include <attune/formats/json.hpp>

namespace attune {

/// The config.json of the model in a GGUF file: architectures llama (as "llama", or "mistral" when it has a
/// sliding window), qwen2, qwen3 and gpt2. Whether the embedding is tied, whether there are biases and how
/// many words there are is read from the tensors; the llama3 rotary scaling from the factors in
/// "rope_freqs.weight". Throws ConfigError for an architecture or a value that has no counterpart, naming the
/// key.
nlohmann::json gguf_to_config(const GgufFile& file);

/// The metadata of a model with this config.json, as llama.cpp reads them: the other way round. Biases and
/// ties are told by the tensors. Throws ConfigError for a model_type or a field that GGUF cannot hold.
GgufMetadata config_to_gguf(const JsonObject& config);

/// For the llama3 rotary scaling GGUF keeps no numbers but a factor for each pair of a head: the values of
/// "rope_freqs.weight", or none when the config has no such scaling.
std::vector<float> rope_factors_of(const JsonObject& config);

/// The config of a model: `path`/config.json, or made from the metadata when `path` is a GGUF file.
JsonObject read_model_config(const std::string& path);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/gguf_config.inl.hpp>
#endif
