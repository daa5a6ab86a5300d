#pragma once

#include <algorithm>
#include <utility>

#include <attune/formats/gguf_config.hpp>
#include <attune/models/config.inl.hpp>
#include <attune/models/decoder_config.hpp>

namespace attune::detail {

/// One id or several, or none.
inline std::vector<std::int64_t> token_ids(const JsonObject& config, const char* field,
                                           std::int64_t fallback) {
  if (!config.has(field)) {
    if (config.json().contains(field) || fallback < 0) return {};
    return {fallback};
  }
  if (config.json()[field].is_array()) return config.get<std::vector<std::int64_t>>(field);
  return {config.get<std::int64_t>(field)};
}

/// -1 where there is none. A negative id counts from the end, as padding_idx of torch.nn.Embedding does.
inline std::int64_t decoder_pad_token(const JsonObject& config, std::int64_t vocab_size) {
  if (!config.has("pad_token_id")) return -1;
  const auto id = config.get<std::int64_t>("pad_token_id");
  if (id < -vocab_size || id >= vocab_size)
    config.refuse("pad_token_id", "expected null or an id below vocab_size " + std::to_string(vocab_size) +
                                      ", found " + std::to_string(id));
  return id < 0 ? id + vocab_size : id;
}

inline void refuse_decoder_fields(const JsonObject& config) {
  if (config.get("add_cross_attention", false)) config.refuse("add_cross_attention", "true is not supported");
  if (config.has("quantization_config"))
    config.refuse("quantization_config", "quantised weights are not supported; give the model unquantised");
  if (config.has("pruned_heads") && !config.json()["pruned_heads"].empty())
    config.refuse("pruned_heads", "pruned heads are not supported");
}

inline RopeConfig read_rope(const JsonObject& config, std::int64_t max_positions) {
  RopeConfig rope;
  rope.max_position_embeddings = rope.original_max_position_embeddings = max_positions;
  rope.theta = positive_number(config, "rope_theta", rope.theta, 1e12);
  const char* const field = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const auto check_whole = [](const JsonObject& where) {
    if (where.get("partial_rotary_factor", 1.0) != 1.0)
      where.refuse("partial_rotary_factor",
                   "only 1 is supported, found " + std::to_string(where.get("partial_rotary_factor", 1.0)));
  };
  check_whole(config);
  if (!config.has(field)) return rope;
  const JsonObject scaling = config.object(field);
  check_whole(scaling);
  rope.theta = positive_number(scaling, "rope_theta", rope.theta, 1e12);
  const char* const type_field = scaling.has("rope_type") ? "rope_type" : "type";
  const std::string type = scaling.get(type_field, "default");
  if (type == "default") return rope;
  if (type == "linear") {
    rope.type = RopeType::linear;
  } else if (type == "dynamic") {
    rope.type = RopeType::dynamic;
  } else if (type == "llama3") {
    rope.type = RopeType::llama3;
  } else {
    scaling.refuse(type_field, "expected default, linear, dynamic or llama3, found " + type);
  }
  rope.factor = scaling.get<double>("factor");
  if (!(rope.factor >= 1.0 && rope.factor < 1e6))
    scaling.refuse("factor", "expected at least 1, found " + std::to_string(rope.factor));
  if (rope.type != RopeType::llama3) return rope;
  rope.low_freq_factor = scaling.get<double>("low_freq_factor");
  rope.high_freq_factor = scaling.get<double>("high_freq_factor");
  if (!(rope.low_freq_factor > 0.0 && rope.low_freq_factor < rope.high_freq_factor))
    scaling.refuse("high_freq_factor", "expected more than low_freq_factor " +
                                           std::to_string(rope.low_freq_factor) + ", found " +
                                           std::to_string(rope.high_freq_factor));
  rope.original_max_position_embeddings =
      positive(scaling, "original_max_position_embeddings", max_positions);
  return rope;
}

/// The windows of Qwen2 and Qwen3: named layer by layer, or from max_window_layers on.
inline std::vector<std::int64_t> read_layer_windows(const JsonObject& config, std::int64_t layers) {
  const bool slides = config.get("use_sliding_window", false) && config.has("sliding_window");
  const std::int64_t window = slides ? positive(config, "sliding_window", 4096) : 0;
  std::vector<std::int64_t> windows(static_cast<std::size_t>(layers), 0);
  if (const auto types = config.find<std::vector<std::string>>("layer_types")) {
    if (types->size() != windows.size())
      config.refuse("layer_types",
                    "expected " + std::to_string(layers) + " names, found " + std::to_string(types->size()));
    for (std::size_t i = 0; i < windows.size(); ++i) {
      if ((*types)[i] == "sliding_attention") {
        windows[i] = window;
      } else if ((*types)[i] != "full_attention") {
        config.refuse("layer_types", "expected full_attention or sliding_attention, found " + (*types)[i]);
      }
    }
  } else if (slides) {
    const auto first = config.get<std::int64_t>("max_window_layers", 28);
    for (std::int64_t i = std::max<std::int64_t>(first, 0); i < layers; ++i)
      windows[static_cast<std::size_t>(i)] = window;
  }
  return windows;
}

/// What Llama and its relatives share. The defaults of `c` are those of the model type.
inline JsonObject read_llama(const std::string& directory, const char* model_type,
                             const PretrainedOptions& options, std::int64_t default_kv_heads,
                             std::int64_t default_head_dim, std::int64_t default_eos, LlamaConfig& c) {
  const JsonObject config = read_model_config(directory);
  check_model_type(config, model_type);
  refuse_decoder_fields(config);
  c.vocab_size = positive(config, "vocab_size", c.vocab_size);
  c.hidden_size = positive(config, "hidden_size", c.hidden_size);
  c.intermediate_size = positive(config, "intermediate_size", c.intermediate_size);
  c.num_hidden_layers = positive(config, "num_hidden_layers", c.num_hidden_layers, most_layers);
  c.num_attention_heads = positive(config, "num_attention_heads", c.num_attention_heads);
  c.num_key_value_heads = positive(config, "num_key_value_heads",
                                   default_kv_heads > 0 && !config.json().contains("num_key_value_heads")
                                       ? default_kv_heads
                                       : c.num_attention_heads);
  if (c.num_attention_heads % c.num_key_value_heads != 0)
    config.refuse("num_key_value_heads", "must divide num_attention_heads " +
                                             std::to_string(c.num_attention_heads) + ", found " +
                                             std::to_string(c.num_key_value_heads));
  if (!config.has("head_dim") && default_head_dim == 0 && c.hidden_size % c.num_attention_heads != 0)
    config.refuse("num_attention_heads", "must divide hidden_size " + std::to_string(c.hidden_size) +
                                             ", found " + std::to_string(c.num_attention_heads));
  c.head_dim =
      positive(config, "head_dim",
               default_head_dim > 0 ? default_head_dim
                                    : std::max<std::int64_t>(1, c.hidden_size / c.num_attention_heads));
  if (c.head_dim % 2 != 0 || c.head_dim < 4)
    config.refuse("head_dim", "expected an even number of at least 4, found " + std::to_string(c.head_dim));
  const std::string act = config.get("hidden_act", "silu");
  if (act != "silu" && act != "swish") config.refuse("hidden_act", "expected silu, found " + act);
  c.max_position_embeddings = positive(config, "max_position_embeddings", c.max_position_embeddings);
  c.initializer_range = positive_number(config, "initializer_range", c.initializer_range);
  c.rms_norm_eps = positive_number(config, "rms_norm_eps", c.rms_norm_eps);
  c.attention_dropout = probability(config, "attention_dropout", c.attention_dropout);
  c.pad_token_id = decoder_pad_token(config, c.vocab_size);
  c.eos_token_ids = token_ids(config, "eos_token_id", default_eos);
  c.tie_word_embeddings = config.get("tie_word_embeddings", false);
  c.rope = read_rope(config, c.max_position_embeddings);
  c.labels = read_labels(config, options);
  if (options.attention_dropout) c.attention_dropout = *options.attention_dropout;
  c.source = std::make_shared<const JsonObject>(config);
  return config;
}

inline nlohmann::json rope_json(const RopeConfig& rope) {
  nlohmann::json fields = {{"rope_theta", rope.theta}, {"rope_type", "default"}};
  if (rope.type == RopeType::standard) return fields;
  fields["factor"] = rope.factor;
  fields["rope_type"] = rope.type == RopeType::linear    ? "linear"
                        : rope.type == RopeType::dynamic ? "dynamic"
                                                         : "llama3";
  if (rope.type != RopeType::llama3) return fields;
  fields["low_freq_factor"] = rope.low_freq_factor;
  fields["high_freq_factor"] = rope.high_freq_factor;
  fields["original_max_position_embeddings"] = rope.original_max_position_embeddings;
  return fields;
}

inline nlohmann::json ids_json(const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return {};
  return ids.size() == 1 ? nlohmann::json(ids[0]) : nlohmann::json(ids);
}

/// The fields of all relatives. Rotary fields of a file that was read stay in its own layout.
inline nlohmann::json llama_json(const LlamaConfig& c) {
  nlohmann::json ours = {{"vocab_size", c.vocab_size},
                         {"hidden_size", c.hidden_size},
                         {"intermediate_size", c.intermediate_size},
                         {"num_hidden_layers", c.num_hidden_layers},
                         {"num_attention_heads", c.num_attention_heads},
                         {"num_key_value_heads", c.num_key_value_heads},
                         {"head_dim", c.head_dim},
                         {"hidden_act", "silu"},
                         {"max_position_embeddings", c.max_position_embeddings},
                         {"initializer_range", c.initializer_range},
                         {"rms_norm_eps", c.rms_norm_eps},
                         {"attention_dropout", c.attention_dropout},
                         {"tie_word_embeddings", c.tie_word_embeddings}};
  if (c.source) return ours;
  ours["rope_parameters"] = rope_json(c.rope);
  ours["rope_theta"] = c.rope.theta;
  ours["pad_token_id"] = c.pad_token_id >= 0 ? nlohmann::json(c.pad_token_id) : nlohmann::json();
  ours["eos_token_id"] = ids_json(c.eos_token_ids);
  return ours;
}

/// The windows of a configuration that was made in the program: one for all layers of a run at the end.
inline void add_layer_windows(const LlamaConfig& c, nlohmann::json& ours) {
  if (c.source) return;
  const auto first = std::find_if(c.windows.begin(), c.windows.end(), [](std::int64_t w) { return w > 0; });
  ours["use_sliding_window"] = first != c.windows.end();
  ours["sliding_window"] = first != c.windows.end() ? nlohmann::json(*first) : nlohmann::json();
  nlohmann::json types = nlohmann::json::array();
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i)
    types.push_back(static_cast<std::size_t>(i) < c.windows.size() &&
                            c.windows[static_cast<std::size_t>(i)] > 0
                        ? "sliding_attention"
                        : "full_attention");
  ours["layer_types"] = types;
}

