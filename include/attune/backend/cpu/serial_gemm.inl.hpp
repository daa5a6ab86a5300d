#pragma once

#include <attune/backend/cpu/gemm.inl.hpp>
#include <attune/backend/cpu/serial_gemm.hpp>

namespace attune::cpu {

ATTUNE_INLINE void serial_gemm(std::int64_t rows, std::int64_t cols, std::int64_t depth, float alpha,
                               FloatOperand a, FloatOperand b, float beta, float* c, std::int64_t stride) {
  if (rows == 0 || cols == 0) return;
  MatmulOptions options;
  options.alpha = alpha;
  options.beta = beta;
  Product<float, float>(kernels(), rows, cols, depth, {a.data, a.stride, !a.transposed},
                        {b.data, b.stride, b.transposed}, {c, rows, cols, stride}, options, {}, 1)
      .run(nullptr);
}

}  // namespace attune::cpu
