#pragma once

#include <type_traits>

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

/// A number of elements that is known when the kernel is compiled.
template <int N>
struct Count {
  __device__ __forceinline__ constexpr operator int() const { return N; }
};
/// use(column, count, load(column, count)) for this thread's share of a row that may begin anywhere. Whole
/// packs begin where the address is a multiple of 16 bytes; what lies before the first and behind the last
/// one comes element by element. The counts are of type Count. Two packs are loaded before the first of them
/// is used, which keeps more loads under way where `use` stores (the compiler must not move loads across
/// stores).
template <class S, int Threads, class Load, class Use>
__device__ __forceinline__ void for_packs_of_row(const S* row, int64_t cols, const Load& load,
                                                 const Use& use) {
  constexpr int64_t size = pack_size<S>, step = Threads * size;
  constexpr Count<pack_size<S>> whole;
  const int64_t behind = static_cast<int64_t>(reinterpret_cast<std::uintptr_t>(row) % 16 / sizeof(S));
  const int64_t first = behind == 0 ? 0 : size - behind, head = first < cols ? first : cols;
  const int64_t end = head + (cols - head) / size * size;
  int64_t column = head + int64_t{threadIdx.x} * size;
  for (; column + step < end; column += 2 * step) {
    const auto one = load(column, whole), other = load(column + step, whole);
    use(column, whole, one);
    use(column + step, whole, other);
  }
  if (column < end) use(column, whole, load(column, whole));
  const int64_t single = int64_t{threadIdx.x} < head ? int64_t{threadIdx.x} : end - head + threadIdx.x;
  if (single < cols) use(single, Count<1>(), load(single, Count<1>()));
}
/// Whether p is a multiple of 16 bytes.
template <class S>
__device__ __forceinline__ bool begins_pack(const S* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
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
