#pragma once

#include <cstdint>

#include <attune/core/inline.hpp>

namespace attune::cpu {

/// A float operand of serial_gemm: element (r, c) is data[r * stride + c], or data[c * stride + r] when
/// transposed.
struct FloatOperand {
  const float* data;
  std::int64_t stride;
  bool transposed = false;
};

/// c = alpha a b + beta c in the calling thread: a is rows x depth, b is depth x cols, c has `stride`.
/// beta = 0 overwrites c without reading it.
void serial_gemm(std::int64_t rows, std::int64_t cols, std::int64_t depth, float alpha, FloatOperand a,
                 FloatOperand b, float beta, float* c, std::int64_t stride);

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/serial_gemm.inl.hpp>
#endif
