#pragma once

#include <cstdint>
#include <type_traits>

#include <attune/backend/cuda/kernels/softmax.cuh>

// Losses, unreduced: see Loss in backend.hpp.

namespace attune::cuda {

/// CrossEntropyOptions as a kernel argument.
struct Classes {
  int32_t ignore_index;
  float smoothing;
  const float* weights;  ///< V, or null for all one

  explicit Classes(const CrossEntropyOptions<float>& options)
      : ignore_index(options.ignore_index),
        smoothing(options.label_smoothing),
        weights(options.class_weights.empty() ? nullptr : options.class_weights.data()) {}
  __device__ __forceinline__ float weight(int64_t c) const { return weights ? weights[c] : 1.0f; }
};

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    cross_entropy_kernel(Rows<const S> logits, const int32_t* labels, Classes classes, float* losses,
                         float* lse, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const S* const x = logits.row(row);
  const RowExponentials of_row = row_exponentials<S, Threads>(x, cols, scratch);
  const float log_sum = of_row.largest + logf(of_row.sum);
  const int32_t label = labels[row];
  float loss = 0.0f;
  if (label != classes.ignore_index) {
    if (classes.smoothing > 0.0f) {
      const auto load = [&](int64_t column, auto count) { return load_pack(x + column, count, true); };
      for_packs_of_row<S, Threads>(x, cols, load, [&](int64_t column, auto count, const Pack<S>& pack) {
        for (int k = 0; k < count; ++k) loss += classes.weight(column + k) * (log_sum - pack.v[k]);
      });
      loss = block_sum<Threads>(loss, scratch) * (classes.smoothing / static_cast<float>(cols));
    }
    loss += (1.0f - classes.smoothing) * classes.weight(label) * (log_sum - to_float(x[label]));
  }
  if (threadIdx.x == 0) {
    losses[row] = loss;
    lse[row] = log_sum;
  }
}

/// What a row's gradients are computed from: with p the probability of a class, label_weight (p - [it is the
/// label]) upstream; with smoothing also spread (p weight_sum - its weight) upstream.
struct RowLoss {
  float log_sum, label_weight, upstream, spread, weight_sum;
  int32_t label;
};

/// The logits that a pack of gradients of type S is made from.
template <class S>
struct Logits {
  float v[pack_size<S>];
};

/// The gradient's row from x. `aligned`: x has packs where the gradient has them.
template <bool Smoothed, int Threads, class Logit, class S>
__device__ __forceinline__ void row_gradient(const Logit* x, S* gradient, int64_t cols, bool aligned,
                                             const Classes& classes, const RowLoss& row) {
  const auto load = [&](int64_t column, auto count) {
    Logits<S> logits;
    load_packs(x + column, count, true, logits.v);
    return logits;
  };
  const auto store = [&](int64_t column, auto count, const Logits<S>& logits) {
    const int hit = static_cast<int>(row.label - column);
    Pack<S> pack{};
    for (int k = 0; k < count; ++k) {
      const float p = expf(logits.v[k] - row.log_sum);
      pack.v[k] = row.label_weight * (p - (k == hit ? 1.0f : 0.0f));
      if (Smoothed) pack.v[k] += row.spread * (p * row.weight_sum - classes.weight(column + k));
      pack.v[k] *= row.upstream;
    }
    store_global_pack(gradient + column, pack, count, true);
  };
  if (aligned)
    for_packs_of_row<S, Threads>(gradient, cols, load, store);
  else
    for (int64_t column = threadIdx.x; column < cols; column += Threads)
      store(column, Count<1>(), load(column, Count<1>()));
}

/// S is the type of the gradient, and that of the logits or narrower.
template <class Logit, class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    cross_entropy_backward_kernel(Rows<const Logit> logits, const int32_t* labels, Classes classes,
                                  const float* lse, float factor, const float* scale, Rows<S> dlogits,
                                  int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const Logit* const x = logits.row(row);
  S* const gradient = dlogits.row(row);
  RowLoss loss{};
  loss.label = labels[row];
  if (loss.label == classes.ignore_index) {
    for_packs_of_row<S, Threads>(
        gradient, cols, [](int64_t, auto) { return Pack<S>{}; },
        [&](int64_t column, auto count, const Pack<S>& zeros) {
          store_global_pack(gradient + column, zeros, count, true);
        });
    return;
  }
  loss.log_sum = lse[row];
  loss.label_weight = (1.0f - classes.smoothing) * classes.weight(loss.label);
  loss.upstream = factor * *scale;
  const auto begin = reinterpret_cast<std::uintptr_t>(gradient) % 16 / sizeof(S);
  const bool aligned = begins_pack(x + (begin == 0 ? 0 : pack_size<S> - static_cast<int>(begin)));
  if (classes.smoothing == 0.0f)
    return row_gradient<false, Threads>(x, gradient, cols, aligned, classes, loss);
  loss.spread = classes.smoothing / static_cast<float>(cols);
  loss.weight_sum = static_cast<float>(cols);
  if (classes.weights) {
    float sum = 0.0f;
    for (int64_t c = threadIdx.x; c < cols; c += Threads) sum += classes.weights[c];
    loss.weight_sum = block_sum<Threads>(sum, scratch);
  }
  row_gradient<true, Threads>(x, gradient, cols, aligned, classes, loss);
}

enum class Pointwise { mse, bce };

template <class S>
struct PointwiseLoss {
  Pointwise loss;
  const S* x;
  const float* targets;
  float* losses;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    float values[pack_size<S>], wanted[pack_size<S>];
    load_packs(x + at, count, aligned, values);
    load_packs(targets + at, count, aligned, wanted);
    for (int k = 0; k < pack_size<S>; ++k) {
      const float value = values[k], target = wanted[k];
      values[k] = loss == Pointwise::mse ? (value - target) * (value - target)
                                         : fmaxf(value, 0.0f) - value * target + log1pf(expf(-fabsf(value)));
    }
    store_packs(losses + at, values, count, aligned);
  }
};

