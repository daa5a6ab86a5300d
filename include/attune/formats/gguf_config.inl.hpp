#pragma once

#include <array>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/formats/gguf_checkpoint.hpp>
#include <attune/formats/gguf_config.hpp>

namespace attune::detail {

struct ConfigField {
  const char* key;    // without the architecture
  const char* field;  // of config.json
};

inline constexpr std::array<ConfigField, 6> llama_integers = {
    {{"block_count", "num_hidden_layers"},
     {"context_length", "max_position_embeddings"},
     {"embedding_length", "hidden_size"},
     {"feed_forward_length", "intermediate_size"},
     {"attention.head_count", "num_attention_heads"},
     {"attention.head_count_kv", "num_key_value_heads"}}};
inline constexpr std::array<ConfigField, 5> gpt2_integers = {{{"block_count", "n_layer"},
                                                              {"context_length", "n_positions"},
                                                              {"embedding_length", "n_embd"},
                                                              {"feed_forward_length", "n_inner"},
                                                              {"attention.head_count", "n_head"}}};

/// The llama3 scaling's factor for pair `i` of a head of `head_dim`.
/// Source: transformers/modeling_rope_utils.py, _compute_llama3_parameters
inline float llama3_factor(std::int64_t i, std::int64_t head_dim, double theta, double factor, double low,
                           double high, double original) {
  const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < original / high) return 1;
  if (wavelength > original / low) return static_cast<float>(factor);
  const double smooth = (original / wavelength - low) / (high - low);
  return static_cast<float>(1 / ((1 - smooth) / factor + smooth));
}

inline std::int64_t required_integer(const GgufMetadata& metadata, const std::string& key) {
  const auto value = metadata.integer(key);
  if (!value) metadata.throw_missing(key);
  return *value;
}

inline double required_number(const GgufMetadata& metadata, const std::string& key) {
  const auto value = metadata.number(key);
  if (!value) metadata.throw_missing(key);
  return shortest_decimal(static_cast<float>(*value));
}

/// The scaling whose factors the file holds: only the last factor and the length it was trained on vary among
/// published models, so those are found and the rest is verified.
inline nlohmann::json llama3_scaling(const GgufFile& file, const GgufTensor& tensor, std::int64_t head_dim,
                                     double theta) {
  std::vector<float> factors(static_cast<std::size_t>(tensor.shape.size()));
  if (!tensor.type()) file.metadata().refuse("rope_freqs.weight", "its element type is not supported");
  dequantize_blocks(*tensor.type(), file.bytes(tensor), factors);
  if (static_cast<std::int64_t>(factors.size()) != head_dim / 2 || factors.empty())
    file.metadata().refuse("rope_freqs.weight", "expected " + std::to_string(head_dim / 2) +
                                                    " factors, found " + std::to_string(factors.size()));
  const double factor = shortest_decimal(factors.back());
  for (const double original : {8192.0, 4096.0, 2048.0, 16384.0, 32768.0, 131072.0}) {
    bool fits = true;
    for (std::size_t i = 0; i < factors.size() && fits; ++i) {
      const float expected =
          llama3_factor(static_cast<std::int64_t>(i), head_dim, theta, factor, 1, 4, original);
      fits = std::fabs(factors[i] - expected) <= 1e-4f * expected;
    }
    if (fits)
      return {{"rope_type", "llama3"},
              {"factor", factor},
              {"low_freq_factor", 1.0},
              {"high_freq_factor", 4.0},
              {"original_max_position_embeddings", static_cast<std::int64_t>(original)}};
  }
  file.metadata().refuse("rope_freqs.weight", "the factors are not those of a llama3 rotary scaling");
}

