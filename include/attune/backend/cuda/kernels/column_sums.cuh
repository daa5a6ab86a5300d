#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Sums over the rows of a matrix, for the gradients of biases and norm weights: in chunks of rows, whose sums
// are then added in order. So the result depends on the shape alone.

namespace attune::cuda {

inline constexpr int column_lanes = 8;  ///< rows that a block works on at once

/// f(row, column of a pack, columns from there on, sums): adds K packs of numbers. Their sums go to partial
/// [K][chunks][cols]. Grid: (columns / 32 packs, chunks).
template <class S, int K, class F>
__global__ void __launch_bounds__(32 * column_lanes)
    column_partials(F f, float* partial, int64_t rows, int64_t cols, int64_t rows_per_chunk) {
  constexpr int pack = pack_size<S>, width = 32 * pack;
  ATTUNE_SHARED(float, shared, column_lanes * 32 * pack);
  const int64_t column = int64_t{blockIdx.x} * width + threadIdx.x * pack;
  const int64_t begin = int64_t{blockIdx.y} * rows_per_chunk;
  const int64_t end = begin + rows_per_chunk < rows ? begin + rows_per_chunk : rows;
  Pack<S> sums[K] = {};
  if (column < cols)
    for (int64_t row = begin + threadIdx.y; row < end; row += column_lanes)
      f(row, column, cols - column, sums);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    port::sync_block();  // the last sums have been read
#pragma unroll
    for (int e = 0; e < pack; ++e) shared[(threadIdx.y * pack + e) * 32 + threadIdx.x] = sums[k].v[e];
    port::sync_block();
    // Thread i adds what the lanes found for column i.
    const int i = static_cast<int>(threadIdx.y * 32 + threadIdx.x);
    const int64_t mine = int64_t{blockIdx.x} * width + i;
    if (i < width && mine < cols) {
      float total = 0.0f;
#pragma unroll
      for (int lane = 0; lane < column_lanes; ++lane)
        total += shared[(lane * pack + i % pack) * 32 + i / pack];
      partial[(int64_t{k} * gridDim.y + blockIdx.y) * cols + mine] = total;
    }
  }
}

/// to[column] (+)= sum over the chunks of partial [chunks][cols].
struct ColumnTotals {
  const float* partial;
  float* to;
  int64_t chunks, cols;
  bool accumulate, to_is_aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    const bool aligned = cols % pack_size<float> == 0;
    Pack<float> sum{};
    if (accumulate) sum = load_pack(to + at, count, to_is_aligned);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const Pack<float> part = load_pack(partial + chunk * cols + at, count, aligned);
      for (int k = 0; k < pack_size<float>; ++k) sum.v[k] += part.v[k];
    }
    store_pack(to + at, sum, count, to_is_aligned);
  }
};

/// Adds the K sums to `to`, of which some may be empty.
template <class S, int K, class F>
void column_sums(Context& context, std::int64_t rows, std::int64_t cols, const F& f,
                 const std::span<float> (&to)[K], bool accumulate) {
  if (cols == 0) return;
  constexpr std::int64_t most_chunks = 256;
  const std::int64_t rows_per_chunk = std::max<std::int64_t>(32, ceil_div(rows, most_chunks));
  const std::int64_t chunks = ceil_div(rows, rows_per_chunk);
  const Workspace<float> partial(context, static_cast<std::size_t>(K * chunks * cols));
  if (chunks > 0) {
    const dim3 grid(static_cast<unsigned>(ceil_div(cols, 32 * pack_size<S>)), static_cast<unsigned>(chunks));
    check(ATTUNE_LAUNCH(launch_config(context, grid, dim3(32, column_lanes)), (column_partials<S, K, F>), f,
                        partial.data(), rows, cols, rows_per_chunk),
          "column sums");
  }
  for (int k = 0; k < K; ++k)
    if (!to[k].empty())
      launch_over_span<float>(context, cols,
                              ColumnTotals{partial.data() + k * chunks * cols, to[k].data(), chunks, cols,
                                           accumulate, is_aligned16(to[k].data())});
}

}  // namespace attune::cuda