template <class S>
struct PointwiseLossBackward {
  Pointwise loss;
  const S* x;
  const float* targets;
  float factor;
  const float* scale;
  S* dx;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    const float upstream = factor * *scale;
    float values[pack_size<S>], wanted[pack_size<S>];
    load_packs(x + at, count, aligned, values);
    load_packs(targets + at, count, aligned, wanted);
    for (int k = 0; k < pack_size<S>; ++k) {
      const float slope = loss == Pointwise::mse ? 2.0f * (values[k] - wanted[k])
                                                 : 1.0f / (1.0f + expf(-values[k])) - wanted[k];
      values[k] = slope * upstream;
    }
    store_packs(dx + at, values, count, aligned);
  }
};

template <class T>
void Loss<T>::cross_entropy(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                            CrossEntropyOptions<W> options, std::span<W> losses, std::span<W> lse) const {
  launch_row_groups(context_of(*this), logits.rows, logits.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (cross_entropy_kernel<Scalar<T>, threads.value>), rows_of(logits),
                        labels.data(), Classes(options), losses.data(), lse.data(), logits.rows, logits.cols),
          "cross_entropy");
  });
}

template <class Logit, class T>
void cross_entropy_backward(const Context& context, MatrixView<const Logit> logits,
                            std::span<const std::int32_t> labels, const CrossEntropyOptions<float>& options,
                            std::span<const float> lse, float factor, const float* scale,
                            MatrixView<T> dlogits) {
  launch_row_groups(context, logits.rows, logits.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (cross_entropy_backward_kernel<Scalar<Logit>, Scalar<T>, threads.value>),
                        rows_of(logits), labels.data(), Classes(options), lse.data(), factor, scale,
                        rows_of(dlogits), logits.rows, logits.cols),
          "cross_entropy_backward");
  });
}

template <class T>
void Loss<T>::cross_entropy_backward(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                                     CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                                     const W* scale, MatrixView<T> dlogits) const {
  cuda::cross_entropy_backward(context_of(*this), logits, labels, options, lse, factor, scale, dlogits);
}

template <class T>
void Loss<T>::cross_entropy_backward(MatrixView<const OtherWide<T>> logits,
                                     std::span<const std::int32_t> labels, CrossEntropyOptions<W> options,
                                     std::span<const W> lse, W factor, const W* scale,
                                     MatrixView<T> dlogits) const {
  if constexpr (!std::is_same_v<T, W>)
    cuda::cross_entropy_backward(context_of(*this), logits, labels, options, lse, factor, scale, dlogits);
}

template <class T>
void Loss<T>::mse(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const {
  launch_over_span<Scalar<T>>(
      context_of(*this), static_cast<std::int64_t>(x.size()),
      PointwiseLoss<Scalar<T>>{
          Pointwise::mse, raw(x.data()), targets.data(), losses.data(),
          is_aligned16(x.data()) && is_aligned16(targets.data()) && is_aligned16(losses.data())});
}

template <class T>
void Loss<T>::mse_backward(std::span<const T> x, std::span<const W> targets, W factor, const W* scale,
                           std::span<T> dx) const {
  launch_over_span<Scalar<T>>(
      context_of(*this), static_cast<std::int64_t>(x.size()),
      PointwiseLossBackward<Scalar<T>>{
          Pointwise::mse, raw(x.data()), targets.data(), factor, scale, raw(dx.data()),
          is_aligned16(x.data()) && is_aligned16(targets.data()) && is_aligned16(dx.data())});
}

template <class T>
void Loss<T>::bce_with_logits(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const {
  launch_over_span<Scalar<T>>(
      context_of(*this), static_cast<std::int64_t>(x.size()),
      PointwiseLoss<Scalar<T>>{
          Pointwise::bce, raw(x.data()), targets.data(), losses.data(),
          is_aligned16(x.data()) && is_aligned16(targets.data()) && is_aligned16(losses.data())});
}

template <class T>
void Loss<T>::bce_with_logits_backward(std::span<const T> x, std::span<const W> targets, W factor,
                                       const W* scale, std::span<T> dx) const {
  launch_over_span<Scalar<T>>(
      context_of(*this), static_cast<std::int64_t>(x.size()),
      PointwiseLossBackward<Scalar<T>>{
          Pointwise::bce, raw(x.data()), targets.data(), factor, scale, raw(dx.data()),
          is_aligned16(x.data()) && is_aligned16(targets.data()) && is_aligned16(dx.data())});
}

}  // namespace attune::cuda
