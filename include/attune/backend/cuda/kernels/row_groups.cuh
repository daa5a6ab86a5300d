#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Kernels in which threads share a row: a warp for rows of up to 1024 columns, four of them to a block; a
// block of 256 for longer ones. Kernels are templates of the number of threads, which lie along x.

namespace attune::cuda {

inline constexpr int long_row_threads = 256;
inline constexpr std::int64_t short_row = 1024;

/// The row of this thread's group. Groups of one warp may have none (row >= rows) and then return: they meet
/// no barrier.
template <int Threads>
__device__ __forceinline__ int64_t group_row() {
  return int64_t{blockIdx.x} * (Threads == 32 ? row_warps : 1) + threadIdx.y;
}

/// f(column, count) for this thread's packs of a row.
template <class S, int Threads, class F>
__device__ __forceinline__ void for_packs(int64_t cols, const F& f) {
#pragma unroll 2
  for (int64_t column = int64_t{threadIdx.x} * pack_size<S>; column < cols; column += Threads * pack_size<S>)
    f(column, cols - column);
}

/// Calls f with a launch configuration and the number of threads as an integral constant.
template <class F>
void launch_row_groups(const Context& context, std::int64_t rows, std::int64_t cols, const F& f) {
  if (rows == 0) return;
  if (cols <= short_row)
    f(launch_config(context, static_cast<unsigned>(ceil_div(rows, row_warps)), dim3(32, row_warps)),
      std::integral_constant<int, 32>());
  else
    f(launch_config(context, static_cast<unsigned>(rows), long_row_threads),
      std::integral_constant<int, long_row_threads>());
}

}  // namespace attune::cuda
