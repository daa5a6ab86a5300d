#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <attune/models/decoder_config.hpp>
#include <attune/models/decoder_heads.hpp>
#include <attune/nn/activation.hpp>
#include <attune/nn/embedding.hpp>
#include <attune/nn/layer_norm.hpp>
#include <attune/ops/binary.hpp>
#include <attune/ops/feed_forward.hpp>
#include <attune/ops/view.hpp>

// GPT-2 (Radford et al. 2019) in the names of transformers/models/gpt2/modeling_gpt2.py. Its "Conv1D" is a
// linear layer whose weight the checkpoint holds transposed, [in, out].

namespace attune {

namespace detail {
template <class T, class B>
Linear<T, B> conv1d(const B& device, std::int64_t in, std::int64_t out) {
  Linear<T, B> layer(device, in, out);
  layer.weight.state()->stored_transposed = true;
  return layer;
}
}  // namespace detail

/// x = x + attention(ln_1(x)); y = x + mlp(ln_2(x)).
template <class T, class B>
struct Gpt2Block {
  std::int64_t num_heads = 0;
  float scale = 1.0f;
  Unary activation = Unary::gelu_tanh;
  LayerNorm<T, B> ln_1, ln_2;
  Linear<T, B> c_attn, attn_c_proj, c_fc, mlp_c_proj;
  Dropout attn_dropout, resid_dropout, mlp_dropout;

  Gpt2Block() = default;
  Gpt2Block(const B& device, const Gpt2Config& c, std::int64_t index)
      : num_heads(c.n_head),
        activation(activation_from_name(c.activation_function, "activation_function")),
        ln_1(device, c.n_embd, static_cast<float>(c.layer_norm_epsilon)),
        ln_2(device, c.n_embd, static_cast<float>(c.layer_norm_epsilon)),
        c_attn(detail::conv1d<T>(device, c.n_embd, 3 * c.n_embd)),
        attn_c_proj(detail::conv1d<T>(device, c.n_embd, c.n_embd)),
        c_fc(detail::conv1d<T>(device, c.n_embd, c.n_inner)),
        mlp_c_proj(detail::conv1d<T>(device, c.n_inner, c.n_embd)),
        attn_dropout(make_dropout(c.attn_pdrop, "attn_pdrop")),
        resid_dropout(make_dropout(c.resid_pdrop, "resid_pdrop")),
        mlp_dropout(make_dropout(c.resid_pdrop, "resid_pdrop")) {
    double factor = c.scale_attn_weights ? 1.0 / std::sqrt(static_cast<double>(c.n_embd / c.n_head)) : 1.0;
    if (c.scale_attn_by_inverse_layer_idx) factor /= static_cast<double>(index + 1);
    scale = static_cast<float>(factor);
  }

  /// x [N, C] to [N, C], or to the picked rows.
  Tensor<T, B> operator()(const Tensor<T, B>& x, const DecoderPass<T, B>& pass, LayerPlace place) const {
    Tensor<T, B> attended, residual = x;
    {
      const AdapterRows<B> rows(pass.random, pass.keys);
      attended = attend(ln_1(x), pass, place.index);
    }
    if (place.picks) {
      attended = gather_rows(attended, pass.picked);
      residual = gather_rows(x, pass.picked);
    }
    const RowKeys<B>& keys = place.picks ? pass.picked_keys : pass.keys;
    const AdapterRows<B> rows(pass.random, keys);
    const auto [h, normalised] =
        ln_2.with_sum(attn_c_proj(attended), resid_dropout.mask(pass.random, keys), residual);
    return h + attune::dropout(mlp(normalised), mlp_dropout.mask(pass.random, keys));
  }

  /// Bytes that a training step keeps of this layer for backward, of `rows` tokens.
  std::int64_t saved_bytes(std::int64_t rows) const {
    const std::int64_t features = c_fc.weight.shape()[1], inner = c_fc.weight.shape()[0];
    const std::int64_t kept = one_mlp() ? inner : 2 * inner;
    return rows * ((8 * features + kept) * static_cast<std::int64_t>(sizeof(T)) + (num_heads + 4) * 4);
  }
  /// The most that backward holds at once on top of what is saved.
  std::int64_t backward_bytes(std::int64_t rows) const {
    const std::int64_t features = c_fc.weight.shape()[1], inner = c_fc.weight.shape()[0];
    return rows * static_cast<std::int64_t>(sizeof(T)) * (2 * inner + 2 * features);
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("ln_1", self.ln_1);
    part("attn.c_attn", self.c_attn);
    part("attn.attn_dropout", self.attn_dropout);
    part("attn.c_proj", self.attn_c_proj);
    part("attn.resid_dropout", self.resid_dropout);
    part("ln_2", self.ln_2);
    part("mlp.c_fc", self.c_fc);
    part("mlp.c_proj", self.mlp_c_proj);
    part("mlp.dropout", self.mlp_dropout);
  }