inline void read_gguf_rope(const GgufFile& file, const std::string& prefix, nlohmann::json& config) {
  const GgufMetadata& metadata = file.metadata();
  const std::int64_t hidden = config["hidden_size"], heads = config["num_attention_heads"];
  if (heads < 1)
    metadata.refuse(prefix + "attention.head_count", "expected at least 1, found " + std::to_string(heads));
  const auto rotary = metadata.integer(prefix + "rope.dimension_count");
  const auto key_length = metadata.integer(prefix + "attention.key_length");
  const std::int64_t head_dim = key_length.value_or(rotary.value_or(hidden / heads));
  if (rotary && *rotary != head_dim)
    metadata.refuse(prefix + "rope.dimension_count", "only whole heads of " + std::to_string(head_dim) +
                                                         " are supported, found " + std::to_string(*rotary));
  if (metadata.integer(prefix + "attention.value_length").value_or(head_dim) != head_dim)
    metadata.refuse(prefix + "attention.value_length", "keys and values of two sizes are not supported");
  config["head_dim"] = head_dim;
  const double theta = metadata.has(prefix + "rope.freq_base")
                           ? required_number(metadata, prefix + "rope.freq_base")
                           : 10000.0;
  config["rope_theta"] = theta;
  const std::string scaling = metadata.string(prefix + "rope.scaling.type").value_or("none");
  if (scaling == "linear") {
    config["rope_scaling"] = {{"rope_type", "linear"},
                              {"factor", required_number(metadata, prefix + "rope.scaling.factor")}};
  } else if (scaling != "none" && !scaling.empty()) {
    metadata.refuse(prefix + "rope.scaling.type", "expected none or linear, found '" + scaling + "'");
  } else if (const GgufTensor* factors = file.find("rope_freqs.weight")) {
    config["rope_scaling"] = llama3_scaling(file, *factors, head_dim, theta);
  } else {
    config["rope_scaling"] = nullptr;
  }
}

inline nlohmann::json llama_from_gguf(const GgufFile& file, const std::string& architecture) {
  const GgufMetadata& metadata = file.metadata();
  const std::string prefix = architecture + ".";
  nlohmann::json config;
  for (const ConfigField& pair : llama_integers)
    if (metadata.has(prefix + pair.key) || std::string_view(pair.key) != "attention.head_count_kv")
      config[pair.field] = required_integer(metadata, prefix + pair.key);
  if (!config.contains("num_key_value_heads")) config["num_key_value_heads"] = config["num_attention_heads"];
  config["rms_norm_eps"] = required_number(metadata, prefix + "attention.layer_norm_rms_epsilon");
  config["hidden_act"] = "silu";
  if (metadata.integer(prefix + "expert_count").value_or(0) != 0)
    metadata.refuse(prefix + "expert_count", "mixtures of experts are not supported");
  read_gguf_rope(file, prefix, config);
  const auto window = metadata.integer(prefix + "attention.sliding_window").value_or(0);
  config["model_type"] = architecture == "llama" && window > 0 ? "mistral" : architecture;
  if (window > 0) config["sliding_window"] = window;
  if (window > 0 && architecture != "llama") config["use_sliding_window"] = true;
  if (architecture == "llama" && window <= 0) {
    config["attention_bias"] = file.find("blk.0.attn_q.bias") != nullptr;
    config["mlp_bias"] = file.find("blk.0.ffn_up.bias") != nullptr;
  }
  return config;
}

inline nlohmann::json gpt2_from_gguf(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  nlohmann::json config = {{"model_type", "gpt2"}, {"activation_function", "gelu_new"}};
  for (const ConfigField& pair : gpt2_integers)
    config[pair.field] = required_integer(metadata, std::string("gpt2.") + pair.key);
  config["layer_norm_epsilon"] = required_number(metadata, "gpt2.attention.layer_norm_epsilon");
  return config;
}

inline std::string architecture_class(const std::string& model_type) {
  if (model_type == "gpt2") return "GPT2LMHeadModel";
  std::string name = model_type + "ForCausalLM";
  name.front() = static_cast<char>(name.front() - 'a' + 'A');
  return name;
}

