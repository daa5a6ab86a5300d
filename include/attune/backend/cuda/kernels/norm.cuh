#pragma once

#include <attune/backend/cuda/kernels/norm_backward.cuh>
#include <attune/backend/cuda/kernels/norm_forward.cuh>

// Norms: see Norm in backend.hpp. Rows are read again in each pass: they lie in the cache by then, and each
// thread reads what it wrote itself.

namespace attune::cuda {

/// s = residual + dropout(x), which is stored, or x itself. Returns this thread's sum, and that of the
/// squares.
template <class S, int Threads>
__device__ __forceinline__ void residual_sums(const Rows<const S>& x, const Rows<const S>& residual,
                                              const Dropout& dropout, const Rows<S>& s, int64_t row,
                                              int64_t cols, float& sum, float& squares) {
  sum = squares = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    if (residual) {
      dropout.apply(pack, row, column);
      const Pack<S> other = load_pack(residual.row(row) + column, count, residual.aligned);
      for (int k = 0; k < Pack<S>::size; ++k) pack.v[k] = rounded<S>(other.v[k] + pack.v[k]);
    }
    if (s) store_pack(s.row(row) + column, pack, count, s.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) {
      if (k >= count) break;
      sum += pack.v[k];
      squares += pack.v[k] * pack.v[k];
    }
  });
}

/// Where the sum of x and a residual is kept for the passes that follow: in s, or in y when s is not wanted.
template <class S>
__device__ __forceinline__ Rows<S> sum_target(const Rows<const S>& residual, const Rows<S>& s,
                                              const Rows<S>& y) {
  return s || !residual ? s : y;
}

/// What the passes after residual_sums() read.
template <class S>
__device__ __forceinline__ Rows<const S> stored_sum(const Rows<const S>& x, const Rows<S>& kept) {
  return kept ? Rows<const S>{kept.data, kept.stride, kept.aligned} : x;
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    layer_norm_kernel(Rows<const S> x, Rows<const S> residual, Dropout dropout, Rows<const S> weight,
                      Rows<const S> bias, float eps, Rows<S> s, Rows<S> y, float* mean, float* rstd,
                      int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  float sum, unused;
  const Rows<S> kept = sum_target(residual, s, y);
  residual_sums<S, Threads>(x, residual, dropout, kept, row, cols, sum, unused);
  const float average = block_sum<Threads>(sum, scratch) / static_cast<float>(cols);
  const Rows<const S> values = stored_sum(x, kept);
  float squares = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> pack = load_pack(values.row(row) + column, count, values.aligned);
    for (int k = 0; k < Pack<S>::size; ++k)
      if (k < count) squares += (pack.v[k] - average) * (pack.v[k] - average);
  });
  const float inverse = port::rsqrt(block_sum<Threads>(squares, scratch) / static_cast<float>(cols) + eps);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> pack = load_pack(values.row(row) + column, count, values.aligned), shift{};
    const Pack<S> factor = load_pack(weight.data + column, count, weight.aligned);
    if (bias) shift = load_pack(bias.data + column, count, bias.aligned);
    for (int k = 0; k < Pack<S>::size; ++k)
      pack.v[k] = (pack.v[k] - average) * inverse * factor.v[k] + shift.v[k];
    store_pack(y.row(row) + column, pack, count, y.aligned);
  });
  if (threadIdx.x == 0) {
    mean[row] = average;
    rstd[row] = inverse;
  }
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    layer_norm_backward_kernel(Rows<const S> dy, Rows<const S> s, Rows<const S> weight, const float* mean,
                               const float* rstd, Rows<S> ds, Dropout dropout, Rows<S> dx, int64_t rows,
                               int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const float m = mean[row], r = rstd[row];
  float sum = 0.0f, sum_normalized = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    const Pack<S> w = load_pack(weight.data + column, count, weight.aligned);
    const Pack<S> v = load_pack(s.row(row) + column, count, s.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) {
      const float g = d.v[k] * w.v[k];
      sum += g;
      sum_normalized += g * ((v.v[k] - m) * r);
    }
  });
  sum = block_sum<Threads>(sum, scratch) / static_cast<float>(cols);
  sum_normalized = block_sum<Threads>(sum_normalized, scratch) / static_cast<float>(cols);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    const Pack<S> w = load_pack(weight.data + column, count, weight.aligned);
    Pack<S> v = load_pack(s.row(row) + column, count, s.aligned);
    for (int k = 0; k < Pack<S>::size; ++k)
      v.v[k] = rounded<S>(r * (d.v[k] * w.v[k] - sum - (v.v[k] - m) * r * sum_normalized));
    store_pack(ds.row(row) + column, v, count, ds.aligned);
    if (dx) {
      dropout.apply(v, row, column);
      store_pack(dx.row(row) + column, v, count, dx.aligned);
    }
  });
}