inline void save_llama(const LlamaConfig& c, const std::string& directory, const std::string& architecture,
                       const char* model_type, nlohmann::json ours) {
  write_config(directory, architecture, model_type, c.source.get(), c.labels, std::move(ours));
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE LlamaConfig LlamaConfig::from_pretrained(const std::string& directory,
                                                       const PretrainedOptions& options) {
  LlamaConfig c;
  const JsonObject config = detail::read_llama(directory, model_type, options, 0, 0, 2, c);
  c.qkv_bias = c.output_bias = config.get("attention_bias", false);
  c.mlp_bias = config.get("mlp_bias", false);
  return c;
}

ATTUNE_INLINE void LlamaConfig::save(const std::string& directory, const std::string& architecture) const {
  nlohmann::json ours = detail::llama_json(*this);
  ours["attention_bias"] = qkv_bias;
  ours["mlp_bias"] = mlp_bias;
  detail::save_llama(*this, directory, architecture, model_type, std::move(ours));
}

ATTUNE_INLINE MistralConfig MistralConfig::from_pretrained(const std::string& directory,
                                                           const PretrainedOptions& options) {
  MistralConfig c;
  c.intermediate_size = 14336;
  c.max_position_embeddings = 4096 * 32;
  const JsonObject config = detail::read_llama(directory, model_type, options, 8, 0, 2, c);
  const bool none = config.json().contains("sliding_window") && !config.has("sliding_window");
  c.windows.assign(static_cast<std::size_t>(c.num_hidden_layers),
                   none ? 0 : detail::positive(config, "sliding_window", 4096));
  return c;
}

ATTUNE_INLINE void MistralConfig::save(const std::string& directory, const std::string& architecture) const {
  nlohmann::json ours = detail::llama_json(*this);
  if (!source)
    ours["sliding_window"] =
        windows.empty() || windows[0] == 0 ? nlohmann::json() : nlohmann::json(windows[0]);
  detail::save_llama(*this, directory, architecture, model_type, std::move(ours));
}

ATTUNE_INLINE Qwen2Config Qwen2Config::from_pretrained(const std::string& directory,
                                                       const PretrainedOptions& options) {
  Qwen2Config c;
  c.vocab_size = 151936;
  c.intermediate_size = 22016;
  c.max_position_embeddings = 32768;
  const JsonObject config = detail::read_llama(directory, model_type, options, 32, 0, -1, c);
  c.qkv_bias = true;
  c.windows = detail::read_layer_windows(config, c.num_hidden_layers);
  return c;
}

ATTUNE_INLINE void Qwen2Config::save(const std::string& directory, const std::string& architecture) const {
  nlohmann::json ours = detail::llama_json(*this);
  detail::add_layer_windows(*this, ours);
  detail::save_llama(*this, directory, architecture, model_type, std::move(ours));
}

ATTUNE_INLINE Qwen3Config Qwen3Config::from_pretrained(const std::string& directory,
                                                       const PretrainedOptions& options) {
  Qwen3Config c;
  c.vocab_size = 151936;
  c.intermediate_size = 22016;
  c.max_position_embeddings = 32768;
  const JsonObject config = detail::read_llama(directory, model_type, options, 32, 128, -1, c);
  c.qkv_bias = c.output_bias = config.get("attention_bias", false);
  c.qk_norm = true;
  c.windows = detail::read_layer_windows(config, c.num_hidden_layers);
  return c;
}

ATTUNE_INLINE void Qwen3Config::save(const std::string& directory, const std::string& architecture) const {
  nlohmann::json ours = detail::llama_json(*this);
  ours["attention_bias"] = qkv_bias;
  detail::add_layer_windows(*this, ours);
  detail::save_llama(*this, directory, architecture, model_type, std::move(ours));
}

ATTUNE_INLINE Gpt2Config Gpt2Config::from_pretrained(const std::string& directory,
                                                     const PretrainedOptions& options) {
  const JsonObject config = read_model_config(directory);
  detail::check_model_type(config, model_type);
  detail::refuse_decoder_fields(config);
  Gpt2Config c;
  c.vocab_size = detail::positive(config, "vocab_size", c.vocab_size);
  c.n_positions = detail::positive(config, "n_positions", c.n_positions);
  c.n_embd = detail::positive(config, "n_embd", c.n_embd);
  c.n_layer = detail::positive(config, "n_layer", c.n_layer, detail::most_layers);
  c.n_head = detail::positive(config, "n_head", c.n_head);
  c.n_inner = detail::positive(config, "n_inner", 4 * c.n_embd);
  c.activation_function = config.get("activation_function", c.activation_function);
  c.resid_pdrop = detail::probability(config, "resid_pdrop", c.resid_pdrop);
  c.embd_pdrop = detail::probability(config, "embd_pdrop", c.embd_pdrop);
  c.attn_pdrop = detail::probability(config, "attn_pdrop", c.attn_pdrop);
  c.layer_norm_epsilon = detail::positive_number(config, "layer_norm_epsilon", c.layer_norm_epsilon);
  c.initializer_range = detail::positive_number(config, "initializer_range", c.initializer_range);
  c.scale_attn_weights = config.get("scale_attn_weights", true);
  c.scale_attn_by_inverse_layer_idx = config.get("scale_attn_by_inverse_layer_idx", false);
  c.pad_token_id = detail::decoder_pad_token(config, c.vocab_size);
  c.eos_token_ids = detail::token_ids(config, "eos_token_id", 50256);
  c.tie_word_embeddings = config.get("tie_word_embeddings", true);
  c.labels = detail::read_labels(config, options);
  if (options.hidden_dropout) c.resid_pdrop = c.embd_pdrop = *options.hidden_dropout;
  if (options.attention_dropout) c.attn_pdrop = *options.attention_dropout;
  if (c.n_embd % c.n_head != 0)
    config.refuse("n_head",
                  "must divide n_embd " + std::to_string(c.n_embd) + ", found " + std::to_string(c.n_head));
  c.source = std::make_shared<const JsonObject>(config);
  return c;
}

ATTUNE_INLINE void Gpt2Config::save(const std::string& directory, const std::string& architecture) const {
  nlohmann::json ours = {{"vocab_size", vocab_size},
                         {"n_positions", n_positions},
                         {"n_embd", n_embd},
                         {"n_layer", n_layer},
                         {"n_head", n_head},
                         {"n_inner", n_inner},
                         {"activation_function", activation_function},
                         {"resid_pdrop", resid_pdrop},
                         {"embd_pdrop", embd_pdrop},
                         {"attn_pdrop", attn_pdrop},
                         {"layer_norm_epsilon", layer_norm_epsilon},
                         {"initializer_range", initializer_range},
                         {"scale_attn_weights", scale_attn_weights},
                         {"scale_attn_by_inverse_layer_idx", scale_attn_by_inverse_layer_idx},
                         {"tie_word_embeddings", tie_word_embeddings}};
  if (!source) {
    ours["pad_token_id"] = pad_token_id >= 0 ? nlohmann::json(pad_token_id) : nlohmann::json();
    ours["eos_token_id"] = detail::ids_json(eos_token_ids);
  }
  detail::write_config(directory, architecture, model_type, source.get(), labels, std::move(ours));
}

ATTUNE_INLINE std::string read_decoder_type(const std::string& path) {
  return read_model_config(path).get<std::string>("model_type");
}

}  // namespace attune
