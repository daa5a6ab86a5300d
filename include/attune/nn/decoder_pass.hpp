#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <attune/autograd/checkpoint.hpp>
#include <attune/nn/dropout.hpp>
#include <attune/nn/kv_cache.hpp>
#include <attune/nn/module.hpp>
#include <attune/ops/gather_rows.hpp>

namespace attune {

/// What the layers of one forward pass of a decoder share.
template <class T, class B>
struct DecoderPass {
  DeviceSegments<B> segments;  ///< of the tokens that are computed
  PassRandom random{};
  RowKeys<B> keys{};
  Detached<Wide<T>, B> frequencies{};  ///< of rotary positions, D / 2; empty without
  KvCache<T, B>* cache = nullptr;      ///< of what was read before, in generation

  /// The rows that are read after the last layer, when not all are.
  RowIndex<B> picked{};
  RowKeys<B> picked_keys{};
  bool picks = false;

  /// Causal attention within each sequence; `settings` holds heads, scale, window and dropout.
  Tensor<T, B> attend(std::size_t layer, const Tensor<T, B>& q, const Tensor<T, B>& k, const Tensor<T, B>& v,
                      AttentionSettings<B> settings) const {
    if (cache) return cache->attend(layer, q, k, v, settings);
    settings.query_segments = settings.key_segments = segments;
    settings.causal = true;
    return attention(q, k, v, settings);
  }
};

/// What one layer has to know beside its input.
struct LayerPlace {
  std::size_t index = 0;
  bool picks = false;  ///< it is the last one, and only the picked rows are read
};

/// Runs layers over x [N, C]. The last one computes the picked rows alone when there are any.
template <class Layer, class T, class B>
Tensor<T, B> run_decoder_layers(const std::vector<Layer>& layers, Tensor<T, B> x,
                                const DecoderPass<T, B>& pass, bool checkpointed) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerPlace place{i, pass.picks && i + 1 == layers.size()};
    if (checkpointed && !pass.cache && detail::grad_enabled() &&
        (x.requires_grad() || any_trainable(layers[i]))) {
      // A copy of the layer: its parameters are handles, and its dropouts stay as they are now until
      // backward.
      x = checkpoint(
          [layer = layers[i], pass, place](const Tensor<T, B>& in) { return layer(in, pass, place); }, x);
    } else {
      x = layers[i](x, pass, place);
    }
  }
  return x;
}

}  // namespace attune
