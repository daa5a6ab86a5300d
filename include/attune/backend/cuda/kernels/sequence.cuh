#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Rotary positions and means over sequences: see Sequence in backend.hpp.

namespace attune::cuda {

/// Columns are the pairs of all heads, so many to a thread as a pack has elements.
template <class S>
struct Rope {
  Rows<const S> x;
  const int32_t* positions;
  const float* frequencies;
  int64_t half;
  bool inverse, packs;  ///< packs do not reach from head to head
  Rows<S> y;

  __device__ __forceinline__ void rotate(int32_t position, int64_t d, float& a, float& b) const {
    // In float the angle of a late position would be off by more than its sine may be.
    double turns = static_cast<double>(position) * static_cast<double>(frequencies[d]) * 0.15915494309189535;
    turns -= rint(turns);
    float sine, cosine;
    port::sine_cosine_pi(static_cast<float>(2.0 * turns), sine, cosine);
    if (inverse) sine = -sine;
    const float first = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = first;
  }
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    const int32_t position = positions[row];
    const int64_t head = column / half;
    if (packs) {
      const int64_t d = column - head * half, first = head * 2 * half + d, second = first + half;
      Pack<S> a = load_pack(x.row(row) + first, pack_size<S>, x.aligned);
      Pack<S> b = load_pack(x.row(row) + second, pack_size<S>, x.aligned);
#pragma unroll
      for (int k = 0; k < pack_size<S>; ++k) rotate(position, d + k, a.v[k], b.v[k]);
      store_pack(y.row(row) + first, a, pack_size<S>, y.aligned);
      store_pack(y.row(row) + second, b, pack_size<S>, y.aligned);
      return;
    }
    for (int k = 0; k < pack_size<S> && k < count; ++k) {
      const int64_t of = (column + k) / half, d = column + k - of * half;
      const int64_t first = of * 2 * half + d, second = first + half;
      float a = to_float(x.row(row)[first]), b = to_float(x.row(row)[second]);
      rotate(position, d, a, b);
      y.row(row)[first] = from_float<S>(a);
      y.row(row)[second] = from_float<S>(b);
    }
  }
};

template <class S>
struct MeanRows {
  Rows<const S> x;
  const int32_t* offsets;
  Rows<S> y;
  __device__ void operator()(int64_t sequence, int64_t column, int64_t count) const {
    const int32_t begin = offsets[sequence], end = offsets[sequence + 1];
    Pack<S> sum{};
    for (int32_t row = begin; row < end; ++row) {
      const Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
      for (int k = 0; k < Pack<S>::size; ++k) sum.v[k] += pack.v[k];
    }
    if (begin < end)
      for (float& value : sum.v) value /= static_cast<float>(end - begin);
    store_pack(y.row(sequence) + column, sum, count, y.aligned);
  }
};

template <class S>
struct MeanRowsBackward {
  Rows<const S> dy;
  const int32_t* offsets;
  Rows<S> dx;
  __device__ void operator()(int64_t sequence, int64_t column, int64_t count) const {
    const int32_t begin = offsets[sequence], end = offsets[sequence + 1];
    Pack<S> pack = load_pack(dy.row(sequence) + column, count, dy.aligned);
    for (float& value : pack.v) value /= static_cast<float>(end - begin);
    for (int32_t row = begin; row < end; ++row) store_pack(dx.row(row) + column, pack, count, dx.aligned);
  }
};

template <class T>
void Sequence<T>::rope(MatrixView<const T> x, std::span<const std::int32_t> positions,
                       std::span<const Wide<T>> frequencies, std::int64_t heads, bool inverse,
                       MatrixView<T> y) const {
  const auto half = static_cast<std::int64_t>(frequencies.size());
  launch_over_rows<Scalar<T>>(context_of(*this), x.rows, heads * half,
                              Rope<Scalar<T>>{rows_of(x), positions.data(), frequencies.data(), half, inverse,
                                              half % pack_size<Scalar<T>> == 0, rows_of(y)});
}

template <class T>
void Sequence<T>::mean_rows(MatrixView<const T> x, SegmentsView segments, MatrixView<T> y) const {
  launch_over_rows<Scalar<T>>(context_of(*this), segments.count, y.cols,
                              MeanRows<Scalar<T>>{rows_of(x), segments.offsets, rows_of(y)});
}

template <class T>
void Sequence<T>::mean_rows_backward(MatrixView<const T> dy, SegmentsView segments, MatrixView<T> dx) const {
  launch_over_rows<Scalar<T>>(context_of(*this), segments.count, dx.cols,
                              MeanRowsBackward<Scalar<T>>{rows_of(dy), segments.offsets, rows_of(dx)});
}

}  // namespace attune::cuda