/// A config's end-of-text ids, the first of which is the tokenizer's own.
inline std::vector<std::int64_t> end_ids(const JsonObject& config) {
  if (!config.has("eos_token_id")) return {};
  if (config.json()["eos_token_id"].is_array()) return config.get<std::vector<std::int64_t>>("eos_token_id");
  return {config.get<std::int64_t>("eos_token_id")};
}

inline void set_count(GgufMetadata& metadata, const std::string& key, const JsonObject& config,
                      const char* field, std::int64_t value) {
  if (value < 0 || value > 0xffffffffll)
    config.refuse(field, "does not fit in 32 bits: " + std::to_string(value));
  metadata.set(key, GgufValue::of_u32(static_cast<std::uint32_t>(value)));
}

/// The scaling fields of transformers 4 ("rope_scaling") or 5 ("rope_parameters"); nothing when there are
/// none.
inline std::optional<JsonObject> rope_fields(const JsonObject& config) {
  for (const char* field : {"rope_parameters", "rope_scaling"})
    if (config.has(field)) return config.object(field);
  return std::nullopt;
}

inline double rope_theta(const JsonObject& config) {
  const auto fields = rope_fields(config);
  const double outer = config.get("rope_theta", 10000.0);
  return fields ? fields->get("rope_theta", outer) : outer;
}

inline std::string rope_type(const JsonObject& fields) {
  return fields.get(fields.has("rope_type") ? "rope_type" : "type", "default");
}

inline std::int64_t config_head_dim(const JsonObject& config) {
  const auto heads = config.get<std::int64_t>("num_attention_heads");
  if (heads < 1) config.refuse("num_attention_heads", "expected at least 1");
  return config.get("head_dim", config.get<std::int64_t>("hidden_size") / heads);
}

inline void llama_to_gguf(const JsonObject& config, const std::string& model_type, GgufMetadata& metadata) {
  const std::string prefix = (model_type == "mistral" ? "llama" : model_type) + ".";
  for (const ConfigField& pair : llama_integers) {
    const bool kv = std::string_view(pair.key) == "attention.head_count_kv";
    const auto value = kv ? config.get(pair.field, config.get<std::int64_t>("num_attention_heads"))
                          : config.get<std::int64_t>(pair.field);
    set_count(metadata, prefix + pair.key, config, pair.field, value);
  }
  const std::int64_t head_dim = config_head_dim(config);
  set_count(metadata, prefix + "vocab_size", config, "vocab_size", config.get<std::int64_t>("vocab_size"));
  set_count(metadata, prefix + "rope.dimension_count", config, "head_dim", head_dim);
  set_count(metadata, prefix + "attention.key_length", config, "head_dim", head_dim);
  set_count(metadata, prefix + "attention.value_length", config, "head_dim", head_dim);
  metadata.set(prefix + "attention.layer_norm_rms_epsilon",
               GgufValue::of_f32(static_cast<float>(config.get("rms_norm_eps", 1e-6))));
  metadata.set(prefix + "rope.freq_base", GgufValue::of_f32(static_cast<float>(rope_theta(config))));
  if (config.get("hidden_act", "silu") != "silu") config.refuse("hidden_act", "GGUF holds silu models only");
  const bool slides = model_type == "mistral" || config.get("use_sliding_window", false);
  if (slides && config.has("sliding_window"))
    set_count(metadata, prefix + "attention.sliding_window", config, "sliding_window",
              config.get<std::int64_t>("sliding_window"));
  const auto fields = rope_fields(config);
  const std::string type = fields ? rope_type(*fields) : "default";
  if (type == "linear") {
    metadata.set(prefix + "rope.scaling.type", GgufValue::of_string("linear"));
    metadata.set(prefix + "rope.scaling.factor", GgufValue::of_f32(fields->get<float>("factor")));
  } else if (type != "default" && type != "llama3") {
    fields->refuse("rope_type", "GGUF holds default, linear and llama3 here, found " + type);
  }
}

