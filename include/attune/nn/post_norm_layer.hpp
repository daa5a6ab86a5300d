#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <attune/autograd/checkpoint.hpp>
#include <attune/nn/activation.hpp>
#include <attune/nn/dropout.hpp>
#include <attune/nn/layer_norm.hpp>
#include <attune/nn/linear.hpp>
#include <attune/nn/module.hpp>
#include <attune/ops/attention.hpp>
#include <attune/ops/feed_forward.hpp>
#include <attune/ops/gather_rows.hpp>

namespace attune {

/// What the layers of one forward pass share.
template <class B>
struct EncoderPass {
  DeviceSegments<B> segments;
  PassRandom random;
  RowKeys<B> keys;  ///< of all tokens

  /// The rows that are read after the last layer, one a sequence, when not all are.
  DeviceSegments<B> picked_segments{};
  RowIndex<B> picked{};
  RowKeys<B> picked_keys{};
};

struct PostNormLayerOptions {
  std::int64_t hidden_size = 0, intermediate_size = 0, num_heads = 0;
  float layer_norm_eps = 1e-12f;
  Unary activation = Unary::gelu;
  Dropout attention_dropout{}, attention_output_dropout{}, output_dropout{};
};

/// The layer of the original transformer encoder (Vaswani et al. 2017, arXiv:1706.03762), which BERT and
/// DistilBERT share and only name differently:
///
///     a = norm(x + dropout(dense(attention(x))));  y = norm(a + dropout(dense(f(dense(a)))))
///
/// Query, key and value are one matrix product.
template <class T, class B>
struct PostNormLayer {
  std::int64_t num_heads = 0;
  Unary activation = Unary::gelu;
  Linear<T, B> qkv, attention_output;
  LayerNorm<T, B> attention_norm;
  Linear<T, B> intermediate, output;
  LayerNorm<T, B> output_norm;
  Dropout attention_dropout, attention_output_dropout, output_dropout;

  PostNormLayer() = default;
  PostNormLayer(const B& device, const PostNormLayerOptions& o)
      : num_heads(o.num_heads),
        activation(o.activation),
        qkv(device, o.hidden_size, 3 * o.hidden_size, true, 3),
        attention_output(device, o.hidden_size, o.hidden_size),
        attention_norm(device, o.hidden_size, o.layer_norm_eps),
        intermediate(device, o.hidden_size, o.intermediate_size),
        output(device, o.intermediate_size, o.hidden_size),
        output_norm(device, o.hidden_size, o.layer_norm_eps),
        attention_dropout(o.attention_dropout),
        attention_output_dropout(o.attention_output_dropout),
        output_dropout(o.output_dropout) {}

  /// Bytes that a training step keeps of this layer for backward: q|k|v, attended, both sums and norms, and
  /// one side of the activation for each row, the input being the layer's before. `picked` rows of `rows`, or
  /// all.
  std::int64_t saved_bytes(std::int64_t rows, std::int64_t picked) const {
    const std::int64_t features = qkv.weight.shape()[1], inner = intermediate.weight.shape()[0];
    const std::int64_t element = static_cast<std::int64_t>(sizeof(T));
    const std::int64_t each = element * (5 * features + inner) + (num_heads + 4) * 4;
    if (picked == rows) return rows * (each + element * 3 * features);
    return rows * element * 2 * features + picked * (each + element * 2 * features);
  }
  /// The most that backward holds at once on top of what is saved: gradients around the activation.
  std::int64_t backward_bytes(std::int64_t rows) const {
    const std::int64_t features = qkv.weight.shape()[1], inner = intermediate.weight.shape()[0];
    return rows * static_cast<std::int64_t>(sizeof(T)) * (2 * inner + 2 * features);
  }

  /// x [N, C] to [N, C].
  Tensor<T, B> operator()(const Tensor<T, B>& x, const EncoderPass<B>& pass) const {
    AttentionSettings<B> settings = attention_settings(pass, x.shape().back());
    settings.query_segments = pass.segments;
    settings.mask = attention_dropout.mask(pass.random, pass.keys);
    const AdapterRows<B> rows(pass.random, pass.keys);
    return finish(attention(qkv(x), settings), x, pass, pass.keys);
  }

  /// The same, computing only the picked rows: x [N, C] to [picked, C].
  Tensor<T, B> picked(const Tensor<T, B>& x, const EncoderPass<B>& pass) const {
    const std::int64_t features = x.shape().back();
    AttentionSettings<B> settings = attention_settings(pass, features);
    settings.query_segments = pass.picked_segments;
    settings.mask = attention_dropout.mask(pass.random, pass.picked_keys);
    const Tensor<T, B> rows = gather_rows(x, pass.picked);
    const Tensor<T, B> q = on_rows(qkv.rows(0, features), rows, pass, pass.picked_keys);
    const Tensor<T, B> kv = on_rows(qkv.rows(features, 3 * features), x, pass, pass.keys);
    const AdapterRows<B> picked_rows(pass.random, pass.picked_keys);
    return finish(attention(q, kv, settings), rows, pass, pass.picked_keys);
  }

 private:
  AttentionSettings<B> attention_settings(const EncoderPass<B>& pass, std::int64_t features) const {
    AttentionSettings<B> settings;
    settings.key_segments = pass.segments;
    settings.heads = settings.kv_heads = num_heads;
    settings.head_size = features / num_heads;
    settings.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(settings.head_size)));
    return settings;
  }

  static Tensor<T, B> on_rows(const Linear<T, B>& layer, const Tensor<T, B>& x, const EncoderPass<B>& pass,
                              const RowKeys<B>& keys) {
    const AdapterRows<B> rows(pass.random, keys);
    return layer(x);
  }

  Tensor<T, B> finish(const Tensor<T, B>& attended, const Tensor<T, B>& x, const EncoderPass<B>& pass,
                      const RowKeys<B>& keys) const {
    const Tensor<T, B> a =
        attention_norm(attention_output(attended), attention_output_dropout.mask(pass.random, keys), x);
    const Tensor<T, B> y =
        intermediate.has_adapters() || output.has_adapters()
            ? output(intermediate(a, activation))
            : feed_forward(a, intermediate.weight, intermediate.bias, activation, output.weight, output.bias);
    return output_norm(y, output_dropout.mask(pass.random, keys), a);
  }
};

/// Runs layers over x [N, C]; the last one on the picked rows alone when `picked` asks for it.
template <class Layer, class T, class B>
Tensor<T, B> run_layers(const std::vector<Layer>& layers, Tensor<T, B> x, const EncoderPass<B>& pass,
                        bool picked, bool checkpointed) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool last = picked && i + 1 == layers.size();
    if (checkpointed && detail::grad_enabled() && (x.requires_grad() || any_trainable(layers[i]))) {
      // A copy of the layer: its parameters are handles, and its dropouts stay as they are now until
      // backward.
      x = checkpoint([layer = layers[i], pass, last](
                         const Tensor<T, B>& in) { return last ? layer.picked(in, pass) : layer(in, pass); },
                     x);
    } else {
      x = last ? layers[i].picked(x, pass) : layers[i](x, pass);
    }
  }
  return x;
}

}  // namespace attune
