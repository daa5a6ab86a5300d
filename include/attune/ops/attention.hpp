#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/ops/dropout.hpp>
#include <attune/tensor/device_segments.hpp>

namespace attune {

/// What attention needs to know beside q, k and v.
template <class B>
struct AttentionSettings {
  DeviceSegments<B> query_segments;
  DeviceSegments<B> key_segments;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t head_size = 0;
  float scale = 1.0f;
  bool causal = false;
  std::int64_t window = 0;
  std::int64_t query_offset = 0;
  DropoutMask<B> mask{};  ///< its rows are the query rows

  AttentionOptions options() const {
    return {query_segments.view(),
            key_segments.view(),
            heads,
            kv_heads,
            head_size,
            scale,
            causal,
            window,
            query_offset,
            mask.view};
  }
};

namespace detail {

/// y = softmax(scale q k^T) v head by head within each sequence. Saves only the log-sum-exp and computes the
/// weights p again in backward: with D = sum(dy y), dv = p^T dy, ds = p (dy v^T - D), dq = scale ds k, dk =
/// scale ds^T q. Dao et al. 2022, arXiv:2205.14135, over packed sequences.
///
/// `Packing` says how many tensors hold q, k and v: one [N, q|k|v], two (q and [N, k|v]) or three.
template <class T, class B, int Packing>
struct AttentionOp {
  static constexpr const char* name = "attention";
  AttentionSettings<B> settings;
  Saved<T, B> saved[Packing]{};
  Saved<T, B> y{};
  Detached<Wide<T>, B> lse{};

  template <class... Packed>
  Detached<T, B> forward(Needs needs, const Packed&... packed) {
    const Detached<T, B> inputs[] = {(packed.has_matrix() ? packed : packed.clone())...};
    const auto [q, k, v] = split(inputs);
    const B& device = inputs[0].device();
    const Detached<T, B> result(device, {q.rows, q.cols});
    lse = Detached<Wide<T>, B>(device, {q.rows, settings.heads});
    device.attention(MatrixView<const T>(q), MatrixView<const T>(k), MatrixView<const T>(v),
                     settings.options(), result.matrix(), lse.matrix());
    if (needs.any) {
      for (int i = 0; i < Packing; ++i) saved[i] = inputs[i];
      y = result;
    }
    return result;
  }

  template <class... Gradients>
  void backward(const Detached<T, B>& dy, Gradients... gradients) const {
    Detached<T, B> inputs[Packing], outputs[Packing];
    for (int i = 0; i < Packing; ++i) {
      inputs[i] = saved[i].get();
      outputs[i] = Detached<T, B>(dy.device(), inputs[i].shape());
    }
    const auto [q, k, v] = split(inputs);
    const auto [dq, dk, dv] = split(outputs);
    dy.device().attention_backward(MatrixView<const T>(dy.matrix()), MatrixView<const T>(q),
                                   MatrixView<const T>(k), MatrixView<const T>(v),
                                   MatrixView<const T>(y.get().matrix()),
                                   MatrixView<const Wide<T>>(lse.matrix()), settings.options(), dq, dk, dv);
    int next = 0;
    ((gradients ? gradients.adopt(outputs[next]) : void(), ++next), ...);
  }

 private:
  struct Heads {
    MatrixView<T> q, k, v;
  };
  Heads split(const Detached<T, B>* inputs) const {
    const std::int64_t q = settings.heads * settings.head_size, kv = settings.kv_heads * settings.head_size;
    if constexpr (Packing == 1) {
      const MatrixView<T> all = inputs[0].matrix();
      return {all.columns(0, q), all.columns(q, q + kv), all.columns(q + kv, q + 2 * kv)};
    } else if constexpr (Packing == 2) {
      const MatrixView<T> keys_values = inputs[1].matrix();
      return {inputs[0].matrix(), keys_values.columns(0, kv), keys_values.columns(kv, 2 * kv)};
    } else {
      return {inputs[0].matrix(), inputs[1].matrix(), inputs[2].matrix()};
    }
  }
};

template <class B>
void check_attention(const AttentionSettings<B>& s, const Shape& shape, bool queries, std::int64_t features) {
  const std::int64_t tokens = (queries ? s.query_segments : s.key_segments).tokens();
  if (s.kv_heads < 1 || s.heads % s.kv_heads != 0 || s.query_segments.count() != s.key_segments.count())
    throw ShapeError(
        "attention: heads must be a multiple of kv_heads and queries and keys have equally many "
        "sequences, found " +
        std::to_string(s.heads) + " and " + std::to_string(s.kv_heads) + " heads, " +
        std::to_string(s.query_segments.count()) + " and " + std::to_string(s.key_segments.count()) +
        " sequences");
  check_mask("attention", s.mask, s.query_segments.tokens());
  if (!(shape == Shape{tokens, features}))
    throw ShapeError("attention: [" + std::to_string(tokens) + ", " + std::to_string(features) +
                     "] is needed, found " + shape.to_string());
}

}  // namespace detail

/// Self-attention on q, k and v side by side: qkv [N, (H + 2 Hkv) D], result [N, H D].
template <class T, class B>
Tensor<T, B> attention(const Tensor<T, B>& qkv, const AttentionSettings<B>& settings) {
  detail::check_attention(settings, qkv.shape(), true,
                          (settings.heads + 2 * settings.kv_heads) * settings.head_size);
  detail::check_attention(settings, qkv.shape(), false, qkv.shape().back());
  return apply(detail::AttentionOp<T, B, 1>{settings}, qkv);
}

/// Queries q [Nq, H D] over keys and values side by side: kv [Nk, 2 Hkv D], result [Nq, H D].
template <class T, class B>
Tensor<T, B> attention(const Tensor<T, B>& q, const Tensor<T, B>& kv, const AttentionSettings<B>& settings) {
  detail::check_attention(settings, q.shape(), true, settings.heads * settings.head_size);
  detail::check_attention(settings, kv.shape(), false, 2 * settings.kv_heads * settings.head_size);
  return apply(detail::AttentionOp<T, B, 2>{settings}, q, kv);
}

/// Queries q [Nq, H D] over k and v [Nk, Hkv D], result [Nq, H D].
template <class T, class B>
Tensor<T, B> attention(const Tensor<T, B>& q, const Tensor<T, B>& k, const Tensor<T, B>& v,
                       const AttentionSettings<B>& settings) {
  detail::check_attention(settings, q.shape(), true, settings.heads * settings.head_size);
  detail::check_attention(settings, k.shape(), false, settings.kv_heads * settings.head_size);
  detail::check_attention(settings, v.shape(), false, settings.kv_heads * settings.head_size);
  return apply(detail::AttentionOp<T, B, 3>{settings}, q, k, v);
}

}  // namespace attune
