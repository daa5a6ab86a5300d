#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Sums over the rows of a matrix, for the gradients of biases and norm weights: in chunks of rows, whose sums
// are then added in a fixed tree. So the result depends on the shape alone.

namespace attune::cuda {

/// Of a block, which works on `column_packs` packs of 32 rows at once: narrow, so that there are many blocks
/// but few chunks, yet whole lines of memory.
inline constexpr int column_packs = 8, column_rows = 32, column_threads = column_packs * column_rows;

/// Where K sums go; some may be null.
template <int K>
struct ColumnTargets {
  float* to[K];
  bool accumulate;

  __host__ __device__ bool none() const {
    for (int k = 0; k < K; ++k)
      if (to[k] != nullptr) return false;
    return true;
  }
  __device__ __forceinline__ void store(int k, int64_t column, float sum) const {
    if (to[k] == nullptr) return;
    if (accumulate) sum += to[k][column];
    to[k][column] = sum;
  }
};

/// Adds rows from, from + column_rows, ... before `end` to `sums`: Batch of them are loaded before the first
/// is used.
template <int Batch, int K, class F, class S>
__device__ __forceinline__ void add_column_rows(const F& f, int64_t from, int64_t end, int64_t column,
                                                int64_t count, Pack<S> (&sums)[K]) {
  int64_t row = from;
  if constexpr (Batch > 1) {
#pragma unroll 1
    for (; row + (Batch - 1) * column_rows < end; row += Batch * column_rows) {
      typename F::Loaded loaded[Batch];
#pragma unroll
      for (int i = 0; i < Batch; ++i) loaded[i] = f.load(row + i * column_rows, column, count);
#pragma unroll
      for (int i = 0; i < Batch; ++i) f.add(loaded[i], row + i * column_rows, column, count, sums);
    }
  }
#pragma unroll 1
  for (; row < end; row += column_rows) f.add(f.load(row, column, count), row, column, count, sums);
}

/// f.add(f.load(row, column of a pack, columns from there on), ...) adds K packs of numbers. Their sums go to
/// partial [K][chunks][cols], or to the targets if there is one chunk. Grid: (columns / column_packs packs,
/// chunks).
template <class S, int K, class F>
__global__ void __launch_bounds__(column_threads)
    column_partials(F f, float* partial, ColumnTargets<K> targets, int64_t rows, int64_t cols,
                    int64_t rows_per_chunk) {
  constexpr int pack = pack_size<S>, width = column_packs * pack, warps = column_threads / 32;
  ATTUNE_SHARED(float, shared, K* warps* width);
  const int64_t column = int64_t{blockIdx.x} * width + threadIdx.x * pack;
  const int64_t begin = int64_t{blockIdx.y} * rows_per_chunk;
  const int64_t end = begin + rows_per_chunk < rows ? begin + rows_per_chunk : rows;
  Pack<S> sums[K] = {};
  if (f.is_aligned() && column + pack <= cols)
    add_column_rows<F::batch>(f.aligned(), begin + threadIdx.y, end, column, pack, sums);
  else if (column < cols)
    add_column_rows<1>(f, begin + threadIdx.y, end, column, cols - column, sums);

  const int warp = static_cast<int>(threadIdx.y * column_packs / 32);
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int e = 0; e < pack; ++e) {
      float sum = sums[k].v[e];
#pragma unroll
      for (int offset = column_packs; offset < 32; offset *= 2) sum += port::shfl_xor(sum, offset);
      if (threadIdx.y * column_packs % 32 == 0)
        shared[(k * warps + warp) * width + static_cast<int>(threadIdx.x) * pack + e] = sum;
    }
  port::sync_block();
  // A thread adds what the warps found for a column.
  const int i = static_cast<int>(threadIdx.y * column_packs + threadIdx.x);
  const int64_t mine = int64_t{blockIdx.x} * width + i;
  if (i < width && mine < cols)
#pragma unroll
    for (int k = 0; k < K; ++k) {
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < warps; ++w) sum += shared[(k * warps + w) * width + i];
      if (gridDim.y == 1)
        targets.store(k, mine, sum);
      else
        partial[(int64_t{k} * gridDim.y + blockIdx.y) * cols + mine] = sum;
    }
}

inline constexpr int total_lanes = 16;

/// Adds the chunks of partial [K][chunks][cols]. Grid: (columns / 32, K).
template <int K>
__global__ void __launch_bounds__(32 * total_lanes)
    column_totals(const float* partial, ColumnTargets<K> targets, int64_t chunks, int64_t cols) {
  ATTUNE_SHARED(float, shared, total_lanes * 32);
  const int64_t column = int64_t{blockIdx.x} * 32 + threadIdx.x;
  const float* from = partial + blockIdx.y * chunks * cols + column;
  float sum = 0.0f;
  if (column < cols) {
#pragma unroll 8
    for (int64_t chunk = threadIdx.y; chunk < chunks; chunk += total_lanes) sum += from[chunk * cols];
  }
  shared[threadIdx.y * 32 + threadIdx.x] = sum;
  port::sync_block();
  if (threadIdx.y == 0 && column < cols) {
#pragma unroll
    for (int lane = 1; lane < total_lanes; ++lane) sum += shared[lane * 32 + threadIdx.x];
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (static_cast<int>(blockIdx.y) == k) targets.store(k, column, sum);
  }
}

template <int K>
ColumnTargets<K> column_targets(const std::span<float> (&to)[K], bool accumulate) {
  ColumnTargets<K> targets{{}, accumulate};
  for (int k = 0; k < K; ++k) targets.to[k] = to[k].data();
  return targets;
}

template <int K>
void launch_column_totals(Context& context, const float* partial, const ColumnTargets<K>& targets,
                          std::int64_t chunks, std::int64_t cols) {
  const dim3 grid(static_cast<unsigned>(ceil_div(cols, 32)), K);
  check(ATTUNE_LAUNCH(launch_config(context, grid, dim3(32, total_lanes)), column_totals<K>, partial, targets,
                      chunks, cols),
        "column totals");
}

/// Adds the K sums to `to`, of which some may be empty.
template <class S, int K, class F>
void column_sums(Context& context, std::int64_t rows, std::int64_t cols, const F& f,
                 const std::span<float> (&to)[K], bool accumulate) {
  if (cols == 0) return;
  // A chunk is as short as loads in flight allow; then there are blocks enough for any device.
  constexpr std::int64_t shortest = 4 * column_rows, most_blocks = 2048, most_chunks = 256;
  const std::int64_t across = ceil_div(cols, column_packs * pack_size<S>);
  const std::int64_t rows_per_chunk =
      shortest *
      std::max<std::int64_t>(1, ceil_div(ceil_div(rows, shortest),
                                         std::clamp<std::int64_t>(most_blocks / across, 1, most_chunks)));
  const std::int64_t chunks = std::max<std::int64_t>(1, ceil_div(rows, rows_per_chunk));
  const ColumnTargets<K> targets = column_targets(to, accumulate);
  const Workspace<float> partial(context, static_cast<std::size_t>(chunks > 1 ? K * chunks * cols : 0));
  const dim3 grid(static_cast<unsigned>(across), static_cast<unsigned>(chunks));
  check(ATTUNE_LAUNCH(launch_config(context, grid, dim3(column_packs, column_rows)),
                      (column_partials<S, K, F>), f, partial.data(), targets, rows, cols, rows_per_chunk),
        "column sums");
  if (chunks > 1) launch_column_totals(context, partial.data(), targets, chunks, cols);
}

}  // namespace attune::cuda
