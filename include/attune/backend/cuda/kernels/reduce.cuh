#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Sums in double and the largest element of rows: see Reduce in backend.hpp.

namespace attune::cuda {

/// Where element i of an index space lies.
struct Walk {
  int rank = 0;
  int64_t count = 1;
  int64_t extent[Shape::max_rank], stride[Shape::max_rank];

  void add(int64_t size, int64_t step) {
    extent[rank] = size;
    stride[rank++] = step;
    count *= size;
  }
  __device__ __forceinline__ int64_t offset(int64_t i) const {
    int64_t at = 0;
    for (int dim = rank - 1; dim >= 0; --dim) {
      const int64_t outer = i / extent[dim];
      at += (i - outer * extent[dim]) * stride[dim];
      i = outer;
    }
    return at;
  }
};

inline constexpr int sum_threads = 128;
inline constexpr int64_t sum_chunk = sum_threads * 64;

template <class Out>
__device__ __forceinline__ void store_sum(Out* y, double sum, bool accumulate) {
  if (accumulate) sum += static_cast<double>(to_float(*y));
  *y = from_float<Out>(static_cast<float>(sum));
}

/// A thread a sum: for short ones.
template <class S, class Out>
__global__ void __launch_bounds__(sum_threads)
    sum_short(const S* x, Out* y, Walk kept, Walk kept_y, Walk summed, bool accumulate) {
  for (int64_t i = int64_t{blockIdx.x} * sum_threads + threadIdx.x; i < kept.count;
       i += int64_t{gridDim.x} * sum_threads) {
    const S* from = x + kept.offset(i);
    double sum = 0.0;
    for (int64_t j = 0; j < summed.count; ++j) sum += static_cast<double>(to_float(from[summed.offset(j)]));
    store_sum(y + kept_y.offset(i), sum, accumulate);
  }
}

/// A block a chunk of a sum; partial [chunks][kept.count]. Grid: (sums, chunks, or as many as there may be).
template <class S>
__global__ void __launch_bounds__(sum_threads)
    sum_chunks(const S* x, double* partial, Walk kept, Walk summed) {
  ATTUNE_SHARED(double, scratch, sum_threads / 32);
  for (int64_t chunk = blockIdx.y, begin; (begin = chunk * sum_chunk) < summed.count; chunk += gridDim.y) {
    const int64_t end = begin + sum_chunk < summed.count ? begin + sum_chunk : summed.count;
    for (int64_t i = blockIdx.x; i < kept.count; i += gridDim.x) {
      const S* from = x + kept.offset(i);
      double sum = 0.0;
      for (int64_t j = begin + threadIdx.x; j < end; j += sum_threads)
        sum += static_cast<double>(to_float(from[summed.offset(j)]));
      sum = block_sum<sum_threads>(sum, scratch);
      if (threadIdx.x == 0) partial[chunk * kept.count + i] = sum;
    }
  }
}

template <class Out>
__global__ void __launch_bounds__(sum_threads)
    sum_finish(const double* partial, Out* y, Walk kept_y, int chunks, bool accumulate) {
  for (int64_t i = int64_t{blockIdx.x} * sum_threads + threadIdx.x; i < kept_y.count;
       i += int64_t{gridDim.x} * sum_threads) {
    double sum = 0.0;
    for (int chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * kept_y.count + i];
    store_sum(y + kept_y.offset(i), sum, accumulate);
  }
}

template <class S, class Out>
void launch_sum(Context& context, const S* x, Out* y, const Walk& kept, const Walk& kept_y,
                const Walk& summed, bool accumulate) {
  if (kept.count == 0) return;
  if (summed.count == 0) x = nullptr;  // a view of nothing may begin past its array's end
  if (summed.count <= 32) {
    const auto config = launch_config(context, grid_for(ceil_div(kept.count, sum_threads)), sum_threads);
    check(ATTUNE_LAUNCH(config, (sum_short<S, Out>), x, y, kept, kept_y, summed, accumulate), "sum");
    return;
  }
  const std::int64_t chunks = ceil_div(summed.count, sum_chunk);
  const Workspace<double> partial(context, static_cast<std::size_t>(chunks * kept.count));
  const dim3 grid(grid_for(kept.count), static_cast<unsigned>(std::min<std::int64_t>(chunks, 65535)));
  check(ATTUNE_LAUNCH(launch_config(context, grid, sum_threads), sum_chunks<S>, x, partial.data(), kept,
                      summed),
        "sum");
  const auto finish = launch_config(context, grid_for(ceil_div(kept.count, sum_threads)), sum_threads);
  check(
      ATTUNE_LAUNCH(finish, sum_finish<Out>, partial.data(), y, kept_y, static_cast<int>(chunks), accumulate),
      "sum");
}

/// A warp a row.
template <class S>
__global__ void __launch_bounds__(32 * row_warps)
    argmax_rows_kernel(Rows<const S> x, int32_t* indices, int64_t rows, int64_t cols) {
  const int64_t row = int64_t{blockIdx.x} * row_warps + threadIdx.y;
  if (row >= rows) return;
  constexpr int none = 0x7fffffff;
  const S* values = x.row(row);
  float best = -INFINITY;
  int at = none;
  const auto offer = [&](float value, int index) {
    if (value > best || (value == best && index < at)) {
      best = value;
      at = index;
    }
  };
  for (int64_t column = threadIdx.x; column < cols; column += 32)
    offer(to_float(values[column]), static_cast<int>(column));
  for (int offset = 16; offset > 0; offset >>= 1) {
    const float value = port::shfl_xor(best, offset);
    const int index = port::shfl_xor(at, offset);
    offer(value, index);
  }
  const float first = to_float(values[0]);
  if (threadIdx.x == 0) indices[row] = at == none || first != first ? 0 : at;  // nothing is larger than NaN
}

template <class T>
void Reduce<T>::sum(StridedView<const T> x, StridedView<T> y, bool accumulate) const {
  Walk kept, kept_y, summed;
  for (int dim = 0; dim < x.shape.rank(); ++dim) {
    if (y.strides[dim] == 0) {
      summed.add(x.shape[dim], x.strides[dim]);
    } else {
      kept.add(x.shape[dim], x.strides[dim]);
      kept_y.add(x.shape[dim], y.strides[dim]);
    }
  }
  launch_sum(context_of(*this), raw(x.data), raw(y.data), kept, kept_y, summed, accumulate);
}

template <class T>
void Reduce<T>::argmax_rows(MatrixView<const T> x, std::span<std::int32_t> indices) const {
  if (x.rows == 0) return;
  const auto config = launch_config(context_of(*this), static_cast<unsigned>(ceil_div(x.rows, row_warps)),
                                    dim3(32, row_warps));
  check(ATTUNE_LAUNCH(config, argmax_rows_kernel<Scalar<T>>, rows_of(x), indices.data(), x.rows, x.cols),
        "argmax_rows");
}

template <class T>
void Reduce<T>::total(std::span<const T> values, Wide<T>* total) const {
  Walk summed;
  summed.add(static_cast<std::int64_t>(values.size()), 1);
  launch_sum(context_of(*this), raw(values.data()), total, Walk{}, Walk{}, summed, false);
}

}  // namespace attune::cuda
