#pragma once

#include <attune/backend/cuda/kernels/row_groups.cuh>

// Softmax over rows, a part of Norm; and the log-sum-exp that the losses begin with.

namespace attune::cuda {

/// The largest element of a row and the sum of exp(x - largest), in one pass: each thread sums with the
/// largest element that it has seen so far, and the sums are brought to that of the row. Milakov, Gimelshein
/// 2018, arXiv:1805.02867.
struct RowExponentials {
  float largest, sum;
};
template <class S, int Threads>
__device__ __forceinline__ RowExponentials row_exponentials(const S* row, int64_t cols, float* scratch) {
  float seen = -INFINITY, sum = 0.0f;
  const auto load = [&](int64_t column, auto count) { return load_pack(row + column, count, true); };
  for_packs_of_row<S, Threads>(row, cols, load, [&](int64_t, auto count, const Pack<S>& pack) {
    float largest = seen, added = 0.0f;
    for (int k = 0; k < count; ++k) largest = fmaxf(largest, pack.v[k]);
    const float shift = largest == -INFINITY ? 0.0f : largest;  // not -inf - -inf
    for (int k = 0; k < count; ++k) added += expf(pack.v[k] - shift);
    sum = sum * expf(seen - shift) + added;
    seen = largest;
  });
  const float largest = block_max<Threads>(seen, scratch);
  return {largest, block_sum<Threads>(sum * expf(seen - largest), scratch)};
}

template <class S, int Threads>
__global__ void __launch_bounds__(Threads == 32 ? 32 * row_warps : Threads)
    softmax_kernel(Rows<const S> x, Rows<S> y, int64_t rows, int64_t cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const int64_t row = group_row<Threads>();
  if (row >= rows) return;
  const RowExponentials of_row = row_exponentials<S, Threads>(x.row(row), cols, scratch);
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