template <class S>
struct LayerNormParameterGrads {
  Rows<const S> dy, s;
  const float *mean, *rstd;

  struct Loaded {
    Pack<S> dy, s;
    float mean, rstd;
  };
  static constexpr int batch = 4;
  __device__ __forceinline__ bool is_aligned() const { return dy.aligned && s.aligned; }
  __device__ __forceinline__ LayerNormParameterGrads aligned() const {
    return {dy.known_aligned(), s.known_aligned(), mean, rstd};
  }
  __device__ __forceinline__ Loaded load(int64_t row, int64_t column, int64_t count) const {
    return {load_pack(dy.row(row) + column, count, dy.aligned),
            load_pack(s.row(row) + column, count, s.aligned), mean[row], rstd[row]};
  }
  __device__ __forceinline__ void add(const Loaded& loaded, int64_t, int64_t, int64_t,
                                      Pack<S> (&sums)[2]) const {
    for (int k = 0; k < Pack<S>::size; ++k) {
      sums[0].v[k] += loaded.dy.v[k] * (loaded.s.v[k] - loaded.mean) * loaded.rstd;
      sums[1].v[k] += loaded.dy.v[k];
    }
  }
};

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    rms_norm_kernel(Rows<const S> x, Rows<const S> residual, Rows<const S> weight, float eps, Rows<S> s,
                    Rows<S> y, float* rstd, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  float unused, squares;
  const Rows<S> kept = sum_target(residual, s, y);
  residual_sums<S, Threads>(x, residual, Dropout(), kept, row, cols, unused, squares);
  const float inverse = port::rsqrt(block_sum<Threads>(squares, scratch) / static_cast<float>(cols) + eps);
  const Rows<const S> values = stored_sum(x, kept);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> pack = load_pack(values.row(row) + column, count, values.aligned);
    const Pack<S> factor = load_pack(weight.data + column, count, weight.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) pack.v[k] *= inverse * factor.v[k];
    store_pack(y.row(row) + column, pack, count, y.aligned);
  });
  if (threadIdx.x == 0) rstd[row] = inverse;
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    rms_norm_backward_kernel(Rows<const S> dy, Rows<const S> s, Rows<const S> weight, const float* rstd,
                             Rows<S> ds, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const float r = rstd[row];
  float sum = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    const Pack<S> w = load_pack(weight.data + column, count, weight.aligned);
    const Pack<S> v = load_pack(s.row(row) + column, count, s.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) sum += d.v[k] * w.v[k] * v.v[k] * r;
  });
  sum = block_sum<Threads>(sum, scratch) / static_cast<float>(cols);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    const Pack<S> w = load_pack(weight.data + column, count, weight.aligned);
    Pack<S> v = load_pack(s.row(row) + column, count, s.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) v.v[k] = r * (d.v[k] * w.v[k] - v.v[k] * r * sum);
    store_pack(ds.row(row) + column, v, count, ds.aligned);
  });
}