 private:
  /// Whether the two layers of the feed-forward part are one operation, which keeps one of its two large
  /// arrays.
  bool one_mlp() const { return !c_fc.has_adapters() && !mlp_c_proj.has_adapters(); }
  Tensor<T, B> mlp(const Tensor<T, B>& x) const {
    if (!one_mlp()) return mlp_c_proj(c_fc(x, activation));
    return feed_forward(x, c_fc.weight, c_fc.bias, activation, mlp_c_proj.weight, mlp_c_proj.bias);
  }
  Tensor<T, B> attend(const Tensor<T, B>& x, const DecoderPass<T, B>& pass, std::size_t layer) const {
    const std::int64_t features = x.shape().back();
    AttentionSettings<B> settings;
    settings.heads = settings.kv_heads = num_heads;
    settings.head_size = features / num_heads;
    settings.scale = scale;
    settings.mask = attn_dropout.mask(pass.random, pass.keys);
    const Tensor<T, B> qkv = c_attn(x);
    if (pass.cache)
      return pass.cache->attend(layer, slice(qkv, 1, 0, features), slice(qkv, 1, features, 2 * features),
                                slice(qkv, 1, 2 * features, 3 * features), settings);
    settings.query_segments = settings.key_segments = pass.segments;
    settings.causal = true;
    return attention(qkv, settings);
  }
};

/// Embeddings, layers and the last norm, as the part "transformer" of a model with a head.
template <class T, class B>
struct Gpt2Decoder {
  Embedding<T, B> wte, wpe;
  Dropout drop;
  std::vector<Gpt2Block<T, B>> layers;
  LayerNorm<T, B> ln_f;

  Gpt2Decoder(const B& device, const Gpt2Config& c)
      : wte(device, c.vocab_size, c.n_embd),
        wpe(device, c.n_positions, c.n_embd),
        drop(make_dropout(c.embd_pdrop, "embd_pdrop")),
        ln_f(device, c.n_embd, static_cast<float>(c.layer_norm_epsilon)) {
    for (std::int64_t i = 0; i < c.n_layer; ++i) layers.emplace_back(device, c, i);
  }

  const Parameter<T, B>& words() const { return wte.weight; }
  /// The normalised states of the rows that are read, [rows, C].
  Tensor<T, B> states(const DecoderInput<T, B>& input, bool checkpointed) const {
    const Tensor<T, B> x = attune::dropout(
        embedding_sum(input.ids, wte.weight, input.positions, wpe.weight, RowIndex<B>(), Parameter<T, B>()),
        drop.mask(input.pass.random, input.pass.keys));
    return ln_f(run_decoder_layers(layers, x, input.pass, checkpointed));
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("wte", self.wte);
    part("wpe", self.wpe);
    part("drop", self.drop);
    part("h", self.layers);
    part("ln_f", self.ln_f);
  }
};

/// What GPT-2 calls its parts; see decoder_heads.hpp.
struct Gpt2Family {
  using Config = Gpt2Config;
  template <class T, class B>
  using Decoder = Gpt2Decoder<T, B>;
  static constexpr const char* class_name = "GPT2";
  static constexpr const char* causal_lm = "LMHeadModel";
  static constexpr const char* decoder_name = "transformer";
  static constexpr const char* layers = "h.";
  static constexpr std::array<const char*, 2> embeddings{"wte.*", "wpe.*"};
  static std::vector<std::string> ignored_keys() {
    return {"*.attn.bias", "*.attn.masked_bias", "lm_head.weight"};
  }
  static std::int64_t max_positions(const Config& c) { return c.n_positions; }
  static std::int64_t kv_features(const Config& c) { return c.n_embd; }
};

template <class T, class B>
using Gpt2Model = DecoderModel<Gpt2Family, T, B>;
template <class T, class B>
using Gpt2ForCausalLM = DecoderForCausalLM<Gpt2Family, T, B>;  ///< "GPT2LMHeadModel"
template <class T, class B>
using Gpt2ForSequenceClassification = DecoderForSequenceClassification<Gpt2Family, T, B>;

}  // namespace attune
