#pragma once

#include <cmath>
#include <cstdint>

#include <attune/nn/decoder_pass.hpp>
#include <attune/nn/linear.hpp>
#include <attune/nn/rms_norm.hpp>
#include <attune/ops/binary.hpp>
#include <attune/ops/rope.hpp>
#include <attune/ops/swiglu.hpp>
#include <attune/ops/view.hpp>

namespace attune {

struct PreNormLayerOptions {
  std::int64_t hidden_size = 0, intermediate_size = 0;
  std::int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  float rms_norm_eps = 1e-6f;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool qk_norm = false;     ///< an RMS norm over each head of q and k, before the rotation
  std::int64_t window = 0;  ///< keys that a query sees, itself included; 0: all before it
  Dropout attention_dropout{};
};

/// Grouped-query attention with rotary positions: queries of `num_heads` heads over keys and values of
/// `num_kv_heads` (Ainslie et al. 2023, arXiv:2305.13245).
template <class T, class B>
struct RotaryAttention {
  std::int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, window = 0;
  Linear<T, B> q_proj, k_proj, v_proj, o_proj;
  RmsNorm<T, B> q_norm, k_norm;  ///< their weights are empty when there are none
  Dropout dropout;

  RotaryAttention() = default;
  RotaryAttention(const B& device, const PreNormLayerOptions& o)
      : num_heads(o.num_heads),
        num_kv_heads(o.num_kv_heads),
        head_dim(o.head_dim),
        window(o.window),
        q_proj(device, o.hidden_size, o.num_heads * o.head_dim, o.qkv_bias),
        k_proj(device, o.hidden_size, o.num_kv_heads * o.head_dim, o.qkv_bias),
        v_proj(device, o.hidden_size, o.num_kv_heads * o.head_dim, o.qkv_bias),
        o_proj(device, o.num_heads * o.head_dim, o.hidden_size, o.output_bias),
        dropout(o.attention_dropout) {
    if (!o.qk_norm) return;
    q_norm = RmsNorm<T, B>(device, o.head_dim, o.rms_norm_eps);
    k_norm = RmsNorm<T, B>(device, o.head_dim, o.rms_norm_eps);
  }

  /// x [N, C] to [N, H D], before o_proj.
  Tensor<T, B> attend(const Tensor<T, B>& x, const DecoderPass<T, B>& pass, std::size_t layer) const {
    AttentionSettings<B> settings;
    settings.heads = num_heads;
    settings.kv_heads = num_kv_heads;
    settings.head_size = head_dim;
    settings.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
    settings.window = window;
    settings.mask = dropout.mask(pass.random, pass.keys);
    const Tensor<T, B> q = rotate(normalised(q_proj(x), q_norm, num_heads), pass, num_heads);
    const Tensor<T, B> k = rotate(normalised(k_proj(x), k_norm, num_kv_heads), pass, num_kv_heads);
    return pass.attend(layer, q, k, v_proj(x), settings);
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("q_proj", self.q_proj);
    part("k_proj", self.k_proj);
    part("v_proj", self.v_proj);
    part("o_proj", self.o_proj);
    part("q_norm", self.q_norm);
    part("k_norm", self.k_norm);
    part("dropout", self.dropout);
  }

 private:
  Tensor<T, B> normalised(const Tensor<T, B>& x, const RmsNorm<T, B>& norm, std::int64_t heads) const {
    if (!norm.weight) return x;
    const std::int64_t rows = x.shape()[0];
    return reshape(norm(reshape(x, {rows * heads, head_dim})), {rows, heads * head_dim});
  }
  static Tensor<T, B> rotate(const Tensor<T, B>& x, const DecoderPass<T, B>& pass, std::int64_t heads) {
    return rope(x, pass.segments.positions(), pass.frequencies, heads);
  }
};

/// down(silu(gate(x)) * up(x)). Shazeer 2020, arXiv:2002.05202.
template <class T, class B>
struct GatedMlp {
  Linear<T, B> gate_proj, up_proj, down_proj;

  GatedMlp() = default;
  GatedMlp(const B& device, std::int64_t hidden, std::int64_t inner, bool bias)
      : gate_proj(device, hidden, inner, bias),
        up_proj(device, hidden, inner, bias),
        down_proj(device, inner, hidden, bias) {}

  Tensor<T, B> operator()(const Tensor<T, B>& x) const { return down_proj(swiglu(gate_proj(x), up_proj(x))); }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("gate_proj", self.gate_proj);
    part("up_proj", self.up_proj);
    part("down_proj", self.down_proj);
  }
};

/// The layer of Llama and its relatives: h = x + attention(norm(x)); y = h + mlp(norm(h)).
template <class T, class B>
struct PreNormLayer {
  RmsNorm<T, B> input_layernorm, post_attention_layernorm;
  RotaryAttention<T, B> self_attn;
  GatedMlp<T, B> mlp;

  PreNormLayer() = default;
  PreNormLayer(const B& device, const PreNormLayerOptions& o)
      : input_layernorm(device, o.hidden_size, o.rms_norm_eps),
        post_attention_layernorm(device, o.hidden_size, o.rms_norm_eps),
        self_attn(device, o),
        mlp(device, o.hidden_size, o.intermediate_size, o.mlp_bias) {}

  /// x [N, C] to [N, C], or to the picked rows.
  Tensor<T, B> operator()(const Tensor<T, B>& x, const DecoderPass<T, B>& pass, LayerPlace place) const {
    Tensor<T, B> attended, residual = x;
    {
      const AdapterRows<B> rows(pass.random, pass.keys);
      attended = self_attn.attend(input_layernorm(x), pass, place.index);
    }
    if (place.picks) {
      attended = gather_rows(attended, pass.picked);
      residual = gather_rows(x, pass.picked);
    }
    const AdapterRows<B> rows(pass.random, place.picks ? pass.picked_keys : pass.keys);
    const auto [h, normalised] = post_attention_layernorm.with_sum(self_attn.o_proj(attended), residual);
    return h + mlp(normalised);
  }

  /// Bytes that a training step keeps of this layer for backward, of `rows` tokens.
  std::int64_t saved_bytes(std::int64_t rows) const {
    const std::int64_t features = mlp.down_proj.weight.shape()[0], inner = mlp.down_proj.weight.shape()[1];
    const std::int64_t q = self_attn.num_heads * self_attn.head_dim,
                       kv = self_attn.num_kv_heads * self_attn.head_dim,
                       norm = self_attn.q_norm.weight ? q + kv : 0;
    const std::int64_t elements = 3 * features + 2 * q + 2 * kv + norm + 3 * inner;
    return rows * (elements * static_cast<std::int64_t>(sizeof(T)) + (self_attn.num_heads + 2) * 4);
  }
  /// The most that backward holds at once on top of what is saved.
  std::int64_t backward_bytes(std::int64_t rows) const {
    const std::int64_t features = mlp.down_proj.weight.shape()[0], inner = mlp.down_proj.weight.shape()[1];
    return rows * static_cast<std::int64_t>(sizeof(T)) * (3 * inner + 2 * features);
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("self_attn", self.self_attn);
    part("mlp", self.mlp);
    part("input_layernorm", self.input_layernorm);
    part("post_attention_layernorm", self.post_attention_layernorm);
  }
};

}  // namespace attune