template <class S>
struct RmsNormParameterGrads {
  Rows<const S> dy, s;
  const float* rstd;

  struct Loaded {
    Pack<S> dy, s;
    float rstd;
  };
  static constexpr int batch = 4;
  __device__ __forceinline__ bool is_aligned() const { return dy.aligned && s.aligned; }
  __device__ __forceinline__ RmsNormParameterGrads aligned() const {
    return {dy.known_aligned(), s.known_aligned(), rstd};
  }
  __device__ __forceinline__ Loaded load(int64_t row, int64_t column, int64_t count) const {
    return {load_pack(dy.row(row) + column, count, dy.aligned),
            load_pack(s.row(row) + column, count, s.aligned), rstd[row]};
  }
  __device__ __forceinline__ void add(const Loaded& loaded, int64_t, int64_t, int64_t,
                                      Pack<S> (&sums)[1]) const {
    for (int k = 0; k < Pack<S>::size; ++k) sums[0].v[k] += loaded.dy.v[k] * loaded.s.v[k] * loaded.rstd;
  }
};

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    l2_normalize_kernel(Rows<const S> x, float eps, Rows<S> y, float* norms, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  float squares = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    for (const float value : pack.v) squares += value * value;
  });
  const float norm = sqrtf(block_sum<Threads>(squares, scratch)), inverse = 1.0f / fmaxf(norm, eps);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    for (float& value : pack.v) value *= inverse;
    store_pack(y.row(row) + column, pack, count, y.aligned);
  });
  if (threadIdx.x == 0) norms[row] = norm;
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    l2_normalize_backward_kernel(Rows<const S> dy, Rows<const S> y, const float* norms, float eps, Rows<S> dx,
                                 int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  float dot = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    const Pack<S> v = load_pack(y.row(row) + column, count, y.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) dot += d.v[k] * v.v[k];
  });
  dot = block_sum<Threads>(dot, scratch);
  const bool clamped = norms[row] < eps;
  const float along = clamped ? 0.0f : dot, inverse = 1.0f / (clamped ? eps : norms[row]);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    const Pack<S> v = load_pack(y.row(row) + column, count, y.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) d.v[k] = (d.v[k] - v.v[k] * along) * inverse;
    store_pack(dx.row(row) + column, d, count, dx.aligned);
  });
}

template <class T>
void Norm<T>::layer_norm(MatrixView<const T> x, MatrixView<const T> residual, DropoutView dropout,
                         std::span<const T> weight, std::span<const T> bias, float eps, MatrixView<T> s,
                         MatrixView<T> y, std::span<W> mean, std::span<W> rstd) const {
  if (norm_forward(
          context_of(*this),
          NormForward<Scalar<T>, true>{rows_of(x), rows_of(residual), Dropout(dropout), row_of(weight),
                                       row_of(bias), eps, rows_of(s), rows_of(y), mean.data(), rstd.data()},
          x.rows, x.cols))
    return;
  launch_row_groups(context_of(*this), x.rows, x.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (layer_norm_kernel<Scalar<T>, threads.value>), rows_of(x), rows_of(residual),
                        Dropout(dropout), row_of(weight), row_of(bias), eps, rows_of(s), rows_of(y),
                        mean.data(), rstd.data(), x.rows, x.cols),
          "layer_norm");
  });
}

