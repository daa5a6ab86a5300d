#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <attune/models/decoder_config.hpp>
#include <attune/models/decoder_heads.hpp>
#include <attune/nn/embedding.hpp>
#include <attune/nn/pre_norm_layer.hpp>

// Llama (Touvron et al. 2023, arXiv:2302.13971) in the names of transformers/models/llama/modeling_llama.py,
// and its relatives, which differ in their configs alone.

namespace attune {

/// Embeddings, layers and the last norm, as the part "model" of a model with a head.
template <class T, class B>
struct LlamaDecoder {
  Embedding<T, B> embed_tokens;
  std::vector<PreNormLayer<T, B>> layers;
  RmsNorm<T, B> norm;

  LlamaDecoder(const B& device, const LlamaConfig& c)
      : embed_tokens(device, c.vocab_size, c.hidden_size, c.padding_row()),
        norm(device, c.hidden_size, static_cast<float>(c.rms_norm_eps)) {
    PreNormLayerOptions options;
    options.hidden_size = c.hidden_size;
    options.intermediate_size = c.intermediate_size;
    options.num_heads = c.num_attention_heads;
    options.num_kv_heads = c.num_key_value_heads;
    options.head_dim = c.head_dim;
    options.rms_norm_eps = static_cast<float>(c.rms_norm_eps);
    options.qkv_bias = c.qkv_bias;
    options.output_bias = c.output_bias;
    options.mlp_bias = c.mlp_bias;
    options.qk_norm = c.qk_norm;
    options.attention_dropout = make_dropout(c.attention_dropout, "attention_dropout");
    for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
      const auto at = static_cast<std::size_t>(i);
      options.window = at < c.windows.size() ? c.windows[at] : 0;
      layers.emplace_back(device, options);
    }
  }

  const Parameter<T, B>& words() const { return embed_tokens.weight; }
  /// The normalised states of the rows that are read, [rows, C].
  Tensor<T, B> states(const DecoderInput<T, B>& input, bool checkpointed) const {
    return norm(run_decoder_layers(layers, embed_tokens(input.ids), input.pass, checkpointed));
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("embed_tokens", self.embed_tokens);
    part("layers", self.layers);
    part("norm", self.norm);
  }
};

/// What Llama and its relatives call their parts; see decoder_heads.hpp.
template <class OwnConfig>
struct LlamaLikeFamily {
  using Config = OwnConfig;
  template <class T, class B>
  using Decoder = LlamaDecoder<T, B>;
  static constexpr const char* causal_lm = "ForCausalLM";
  static constexpr const char* decoder_name = "model";
  static constexpr const char* layers = "layers.";
  static constexpr std::array<const char*, 1> embeddings{"embed_tokens.*"};
  static std::vector<std::string> ignored_keys() { return {"*rotary_emb.inv_freq", "lm_head.weight"}; }
  static std::int64_t max_positions(const Config&) { return 0; }
  static std::int64_t kv_features(const Config& c) { return c.num_key_value_heads * c.head_dim; }
};

struct LlamaFamily : LlamaLikeFamily<LlamaConfig> {
  static constexpr const char* class_name = "Llama";
};
/// Jiang et al. 2023, arXiv:2310.06825; transformers/models/mistral/modeling_mistral.py
struct MistralFamily : LlamaLikeFamily<MistralConfig> {
  static constexpr const char* class_name = "Mistral";
};
/// Yang et al. 2024, arXiv:2407.10671; transformers/models/qwen2/modeling_qwen2.py
struct Qwen2Family : LlamaLikeFamily<Qwen2Config> {
  static constexpr const char* class_name = "Qwen2";
};
/// Yang et al. 2025, arXiv:2505.09388; transformers/models/qwen3/modeling_qwen3.py
struct Qwen3Family : LlamaLikeFamily<Qwen3Config> {
  static constexpr const char* class_name = "Qwen3";
};

template <class T, class B>
using LlamaModel = DecoderModel<LlamaFamily, T, B>;
template <class T, class B>
using LlamaForCausalLM = DecoderForCausalLM<LlamaFamily, T, B>;
template <class T, class B>
using LlamaForSequenceClassification = DecoderForSequenceClassification<LlamaFamily, T, B>;

template <class T, class B>
using MistralModel = DecoderModel<MistralFamily, T, B>;
template <class T, class B>
using MistralForCausalLM = DecoderForCausalLM<MistralFamily, T, B>;
template <class T, class B>
using MistralForSequenceClassification = DecoderForSequenceClassification<MistralFamily, T, B>;

template <class T, class B>
using Qwen2Model = DecoderModel<Qwen2Family, T, B>;
template <class T, class B>
using Qwen2ForCausalLM = DecoderForCausalLM<Qwen2Family, T, B>;
template <class T, class B>
using Qwen2ForSequenceClassification = DecoderForSequenceClassification<Qwen2Family, T, B>;

template <class T, class B>
using Qwen3Model = DecoderModel<Qwen3Family, T, B>;
template <class T, class B>
using Qwen3ForCausalLM = DecoderForCausalLM<Qwen3Family, T, B>;
template <class T, class B>
using Qwen3ForSequenceClassification = DecoderForSequenceClassification<Qwen3Family, T, B>;

}  // namespace attune
