#pragma once

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
  const RowExponentials of_row = row_exponentials<S, Threads>(logits, row, cols, scratch);
  const float log_sum = of_row.largest + logf(of_row.sum);
  const int32_t label = labels[row];
  float loss = 0.0f;
  if (label != classes.ignore_index) {
    if (classes.smoothing > 0.0f) {
      for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
        const Pack<S> pack = load_pack(logits.row(row) + column, count, logits.aligned);
        for (int k = 0; k < Pack<S>::size; ++k)
          if (k < count) loss += classes.weight(column + k) * (log_sum - pack.v[k]);
      });
      loss = block_sum<Threads>(loss, scratch) * (classes.smoothing / static_cast<float>(cols));
    }
    loss += (1.0f - classes.smoothing) * classes.weight(label) * (log_sum - to_float(logits.row(row)[label]));
  }
  if (threadIdx.x == 0) {
    losses[row] = loss;
    lse[row] = log_sum;
  }
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    cross_entropy_backward_kernel(Rows<const S> logits, const int32_t* labels, Classes classes,
                                  const float* lse, float factor, const float* scale, Rows<S> dlogits,
                                  int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const int32_t label = labels[row];
  const bool ignored = label == classes.ignore_index;
  const float spread = classes.smoothing / static_cast<float>(cols);
  float weight_sum = static_cast<float>(cols);
  if (classes.weights && classes.smoothing > 0.0f) {
    weight_sum = 0.0f;
    for (int64_t c = threadIdx.x; c < cols; c += Threads) weight_sum += classes.weights[c];
    weight_sum = block_sum<Threads>(weight_sum, scratch);
  }
  const float upstream = factor * *scale, log_sum = lse[row];
  const float label_weight = ignored ? 0.0f : (1.0f - classes.smoothing) * classes.weight(label);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> pack = load_pack(logits.row(row) + column, count, logits.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) {
      if (k >= count) break;
      const float p = expf(pack.v[k] - log_sum);
      float gradient = label_weight * (p - (column + k == label ? 1.0f : 0.0f));
      if (spread > 0.0f) gradient += spread * (p * weight_sum - classes.weight(column + k));
      pack.v[k] = ignored ? 0.0f : gradient * upstream;
    }
    store_pack(dlogits.row(row) + column, pack, count, dlogits.aligned);
  });
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

template <class T>
void Loss<T>::cross_entropy_backward(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                                     CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                                     const W* scale, MatrixView<T> dlogits) const {
  launch_row_groups(context_of(*this), logits.rows, logits.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (cross_entropy_backward_kernel<Scalar<T>, threads.value>), rows_of(logits),
                        labels.data(), Classes(options), lse.data(), factor, scale, rows_of(dlogits),
                        logits.rows, logits.cols),
          "cross_entropy_backward");
  });
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