template <class T>
void Norm<T>::layer_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                                  std::span<const W> mean, std::span<const W> rstd, MatrixView<T> ds,
                                  std::span<W> weight_grad, std::span<W> bias_grad, bool accumulate,
                                  DropoutView dropout, MatrixView<T> dx) const {
  Context& context = context_of(*this);
  if (norm_backward(context,
                    NormBackward<Scalar<T>, true>{rows_of(dy), rows_of(s), row_of(weight), mean.data(),
                                                  rstd.data(), rows_of(ds), Dropout(dropout), rows_of(dx),
                                                  column_targets<2>({weight_grad, bias_grad}, accumulate)},
                    dy.rows, dy.cols))
    return;
  launch_row_groups(context, dy.rows, dy.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (layer_norm_backward_kernel<Scalar<T>, threads.value>), rows_of(dy),
                        rows_of(s), row_of(weight), mean.data(), rstd.data(), rows_of(ds), Dropout(dropout),
                        rows_of(dx), dy.rows, dy.cols),
          "layer_norm_backward");
  });
  if (!weight_grad.empty() || !bias_grad.empty())
    column_sums<Scalar<T>, 2>(
        context, dy.rows, dy.cols,
        LayerNormParameterGrads<Scalar<T>>{rows_of(dy), rows_of(s), mean.data(), rstd.data()},
        {weight_grad, bias_grad}, accumulate);
}

template <class T>
void Norm<T>::rms_norm(MatrixView<const T> x, MatrixView<const T> residual, std::span<const T> weight,
                       float eps, MatrixView<T> s, MatrixView<T> y, std::span<W> rstd) const {
  if (norm_forward(context_of(*this),
                   NormForward<Scalar<T>, false>{rows_of(x),
                                                 rows_of(residual),
                                                 Dropout(),
                                                 row_of(weight),
                                                 {},
                                                 eps,
                                                 rows_of(s),
                                                 rows_of(y),
                                                 nullptr,
                                                 rstd.data()},
                   x.rows, x.cols))
    return;
  launch_row_groups(context_of(*this), x.rows, x.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (rms_norm_kernel<Scalar<T>, threads.value>), rows_of(x), rows_of(residual),
                        row_of(weight), eps, rows_of(s), rows_of(y), rstd.data(), x.rows, x.cols),
          "rms_norm");
  });
}

template <class T>
void Norm<T>::rms_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                                std::span<const W> rstd, MatrixView<T> ds, std::span<W> weight_grad,
                                bool accumulate) const {
  Context& context = context_of(*this);
  if (norm_backward(context,
                    NormBackward<Scalar<T>, false>{rows_of(dy),
                                                   rows_of(s),
                                                   row_of(weight),
                                                   nullptr,
                                                   rstd.data(),
                                                   rows_of(ds),
                                                   Dropout(),
                                                   {},
                                                   column_targets<1>({weight_grad}, accumulate)},
                    dy.rows, dy.cols))
    return;
  launch_row_groups(context, dy.rows, dy.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (rms_norm_backward_kernel<Scalar<T>, threads.value>), rows_of(dy), rows_of(s),
                        row_of(weight), rstd.data(), rows_of(ds), dy.rows, dy.cols),
          "rms_norm_backward");
  });
  if (!weight_grad.empty())
    column_sums<Scalar<T>, 1>(context, dy.rows, dy.cols,
                              RmsNormParameterGrads<Scalar<T>>{rows_of(dy), rows_of(s), rstd.data()},
                              {weight_grad}, accumulate);
}

template <class T>
void Norm<T>::l2_normalize(MatrixView<const T> x, float eps, MatrixView<T> y, std::span<W> norms) const {
  launch_row_groups(context_of(*this), x.rows, x.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (l2_normalize_kernel<Scalar<T>, threads.value>), rows_of(x), eps, rows_of(y),
                        norms.data(), x.rows, x.cols),
          "l2_normalize");
  });
}

template <class T>
void Norm<T>::l2_normalize_backward(MatrixView<const T> dy, MatrixView<const T> y, std::span<const W> norms,
                                    float eps, MatrixView<T> dx) const {
  launch_row_groups(context_of(*this), dy.rows, dy.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (l2_normalize_backward_kernel<Scalar<T>, threads.value>), rows_of(dy),
                        rows_of(y), norms.data(), eps, rows_of(dx), dy.rows, dy.cols),
          "l2_normalize_backward");
  });
}

}  // namespace attune::cuda

#include <attune/backend/cuda/kernels/softmax.cuh>
