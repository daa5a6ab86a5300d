#pragma once

#include <attune/backend/cuda/kernels/row_groups.cuh>

// Softmax over rows, a part of Norm; and the log-sum-exp that the losses begin with.

namespace attune::cuda {

/// The largest element of a row and the sum of exp(x - largest).
struct RowExponentials {
  float largest, sum;
};
template <class S, int Threads>
__device__ __forceinline__ RowExponentials row_exponentials(const Rows<const S>& x, int64_t row, int64_t cols,
                                                            float* scratch) {
  float largest = -INFINITY;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    for (int k = 0; k < Pack<S>::size; ++k)
      if (k < count) largest = fmaxf(largest, pack.v[k]);
  });
  largest = block_max<Threads>(largest, scratch);
  float sum = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    for (int k = 0; k < Pack<S>::size; ++k)
      if (k < count) sum += expf(pack.v[k] - largest);
  });
  return {largest, block_sum<Threads>(sum, scratch)};
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    softmax_kernel(Rows<const S> x, Rows<S> y, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const RowExponentials of_row = row_exponentials<S, Threads>(x, row, cols, scratch);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    for (float& value : pack.v) value = expf(value - of_row.largest) / of_row.sum;
    store_pack(y.row(row) + column, pack, count, y.aligned);
  });
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    softmax_backward_kernel(Rows<const S> y, Rows<const S> dy, Rows<S> dx, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  float dot = 0.0f;
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    const Pack<S> p = load_pack(y.row(row) + column, count, y.aligned);
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) dot += p.v[k] * d.v[k];
  });
  dot = block_sum<Threads>(dot, scratch);
  for_packs<S, Threads>(cols, [&](int64_t column, int64_t count) {
    Pack<S> p = load_pack(y.row(row) + column, count, y.aligned);
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) p.v[k] *= d.v[k] - dot;
    store_pack(dx.row(row) + column, p, count, dx.aligned);
  });
}

template <class T>
void Norm<T>::softmax(MatrixView<const T> x, MatrixView<T> y) const {
  launch_row_groups(context_of(*this), x.rows, x.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (softmax_kernel<Scalar<T>, threads.value>), rows_of(x), rows_of(y), x.rows,
                        x.cols),
          "softmax");
  });
}

template <class T>
void Norm<T>::softmax_backward(MatrixView<const T> y, MatrixView<const T> dy, MatrixView<T> dx) const {
  launch_row_groups(context_of(*this), y.rows, y.cols, [&](const auto& config, auto threads) {
    check(ATTUNE_LAUNCH(config, (softmax_backward_kernel<Scalar<T>, threads.value>), rows_of(y), rows_of(dy),
                        rows_of(dx), y.rows, y.cols),
          "softmax_backward");
  });
}

}  // namespace attune::cuda
