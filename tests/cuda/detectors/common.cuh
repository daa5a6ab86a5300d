#pragma once
#include <attune/backend/cuda/kernels/port.cuh>

#include "defects.hpp"

namespace port = attune::cuda::port;

inline cudaLaunchConfig_t launch_config(dim3 grid, dim3 block, size_t dynamic_shared_bytes = 0,
                                        cudaStream_t stream = nullptr) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = dynamic_shared_bytes;
  config.stream = stream;
  return config;
}

using bf16 = __nv_bfloat16;

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

// 16 bytes of T, moved by one instruction. (Needs -fno-strict-aliasing on the host.)
template <class T>
struct alignas(16) Vector {
  static constexpr int size = 16 / sizeof(T);
  T v[size];
};
template <class T>
__device__ __forceinline__ Vector<T> load16(const T* p) {
  return *reinterpret_cast<const Vector<T>*>(port::aligned16(p));
}
template <class T>
__device__ __forceinline__ void store16(T* p, const Vector<T>& v) {
  *reinterpret_cast<Vector<T>*>(port::aligned16(p)) = v;
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) v += port::shfl_xor(v, offset);
  return v;
}

// Sum over the block, in every thread. scratch holds Threads / 32 floats and may be reused at once.
template <int Threads, Defect D = Defect::none>
__device__ __forceinline__ float block_sum(float v, float* scratch) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int shift = D == Defect::shared_past_end ? Threads / 32 : 0;
  v = warp_sum(v);
  if (lane == 0) scratch[warp + shift] = v;
  port::sync_block();
  float sum = 0.f;
#pragma unroll
  for (int i = 0; i < Threads / 32; ++i) sum += scratch[i];
  if (D != Defect::missing_sync) port::sync_block();
  return sum;
}