inline void gpt2_to_gguf(const JsonObject& config, GgufMetadata& metadata) {
  const auto width = config.get<std::int64_t>("n_embd");
  for (const ConfigField& pair : gpt2_integers)
    set_count(metadata, std::string("gpt2.") + pair.key, config, pair.field,
              std::string_view(pair.field) == "n_inner" ? config.get(pair.field, 4 * width)
                                                        : config.get<std::int64_t>(pair.field));
  metadata.set("gpt2.attention.layer_norm_epsilon",
               GgufValue::of_f32(static_cast<float>(config.get("layer_norm_epsilon", 1e-5))));
  if (config.get("activation_function", "gelu_new") != "gelu_new")
    config.refuse("activation_function", "GGUF holds gelu_new models only");
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE nlohmann::json gguf_to_config(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  const std::string architecture = metadata.string("general.architecture").value_or("");
  if (!detail::is_known_gguf_architecture(architecture))
    metadata.refuse("general.architecture",
                    "expected llama, qwen2, qwen3 or gpt2, found '" + architecture + "'");
  nlohmann::json config =
      architecture == "gpt2" ? detail::gpt2_from_gguf(file) : detail::llama_from_gguf(file, architecture);
  config["architectures"] = {detail::architecture_class(config["model_type"])};
  config["torch_dtype"] = "float32";
  config["tie_word_embeddings"] = file.find("output.weight") == nullptr;
  if (const GgufTensor* words = file.find("token_embd.weight"); words != nullptr && words->shape.rank() == 2)
    config["vocab_size"] = words->shape[0];
  else
    config["vocab_size"] = detail::required_integer(metadata, architecture + ".vocab_size");
  const std::string ids = "tokenizer.ggml.";
  for (const auto& [key, field] :
       {std::pair{"bos_token_id", "bos_token_id"}, {"padding_token_id", "pad_token_id"}})
    if (const auto id = metadata.integer(ids + key)) config[field] = *id;
  const auto end = metadata.integer(ids + "eos_token_id"), turn_end = metadata.integer(ids + "eot_token_id");
  if (end && turn_end && *end != *turn_end)
    config["eos_token_id"] = {*end, *turn_end};
  else if (end || turn_end)
    config["eos_token_id"] = end ? *end : *turn_end;
  return config;
}

ATTUNE_INLINE GgufMetadata config_to_gguf(const JsonObject& config) {
  const auto model_type = config.get<std::string>("model_type");
  const std::string architecture = model_type == "mistral" ? "llama" : model_type;
  if (!detail::is_known_gguf_architecture(architecture))
    config.refuse("model_type", "expected llama, mistral, qwen2, qwen3 or gpt2, found '" + model_type + "'");
  GgufMetadata metadata(config.where());
  metadata.set("general.architecture", GgufValue::of_string(architecture));
  metadata.set("general.type", GgufValue::of_string("model"));
  if (architecture == "gpt2")
    detail::gpt2_to_gguf(config, metadata);
  else
    detail::llama_to_gguf(config, model_type, metadata);
  return metadata;
}

ATTUNE_INLINE std::vector<float> rope_factors_of(const JsonObject& config) {
  const auto fields = detail::rope_fields(config);
  if (!fields || detail::rope_type(*fields) != "llama3") return {};
  const std::int64_t head_dim = detail::config_head_dim(config);
  if (head_dim < 2 || head_dim > 65536) config.refuse("head_dim", "expected 2 to 65536");
  std::vector<float> factors;
  for (std::int64_t i = 0; i < head_dim / 2; ++i)
    factors.push_back(
        detail::llama3_factor(i, head_dim, detail::rope_theta(config), fields->get<double>("factor"),
                              fields->get<double>("low_freq_factor"), fields->get<double>("high_freq_factor"),
                              fields->get<double>("original_max_position_embeddings")));
  return factors;
}

ATTUNE_INLINE JsonObject read_model_config(const std::string& path) {
  if (is_gguf_path(path)) return JsonObject(gguf_to_config(GgufFile::open(path)), path);
  return JsonObject::read(path + (path.empty() || path.ends_with('/') ? "" : "/") + "config.json");
}

}  // namespace attune
