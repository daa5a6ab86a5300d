#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <vector>

#include <attune/backend/cpu/isa.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/parallel.hpp>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The peaks of this machine at this moment: multiply-adds on registers alone, and streams from memory.

namespace attune::bench {

/// Seconds. With one thread the time that this process computed, which other programs disturb less.
inline double now() {
  timespec time{};
  clock_gettime(num_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// GB/s of all threads adding one array to another, both far larger than the caches: two reads and a write.
inline double bandwidth() {
  constexpr std::int64_t floats = 16 << 20, task = 1 << 16;
  static const std::vector<float> from(floats, 1.0f);
  static std::vector<float> to(floats, 0.0f);
  const double begin = now();
  parallel_chunks(floats, task, [&](std::int64_t first, std::int64_t last) {
    cpu::kernels().rows.add(from.data() + first, to.data() + first, last - first);
  });
  return static_cast<double>(floats) * 12 / (now() - begin) * 1e-9;
}

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#endif

inline constexpr int chains = 14;  // independent sums, more than latency times throughput

inline void float512_loop(std::int64_t rounds, float* out) {
  const __m512 x = _mm512_set1_ps(1.0001f), y = _mm512_set1_ps(0.9999f);
  __m512 sums[chains];
#pragma GCC unroll 14
  for (int i = 0; i < chains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 14
    for (int i = 0; i < chains; ++i) sums[i] = _mm512_fmadd_ps(x, y, sums[i]);
  }
#pragma GCC unroll 14
  for (int i = 0; i < chains; ++i) _mm512_storeu_ps(out + 16 * i, sums[i]);
}

inline void bfloat16_loop(std::int64_t rounds, float* out) {
  const __m512 x = _mm512_set1_ps(1.0001f), y = _mm512_set1_ps(0.9999f);
  __m512 sums[chains];
#pragma GCC unroll 14
  for (int i = 0; i < chains; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 14
    for (int i = 0; i < chains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)x, (__m512bh)y);
  }
#pragma GCC unroll 14
  for (int i = 0; i < chains; ++i) _mm512_storeu_ps(out + 16 * i, sums[i]);
}

inline void float256_loop(std::int64_t rounds, float* out) {
  const __m256 x = _mm256_set1_ps(1.0001f), y = _mm256_set1_ps(0.9999f);
  __m256 sums[chains];
#pragma GCC unroll 14
  for (int i = 0; i < chains; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 14
    for (int i = 0; i < chains; ++i) sums[i] = _mm256_fmadd_ps(x, y, sums[i]);
  }
#pragma GCC unroll 14
  for (int i = 0; i < chains; ++i) _mm256_storeu_ps(out + 8 * i, sums[i]);
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

/// GFLOP/s of the active instruction set with float or bfloat16 operands, from a few milliseconds; 0 where
/// there is no loop for it.
inline double peak(bool in_bfloat16) {
  const cpu::Isa isa = cpu::active_isa();
  if (isa == cpu::Isa::generic) return 0;
  const bool pairs = in_bfloat16 && isa == cpu::Isa::avx512_bf16;
  const int width = isa == cpu::Isa::avx2 ? 8 : 16;
  constexpr std::int64_t rounds = 50000;
  const std::int64_t tasks = 4 * num_threads();
  const double begin = now();
  parallel_for(tasks, [&](std::int64_t) {
    float out[16 * chains];
    if (pairs)
      bfloat16_loop(rounds, out);
    else if (width == 16)
      float512_loop(rounds, out);
    else
      float256_loop(rounds, out);
    volatile float kept = out[0];
    static_cast<void>(kept);
  });
  const double seconds = now() - begin;
  return static_cast<double>(tasks * rounds * chains) * width * (pairs ? 4 : 2) / seconds * 1e-9;
}

#else

inline double peak(bool) { return 0; }

#endif

}  // namespace attune::bench
