#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/cuda.hpp>
#include <attune/backend/cuda/kernels/port.cuh>
#include <attune/backend/view.hpp>

// What all kernels share: scalars, packs of 16 bytes, sums over warps and blocks, launches.

namespace attune::cuda {

using bf16 = __nv_bfloat16;

// ---- scalars: kernels see the toolkit's bfloat16, callers attune's, which has the same bits ----
template <class T>
struct ScalarOf {
  using type = T;
};
template <>
struct ScalarOf<bfloat16> {
  using type = bf16;
};
template <>
struct ScalarOf<const bfloat16> {
  using type = const bf16;
};
template <class T>
using Scalar = typename ScalarOf<T>::type;
template <class T>
Scalar<T>* raw(T* p) {
  return reinterpret_cast<Scalar<T>*>(p);
}

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return __float2bfloat16(x);
}
/// As it will be read back.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  return to_float(from_float<T>(x));
}

// ---- packs: 16 bytes of T as floats ----
template <class T>
inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));
template <class T>
struct alignas(16) Vector {
  T v[pack_size<T>];
};
template <class T>
struct Pack {
  static constexpr int size = pack_size<T>;
  float v[size];
};
/// The first `count` elements at p (the others are 0), in one access where there are enough and `aligned`
/// says that p is a multiple of 16 bytes.
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* p, int64_t count, bool aligned) {
  Pack<T> pack;
  if (aligned && count >= Pack<T>::size) {
    const Vector<T> vector = *reinterpret_cast<const Vector<T>*>(port::aligned16(p));
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) pack.v[k] = to_float(vector.v[k]);
  } else {
#pragma unroll
    for (int k = 0; k < Pack<T>::size; ++k) pack.v[k] = k < count ? to_float(p[k]) : 0.0f;
  }
  return pack;
}
/// Two bfloat16 in a word, the first in its lower half.
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
/// A pack as it is stored.
__device__ __forceinline__ uint4 words_of(const Pack<float>& pack) {
  uint4 words;
  memcpy(&words, pack.v, sizeof words);
  return words;
}
__device__ __forceinline__ uint4 words_of(const Pack<bf16>& pack) {
  return make_uint4(bf16_pair(pack.v[0], pack.v[1]), bf16_pair(pack.v[2], pack.v[3]),
                    bf16_pair(pack.v[4], pack.v[5]), bf16_pair(pack.v[6], pack.v[7]));
}
template <class T>
__device__ __forceinline__ Pack<T> pack_of(const uint4& words) {
  T elements[pack_size<T>];
  memcpy(static_cast<void*>(elements), &words, sizeof words);
  Pack<T> pack;
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k) pack.v[k] = to_float(elements[k]);
  return pack;
}
template <class T>
__device__ __forceinline__ void store_elements(T* p, const Pack<T>& pack, int64_t count) {
#pragma unroll
  for (int k = 0; k < Pack<T>::size; ++k)
    if (k < count) p[k] = from_float<T>(pack.v[k]);
}
template <class T>
__device__ __forceinline__ void store_pack(T* p, const Pack<T>& pack, int64_t count, bool aligned) {
  if (aligned && count >= Pack<T>::size)
    *reinterpret_cast<uint4*>(port::aligned16(p)) = words_of(pack);
  else
    store_elements(p, pack, count);
}
/// The same to global memory, by one instruction even where the compiler would make several of store_pack's.
template <class T>
__device__ __forceinline__ void store_global_pack(T* p, const Pack<T>& pack, int64_t count, bool aligned) {
  if (aligned && count >= Pack<T>::size)
    port::store_global16(p, words_of(pack));
  else
    store_elements(p, pack, count);
}

/// `Count` elements, a number of whole packs, as load_pack and store_pack handle one: for kernels of which
/// arrays differ in type.
template <int Count, class T>
__device__ __forceinline__ void load_packs(const T* p, int64_t count, bool aligned, float (&values)[Count]) {
  static_assert(Count % pack_size<T> == 0);
#pragma unroll
  for (int at = 0; at < Count; at += pack_size<T>) {
    const Pack<T> pack = load_pack(p + at, count - at, aligned);
#pragma unroll
    for (int k = 0; k < pack_size<T>; ++k) values[at + k] = pack.v[k];
  }
}
template <int Count, class T>
__device__ __forceinline__ void store_packs(T* p, const float (&values)[Count], int64_t count, bool aligned) {
  static_assert(Count % pack_size<T> == 0);
#pragma unroll
  for (int at = 0; at < Count; at += pack_size<T>) {
    Pack<T> pack;
#pragma unroll
    for (int k = 0; k < pack_size<T>; ++k) pack.v[k] = values[at + k];
    store_pack(p + at, pack, count - at, aligned);
  }
}

// ---- matrices as kernel arguments ----
template <class T>
struct Rows {
  T* data;
  int64_t stride;
  bool aligned;  ///< every row begins at a multiple of 16 bytes

