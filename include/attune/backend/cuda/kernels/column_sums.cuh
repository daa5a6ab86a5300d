#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Sums over the rows of a matrix, for the gradients of biases and norm weights: in chunks of rows, whose sums
// are then added in order. So the result depends on the shape alone.

namespace attune::cuda {

inline constexpr int column_lanes = 8;  ///< rows that a block works on at once

/// f(row, column, values): K numbers a cell, whose sums go to partial [K][chunks][cols]. Grid: (columns / 32,
/// chunks).
template <int K, class F>
__global__ void __launch_bounds__(32 * column_lanes)
    column_partials(F f, float* partial, int64_t rows, int64_t cols, int64_t rows_per_chunk) {
  ATTUNE_SHARED(float, sums, K* column_lanes * 32);
  const int64_t column = int64_t{blockIdx.x} * 32 + threadIdx.x;
  const int64_t begin = int64_t{blockIdx.y} * rows_per_chunk;
  const int64_t end = begin + rows_per_chunk < rows ? begin + rows_per_chunk : rows;
  float sum[K] = {};
  if (column < cols)
    for (int64_t row = begin + threadIdx.y; row < end; row += column_lanes) {
      float values[K];
      f(row, column, values);
#pragma unroll
      for (int k = 0; k < K; ++k) sum[k] += values[k];
    }
#pragma unroll
  for (int k = 0; k < K; ++k) sums[(k * column_lanes + threadIdx.y) * 32 + threadIdx.x] = sum[k];
  port::sync_block();
  if (threadIdx.y == 0 && column < cols)
#pragma unroll
    for (int k = 0; k < K; ++k) {
      float total = 0.0f;
#pragma unroll
      for (int lane = 0; lane < column_lanes; ++lane)
        total += sums[(k * column_lanes + lane) * 32 + threadIdx.x];
      partial[(int64_t{k} * gridDim.y + blockIdx.y) * cols + column] = total;
    }
}

/// to[column] (+)= sum over the chunks of partial [chunks][cols].
struct ColumnTotals {
  const float* partial;
  float* to;
  int64_t chunks, cols;
  bool accumulate;
  __device__ void operator()(int64_t at, int64_t count) const {
    for (int k = 0; k < pack_size<float> && k < count; ++k) {
      float sum = accumulate ? to[at + k] : 0.0f;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * cols + at + k];
      to[at + k] = sum;
    }
  }
};

/// Adds the K sums to `to`, of which some may be empty.
template <int K, class F>
void column_sums(Context& context, std::int64_t rows, std::int64_t cols, const F& f,
                 const std::span<float> (&to)[K], bool accumulate) {
  if (cols == 0) return;
  constexpr std::int64_t most_chunks = 256;
  const std::int64_t rows_per_chunk = std::max<std::int64_t>(64, ceil_div(rows, most_chunks));
  const std::int64_t chunks = ceil_div(rows, rows_per_chunk);
  const Workspace<float> partial(context, static_cast<std::size_t>(K * chunks * cols));
  if (chunks > 0) {
    const dim3 grid(static_cast<unsigned>(ceil_div(cols, 32)), static_cast<unsigned>(chunks));
    check(ATTUNE_LAUNCH(launch_config(context, grid, dim3(32, column_lanes)), (column_partials<K, F>), f,
                        partial.data(), rows, cols, rows_per_chunk),
          "column sums");
  }
  for (int k = 0; k < K; ++k)
    if (!to[k].empty())
      launch_over_span<float>(
          context, cols,
          ColumnTotals{partial.data() + k * chunks * cols, to[k].data(), chunks, cols, accumulate});
}

}  // namespace attune::cuda
