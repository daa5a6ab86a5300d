#pragma once

#include <algorithm>
#include <array>
#include <span>

#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

/// Sums over the rows of a matrix, for `K` vectors of `cols` numbers at once: parameter gradients of biases
/// and norms. body(begin, end, sums) adds the rows begin .. end to sums[k][0 .. cols), which start at zero.
/// Rows are cut in at most 64 chunks whose sums are added in order. outputs[k] may be empty: not wanted.
template <int K, class F>
void column_sums(std::int64_t rows, std::int64_t cols, const std::array<std::span<float>, K>& outputs,
                 bool accumulate, const F& body) {
  const std::int64_t grain = std::max(rows_per_task(cols), (rows + 63) / 64);
  const std::int64_t chunks = (rows + grain - 1) / grain;
  Scratch scratch;
  float* const partial = scratch.take<float>(chunks * K * cols);
  parallel_chunks(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    float* const sums = partial + begin / grain * K * cols;
    std::fill_n(sums, K * cols, 0.0f);
    std::array<float*, K> parts;
    for (int k = 0; k < K; ++k) parts[k] = sums + k * cols;
    body(begin, end, parts);
  });
  parallel_chunks(cols, 512, [&](std::int64_t begin, std::int64_t end) {
    for (int k = 0; k < K; ++k) {
      if (outputs[k].empty()) continue;
      float* const out = outputs[k].data();
      if (!accumulate) std::fill(out + begin, out + end, 0.0f);
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
        const float* const sums = partial + (chunk * K + k) * cols;
        kernels().rows.add(sums + begin, out + begin, end - begin);
      }
    }
  });
}

}  // namespace attune::cpu