  __device__ __forceinline__ T* row(int64_t r) const { return data + r * stride; }
  __device__ __forceinline__ explicit operator bool() const { return data != nullptr; }
  /// Where `aligned` is known to be true: the compiler then drops the slow paths.
  __device__ __forceinline__ Rows known_aligned() const { return {data, stride, true}; }
};
template <class T>
bool is_aligned16(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}
template <class T>
Rows<Scalar<T>> rows_of(MatrixView<T> view) {
  const bool aligned =
      is_aligned16(view.data) && view.stride * static_cast<std::int64_t>(sizeof(T)) % 16 == 0;
  return {raw(view.data), view.stride, aligned};
}
/// One row, or none.
template <class T>
Rows<Scalar<T>> row_of(std::span<T> span) {
  return {raw(span.data()), 0, is_aligned16(span.data())};
}

/// The same in all lanes, and the compiler knows it: what is derived of it needs no registers of the lanes.
template <class T>
__device__ __forceinline__ T uniform(T value) {
  return port::shfl(value, 0);
}

// ---- sums and maxima, the same bits whatever the order of execution ----
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value += port::shfl_xor(value, offset);
  return value;
}
__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value += port::shfl_xor(value, offset);
  return value;
}
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) value = fmaxf(value, port::shfl_xor(value, offset));
  return value;
}
/// In every thread, over `Threads` of them that lie along x. `scratch` holds Threads / 32 elements and may be
/// reused at once; for one warp it is not touched.
template <int Threads, class V>
__device__ __forceinline__ V block_sum(V value, V* scratch) {
  value = warp_sum(value);
  if constexpr (Threads == 32) {
    return value;
  } else {
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    port::sync_block();
    V sum = 0;
#pragma unroll
    for (int warp = 0; warp < Threads / 32; ++warp) sum += scratch[warp];
    port::sync_block();
    return sum;
  }
}
template <int Threads>
__device__ __forceinline__ float block_max(float value, float* scratch) {
  value = warp_max(value);
  if constexpr (Threads == 32) {
    return value;
  } else {
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    port::sync_block();
    float largest = scratch[0];
#pragma unroll
    for (int warp = 1; warp < Threads / 32; ++warp) largest = fmaxf(largest, scratch[warp]);
    port::sync_block();
    return largest;
  }
}

// ---- launches ----
inline cudaLaunchConfig_t launch_config(const Context& context, dim3 grid, dim3 block,
                                        std::size_t shared_bytes = 0) {
  select_device(context.ordinal());
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = context.stream();
  return config;
}
inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
/// Blocks for kernels that stride over `pieces` of work: enough to fill a large device, no more.
inline constexpr std::int64_t filling_blocks = 8192;
inline unsigned grid_for(std::int64_t pieces) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(pieces, 1, filling_blocks));
}

// ---- elementwise work: functors over packs ----
inline constexpr int span_threads = 256;
/// f(offset of a pack, elements from there on).
template <class T, class F>
__global__ void __launch_bounds__(span_threads) over_span(F f, int64_t count) {
  const int64_t step = int64_t{gridDim.x} * span_threads * pack_size<T>;
  for (int64_t at = (int64_t{blockIdx.x} * span_threads + threadIdx.x) * pack_size<T>; at < count; at += step)
    f(at, count - at);
}
/// f(row, column of a pack, columns from there on). Threads lie along x over the packs of a row, along y over
/// rows.
inline constexpr int row_warps = 4;
template <class T, class F>
__global__ void __launch_bounds__(32 * row_warps) over_rows(F f, int64_t rows, int64_t cols) {
  const int64_t first = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * pack_size<T>;
  const int64_t step = int64_t{gridDim.y} * blockDim.x * pack_size<T>;
  for (int64_t row = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; row < rows;
       row += int64_t{gridDim.x} * blockDim.y)
#pragma unroll 1  // unrolled, functors with divisions spill
    for (int64_t column = first; column < cols; column += step) f(row, column, cols - column);
}

template <class T, class F>
void launch_over_span(const Context& context, std::int64_t count, const F& f) {
  if (count == 0) return;
  const auto config =
      launch_config(context, grid_for(ceil_div(count, span_threads * pack_size<T>)), span_threads);
  check(ATTUNE_LAUNCH(config, (over_span<T, F>), f, count), "elementwise kernel");
}
template <class T, class F>
void launch_over_rows(const Context& context, std::int64_t rows, std::int64_t cols, const F& f) {
  if (rows == 0 || cols == 0) return;
  // A warp a row; where rows are fewer (views that lie as one piece come as a single row), all warps of a
  // block at one, and as many blocks beside each other as it takes to fill the device.
  const dim3 block = rows < row_warps ? dim3(32 * row_warps, 1) : dim3(32, row_warps);
  const unsigned down = grid_for(ceil_div(rows, block.y));
  const auto across = std::min<std::int64_t>(ceil_div(cols, std::int64_t{block.x} * pack_size<T>),
                                             std::max<std::int64_t>(1, filling_blocks / down));
  const auto config = launch_config(context, dim3(down, static_cast<unsigned>(across)), block);
  check(ATTUNE_LAUNCH(config, (over_rows<T, F>), f, rows, cols), "row kernel");
}

}  // namespace attune::cuda
