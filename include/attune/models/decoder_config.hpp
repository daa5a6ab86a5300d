#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <attune/models/config.hpp>
#include <attune/nn/rotary.hpp>

namespace attune {

/// The fields of a Llama config.json, with transformers' defaults, and those by which its relatives differ.
/// Source: transformers/models/llama/configuration_llama.py
struct LlamaConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t num_hidden_layers = 32;
  std::int64_t num_attention_heads = 32;
  std::int64_t num_key_value_heads = 32;
  std::int64_t head_dim = 128;
  std::int64_t max_position_embeddings = 2048;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  double attention_dropout = 0.0;
  std::int64_t pad_token_id = -1;             ///< -1: none
  std::vector<std::int64_t> eos_token_ids{};  ///< any of them ends a text
  bool tie_word_embeddings = false;
  RopeConfig rope{};
  bool qkv_bias = false;     ///< "attention_bias"; always in Qwen2
  bool output_bias = false;  ///< "attention_bias"; never in Qwen2
  bool mlp_bias = false;
  bool qk_norm = false;  ///< Qwen3
  std::vector<std::int64_t>
      windows{};  ///< for each layer the keys that a query sees, 0: all; empty: all of them
  LabelConfig labels{};
  std::shared_ptr<const JsonObject>
      source{};  ///< the file it was read from: save() keeps fields that are not ours

  /// The row of the word embedding that learns nothing from lookups; -1: none.
  std::int64_t padding_row() const { return pad_token_id; }

  static constexpr const char* model_type = "llama";
  /// Reads `directory`/config.json. Throws IoError, FormatError, or ConfigError for a field whose value is
  /// not supported.
  static LlamaConfig from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  /// Writes config.json for the named architecture ("LlamaForCausalLM").
  void save(const std::string& directory, const std::string& architecture) const;
};

/// Llama with a sliding window. Source: transformers/models/mistral/configuration_mistral.py
struct MistralConfig : LlamaConfig {
  static constexpr const char* model_type = "mistral";
  static MistralConfig from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  void save(const std::string& directory, const std::string& architecture) const;
};

/// Llama with biases of q, k and v. Source: transformers/models/qwen2/configuration_qwen2.py
struct Qwen2Config : LlamaConfig {
  static constexpr const char* model_type = "qwen2";
  static Qwen2Config from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  void save(const std::string& directory, const std::string& architecture) const;
};

/// Llama with norms of q and k. Source: transformers/models/qwen3/configuration_qwen3.py
struct Qwen3Config : LlamaConfig {
  static constexpr const char* model_type = "qwen3";
  static Qwen3Config from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  void save(const std::string& directory, const std::string& architecture) const;
};

/// The fields of a GPT-2 config.json, with transformers' defaults.
/// Source: transformers/models/gpt2/configuration_gpt2.py
struct Gpt2Config {
  std::int64_t vocab_size = 50257;
  std::int64_t n_positions = 1024;
  std::int64_t n_embd = 768;
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;
  std::int64_t n_inner = 3072;
  std::string activation_function = "gelu_new";
  double resid_pdrop = 0.1;
  double embd_pdrop = 0.1;
  double attn_pdrop = 0.1;
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  bool scale_attn_weights = true;
  bool scale_attn_by_inverse_layer_idx = false;
  std::int64_t pad_token_id = -1;
  std::vector<std::int64_t> eos_token_ids{};
  bool tie_word_embeddings = true;
  LabelConfig labels{};
  std::shared_ptr<const JsonObject> source{};

  std::int64_t padding_row() const { return -1; }

  static constexpr const char* model_type = "gpt2";
  static Gpt2Config from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  void save(const std::string& directory, const std::string& architecture) const;
};

/// The model_type of a model directory's config.json or of a GGUF file. Throws IoError, FormatError or
/// ConfigError.
std::string read_decoder_type(const std::string& path);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/models/decoder_config.inl.hpp>
#endif
