#pragma once

// The only header through which kernels reach CUDA: intrinsics, shared memory, launches. nvcc sees the real
// ones; the tests' emulator offers the same names to a C++ compiler. Kernels have no #if of their own.
//
// Rules that keep one text right for both: block sizes are multiples of 32 and warp operations name all
// lanes; no return before a barrier, one barrier or warp operation a source line; shared memory is declared
// through ATTUNE_SHARED and ATTUNE_DYNAMIC_SHARED at the top of a kernel; 16-byte accesses go through
// port::aligned16.

#include <cstdint>

#if !defined(__CUDACC__)
#include <emulation/intrinsics.hpp>
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <utility>

// Without __CUDA_ARCH__ this is nvcc's host pass, which parses device functions but runs none.
#if defined(__CUDA_ARCH__)
#define ATTUNE_ASM(...) asm volatile(__VA_ARGS__)
#else
#define ATTUNE_ASM(...) static_cast<void>(0)
#endif

namespace attune::cuda::port {

// ---- block ----
__device__ __forceinline__ void sync_block() { __syncthreads(); }
__device__ __forceinline__ bool sync_block_or(bool predicate) { return __syncthreads_or(predicate) != 0; }

// ---- warp: always the full mask ----
__device__ __forceinline__ void sync_warp() { __syncwarp(); }
template <class T>
__device__ __forceinline__ T shfl(T value, int lane, int width = 32) {
  return __shfl_sync(~0u, value, lane, width);
}
template <class T>
__device__ __forceinline__ T shfl_xor(T value, int lane_mask, int width = 32) {
  return __shfl_xor_sync(~0u, value, lane_mask, width);
}
__device__ __forceinline__ unsigned ballot(bool predicate) { return __ballot_sync(~0u, predicate); }

// ---- memory order and atomics ----
__device__ __forceinline__ void fence_device() { __threadfence(); }
template <class T>
__device__ __forceinline__ T atomic_add(T* p, T value) {
  return atomicAdd(p, value);
}
template <class T>
__device__ __forceinline__ T atomic_exchange(T* p, T value) {
  return atomicExch(p, value);
}

// ---- arithmetic ----
__device__ __forceinline__ float rsqrt(float x) { return rsqrtf(x); }
/// Off by at most 2 ulp; 0 for divisors above 2^126.
__device__ __forceinline__ float divide_fast(float x, float y) { return __fdividef(x, y); }
/// Off by at most 1 ulp; what is below 2^-126 counts as 0.
__device__ __forceinline__ float reciprocal_fast(float x) {
  float y = 0.0f;
  ATTUNE_ASM("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// Off by at most 2^-22 of the value; what is below 2^-126 counts as 0.
__device__ __forceinline__ float exp2_fast(float x) {
  float y = 0.0f;
  ATTUNE_ASM("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
/// Of pi x.
__device__ __forceinline__ void sine_cosine_pi(float x, float& sine, float& cosine) {
  sincospif(x, &sine, &cosine);
}
/// The number of the lowest set bit; mask is not 0.
__device__ __forceinline__ int lowest_bit(unsigned mask) { return __ffs(static_cast<int>(mask)) - 1; }

// ---- 16-byte accesses: emulation checks the alignment ----
template <class T>
__device__ __forceinline__ T* aligned16(T* p) {
  return p;
}
/// A single store to global memory.
__device__ __forceinline__ void store_global16(void* p, const uint4& words) {
  ATTUNE_ASM("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(p)), "r"(words.x),
             "r"(words.y), "r"(words.z), "r"(words.w)
             : "memory");
}

/// Makes the compiler forget what it knows about the words: what follows from them is computed anew here, so
/// that registers hold them and not what was computed before.
__device__ __forceinline__ void forget(uint32_t& word) { ATTUNE_ASM("" : "+r"(word)); }
__device__ __forceinline__ void forget(uint4& words) {
  ATTUNE_ASM("" : "+r"(words.x), "+r"(words.y), "+r"(words.z), "+r"(words.w));
}

// ---- asynchronous copies from global to shared memory, of 16 bytes or of 4 or 8 ----
/// Zeros instead of what is not present, which is not read.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, bool present = true) {
  ATTUNE_ASM("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                 static_cast<unsigned>(__cvta_generic_to_shared(shared))),
             "l"(global), "r"(present ? 16 : 0)
             : "memory");
}
template <int Bytes>
__device__ __forceinline__ void cp_async_small(void* shared, const void* global) {
  static_assert(Bytes == 4 || Bytes == 8);
  ATTUNE_ASM("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(
                 static_cast<unsigned>(__cvta_generic_to_shared(shared))),
             "l"(global), "n"(Bytes)
             : "memory");
}
__device__ __forceinline__ void cp_async_commit() { ATTUNE_ASM("cp.async.commit_group;" ::: "memory"); }
template <int Pending>  // at most this many of the latest groups may still be under way
__device__ __forceinline__ void cp_async_wait() {
  ATTUNE_ASM("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// ---- 8x8 matrices of 16-bit elements from shared memory to a warp's registers ----
// Lane l gives the address of 16-byte row l % 8 of matrix l / 8, and gets of matrix m in r[m]: of row l / 4
// the elements 2 (l % 4) and the next; transposed, of column l / 4 those of rows 2 (l % 4) and the next.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  ATTUNE_ASM("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
             : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
             : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  ATTUNE_ASM("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
             : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
             : "memory");
}

// ---- tensor cores: D(16x8) = A(16x16, row) B(16x8, col) + C; fragments as in the PTX ISA ----
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                             const float (&c)[4]) {
  ATTUNE_ASM(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}

template <class... Params, class... Args>
cudaError_t launch(const cudaLaunchConfig_t& config, void (*kernel)(Params...), Args&&... args) {
  return cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...);
}

}  // namespace attune::cuda::port

#define ATTUNE_SHARED(T, name, count) __shared__ __align__(16) T name[count]
#define ATTUNE_DYNAMIC_SHARED(T, name)                                     \
  extern __shared__ __align__(128) unsigned char attune_dynamic_shared_[]; \
  T* name = reinterpret_cast<T*>(attune_dynamic_shared_)
   // Put parentheses around a kernel whose name has commas.
#define ATTUNE_LAUNCH(config, kernel, ...) \
  ::attune::cuda::port::launch(config, kernel __VA_OPT__(, ) __VA_ARGS__)
#endif
