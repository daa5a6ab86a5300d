#pragma once

#include <attune/backend/cuda/kernels/attention_shape.cuh>

// Tiles of the attention kernels that compute in float. A block of four warps owns a tile of 16 rows
// (queries, or keys in the backward of keys and values), four to a warp, and walks over tiles of 32 rows of
// the other kind in shared memory. While scores are made, a lane owns one row of the walked tile; while rows
// are summed, it owns the columns lane, lane + 32, ...

namespace attune::cuda {

inline constexpr int attention_warps = 4, rows_per_warp = 4, walked_rows = 32;
inline constexpr int owned_rows = attention_warps * rows_per_warp;
inline constexpr int attention_threads = 32 * attention_warps;

/// Copies rows begin .. begin + Count (zeros from `end` on) of a head's columns to shared memory, a warp a
/// row.
template <int Count, class S>
__device__ __forceinline__ void load_tile(float* tile, int tile_stride, const Rows<const S>& from,
                                          int64_t begin, int64_t end, int64_t column, int head_size) {
  for (int r = static_cast<int>(threadIdx.x / 32); r < Count; r += attention_warps)
    for (int d = static_cast<int>(threadIdx.x % 32); d < head_size; d += 32)
      tile[r * tile_stride + d] = begin + r < end ? to_float(from.row(begin + r)[column + d]) : 0.0f;
}

/// dots[r] = row r of this warp's owned rows times this lane's walked row.
__device__ __forceinline__ void dot_rows(const float* owned, const float* walked, int walked_stride,
                                         int head_size, float (&dots)[rows_per_warp]) {
  const float* mine = walked + static_cast<int>(threadIdx.x % 32) * walked_stride;
  const float* rows = owned + static_cast<int>(threadIdx.x / 32) * rows_per_warp * head_size;
#pragma unroll
  for (float& dot : dots) dot = 0.0f;
#pragma unroll 4
  for (int d = 0; d < head_size; ++d) {
    const float value = mine[d];
#pragma unroll
    for (int r = 0; r < rows_per_warp; ++r) dots[r] += rows[r * head_size + d] * value;
  }
}

/// sums[r][i] += sum over the walked rows of weights[r][row] times column lane + 32 i of that row.
template <int Columns>
__device__ __forceinline__ void add_weighted(const float* weights, const float* walked, int walked_stride,
                                             int head_size, float (&sums)[rows_per_warp][Columns]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < Columns; ++i) {
    const int d = lane + 32 * i;
    if (d >= head_size) break;
#pragma unroll 4
    for (int row = 0; row < walked_rows; ++row) {
      const float value = walked[row * walked_stride + d];
#pragma unroll
      for (int r = 0; r < rows_per_warp; ++r) sums[r][i] += weights[r * walked_rows + row] * value;
    }
  }
}

/// This warp's part of [owned_rows][walked_rows] weights in shared memory.
__device__ __forceinline__ float* warp_weights(float* weights) {
  return weights + static_cast<int>(threadIdx.x / 32) * rows_per_warp * walked_rows;
}

/// The stride of walked tiles: odd, so that lanes reading one column of different rows meet different banks.
__device__ __host__ __forceinline__ int padded_stride(int head_size) { return head_size | 1; }

/// Floats of shared memory for `owned` tiles of owned rows, `walked` tiles of walked rows, and sets of
/// weights.
inline std::size_t attention_shared_bytes(std::int64_t head_size, int owned, int walked, int weights) {
  const auto stride = static_cast<std::size_t>(padded_stride(static_cast<int>(head_size)));
  return sizeof(float) * (static_cast<std::size_t>(owned * owned_rows) * static_cast<std::size_t>(head_size) +
                          static_cast<std::size_t>(walked * walked_rows) * stride +
                          static_cast<std::size_t>(weights * owned_rows * walked_rows));
}

}  // namespace attune::cuda
