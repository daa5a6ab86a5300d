// The emulated half of namespace attune::cuda::port (attune/backend/cuda/kernels/port.cuh holds the nvcc
// half, with the same names).
//
// This file is compiled with the kernels, hence with the sanitizer: the memory accesses made here
// are the CUDA thread's own. The engine behind it is compiled without -fsanitize=thread.
#pragma once
#include <cmath>
#include <cstring>

#include <emulation/emulator.hpp>

namespace attune::cuda::port {
namespace emu = ::cuda_emulation;
using emu::Site;

// ---- block ----
inline void sync_block(Site site = Site::here()) { emu::barrier(emu::BarrierResult::none, false, site); }
inline int sync_block_count(bool predicate, Site site = Site::here()) {
  return emu::barrier(emu::BarrierResult::count, predicate, site);
}
inline bool sync_block_and(bool predicate, Site site = Site::here()) {
  return emu::barrier(emu::BarrierResult::all, predicate, site) != 0;
}
inline bool sync_block_or(bool predicate, Site site = Site::here()) {
  return emu::barrier(emu::BarrierResult::any, predicate, site) != 0;
}

// ---- warp: always the full mask ----
inline void sync_warp(Site site = Site::here()) {
  emu::warp_operation(~0u, emu::WarpOp::sync, "sync_warp", site);
}
template <class T>
T shuffle(emu::WarpOp op, const char* name, T value, int argument, int width, Site site) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  emu::Lane& lane = *emu::current;
  lane.value = 0;
  std::memcpy(&lane.value, &value, sizeof value);
  lane.argument = argument;
  lane.width = width;
  emu::warp_operation(~0u, op, name, site);
  std::memcpy(&value, &lane.result, sizeof value);
  return value;
}
template <class T>
T shfl(T value, int lane, int width = 32, Site site = Site::here()) {
  return shuffle(emu::WarpOp::shuffle_idx, "shfl", value, lane, width, site);
}
template <class T>
T shfl_up(T value, int delta, int width = 32, Site site = Site::here()) {
  return shuffle(emu::WarpOp::shuffle_up, "shfl_up", value, delta, width, site);
}
template <class T>
T shfl_down(T value, int delta, int width = 32, Site site = Site::here()) {
  return shuffle(emu::WarpOp::shuffle_down, "shfl_down", value, delta, width, site);
}
template <class T>
T shfl_xor(T value, int lane_mask, int width = 32, Site site = Site::here()) {
  return shuffle(emu::WarpOp::shuffle_xor, "shfl_xor", value, lane_mask, width, site);
}
inline unsigned ballot(bool predicate, Site site = Site::here()) {
  emu::current->value = predicate;
  emu::warp_operation(~0u, emu::WarpOp::ballot, "ballot", site);
  return static_cast<unsigned>(emu::current->result);
}

// ---- memory order and atomics ----
inline void fence_device() { emu::fence(); }

template <class T, class F>
T read_modify_write(T* p, F next) {
  T old, desired;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  do {
    desired = next(old);
  } while (!__atomic_compare_exchange(p, &old, &desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  emu::after_atomic(p);  // CUDA atomics are relaxed: order comes from fences only
  return old;
}
template <class T>
T atomic_add(T* p, T value) {
  return read_modify_write(p, [=](T old) { return T(old + value); });
}
template <class T>
T atomic_max(T* p, T value) {
  return read_modify_write(p, [=](T old) { return old < value ? value : old; });
}
template <class T>
T atomic_exchange(T* p, T value) {
  return read_modify_write(p, [=](T) { return value; });
}

// ---- arithmetic ----
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline float divide_fast(float x, float y) { return x / y; }
inline float reciprocal_fast(float x) { return 1.0f / x; }
inline float exp2_fast(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}
inline void sine_cosine_pi(float x, float& sine, float& cosine) {
  sine = static_cast<float>(std::sin(3.141592653589793 * static_cast<double>(x)));
  cosine = static_cast<float>(std::cos(3.141592653589793 * static_cast<double>(x)));
}
inline int lowest_bit(unsigned mask) { return __builtin_ctz(mask); }

// ---- 16-byte accesses (clang's UBSan does not check the alignment of structure copies) ----
template <class T>
T* aligned16(T* p) {
  if (reinterpret_cast<uintptr_t>(p) % 16) emu::fail("16-byte access to a misaligned address");
  return p;
}
inline void store_global16(void* p, const uint4& words) { *static_cast<uint4*>(aligned16(p)) = words; }
inline void forget(uint32_t&) {}
inline void forget(uint4&) {}

// ---- asynchronous copies: made only at the wait that covers them, until then NaN ----
inline void cp_async(void* shared, const void* global, size_t bytes) {
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % bytes)
    emu::fail("asynchronous copy of ", bytes, " bytes at a misaligned address");
  std::memset(shared, 0xff, bytes);
  emu::cp_async_issue({shared, global, bytes});
}
inline void cp_async16(void* shared, const void* global, bool present = true) {
  alignas(16) static const unsigned char zeros[16] = {};
  cp_async(shared, present ? global : zeros, 16);
}
template <int Bytes>
void cp_async_small(void* shared, const void* global) {
  static_assert(Bytes == 4 || Bytes == 8);
  cp_async(shared, global, Bytes);
}
inline void cp_async_commit() { emu::cp_async_commit(); }
template <int Pending>
void cp_async_wait() {
  emu::AsyncCopy copy;
  while (emu::cp_async_next(Pending, &copy)) std::memcpy(copy.target, copy.source, copy.bytes);
}

// ---- 8x8 matrices from shared memory: lanes exchange the addresses of rows, each reads what it gets ----
inline const unsigned char* matrix_row(const void* row, int lane, Site site) {
  const auto address =
      shuffle(emu::WarpOp::shuffle_idx, "ldmatrix", reinterpret_cast<uintptr_t>(row), lane, 32, site);
  return reinterpret_cast<const unsigned char*>(address);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, Site site = Site::here()) {
  aligned16(row);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int m = 0; m < 4; ++m) std::memcpy(&r[m], matrix_row(row, 8 * m + lane / 4, site) + lane % 4 * 4, 4);
}
inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, Site site = Site::here()) {
  aligned16(row);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int m = 0; m < 4; ++m) {
    uint16_t halves[2];
    for (int h = 0; h < 2; ++h)
      std::memcpy(&halves[h], matrix_row(row, 8 * m + lane % 4 * 2 + h, site) + lane / 4 * 2, 2);
    std::memcpy(&r[m], halves, 4);
  }
}

// ---- tensor cores ----
inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                         Site site = Site::here()) {
  emu::MmaOperands operands{a, b, c, d};
  emu::current->mma = &operands;
  emu::warp_operation(~0u, emu::WarpOp::mma, "mma_m16n8k16", site);
}

}  // namespace attune::cuda::port

// The static in the lambda is one key per declaration and template instantiation.
#define ATTUNE_SHARED(T, name, count)                        \
  T* name = static_cast<T*>(::cuda_emulation::static_shared( \
      []() -> const void* {                                  \
        static char key;                                     \
        return &key;                                         \
      }(),                                                   \
      sizeof(T) * (count)))
#define ATTUNE_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(::cuda_emulation::dynamic_shared())

// A macro, because the kernel's name is reported. Put parentheses around a kernel with commas.
#define ATTUNE_LAUNCH(config, kernel, ...) \
  ::cuda_emulation::launch(config, #kernel, kernel __VA_OPT__(, ) __VA_ARGS__)
