#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/parallel.hpp>

// Rows of contiguous numbers: what kernels are made of. Loops are written so that compilers vectorise them
// without being allowed to reorder sums: sums run in 16 lanes that are added in a fixed tree.

namespace attune::cpu {

/// Elements that one task works on; the same for every number of threads.
inline constexpr std::int64_t task_size = 16384;

/// Rows of `cols` elements per task.
inline std::int64_t rows_per_task(std::int64_t cols) {
  return std::max<std::int64_t>(1, task_size / std::max<std::int64_t>(1, cols));
}

inline constexpr int lanes = 16;

/// sum of term(i) for i < n, in lanes.
template <class F>
float lane_sum(std::int64_t n, const F& term) {
  float sums[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += term(i + lane);
  for (int lane = 0; i + lane < n; ++lane) sums[lane] += term(i + lane);
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

inline void widen(const bfloat16* from, float* to, std::int64_t n) { kernels().rows.widen(from, to, n); }
inline void widen(const float* from, float* to, std::int64_t n) {
  if (n > 0) std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
}

inline void narrow(const float* from, bfloat16* to, std::int64_t n) { kernels().rows.narrow(from, to, n); }
inline void narrow(const float* from, float* to, std::int64_t n) {
  if (n > 0) std::memmove(to, from, static_cast<std::size_t>(n) * sizeof(float));
}

/// The row as floats: itself, or widened into `buffer` (n floats; unused for float).
inline const float* as_floats(const float* row, std::int64_t, float*) { return row; }
inline const float* as_floats(const bfloat16* row, std::int64_t n, float* buffer) {
  widen(row, buffer, n);
  return buffer;
}

/// Where a row's floats are computed: in the row itself, or in `buffer`, from where store() rounds them.
inline float* float_target(float* row, float*) { return row; }
inline float* float_target(bfloat16*, float* buffer) { return buffer; }
inline void store(const float*, float*, std::int64_t) {}
inline void store(const float* buffer, bfloat16* row, std::int64_t n) { narrow(buffer, row, n); }

}  // namespace attune::cpu
