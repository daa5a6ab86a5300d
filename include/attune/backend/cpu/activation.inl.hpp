#pragma once

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/kernels.hpp>

namespace attune::cpu {

ATTUNE_INLINE void activate(Unary op, const float* x, float* y, std::int64_t n) {
  kernels().elements<float>().unary(op, x, y, n);
}

ATTUNE_INLINE void activate_backward(Unary op, const float* saved, const float* dy, float* dx,
                                     std::int64_t n) {
  kernels().elements<float>().unary_backward(op, saved, dy, dx, n);
}

ATTUNE_INLINE void exp_shifted(const float* x, float shift, float* y, std::int64_t n) {
  kernels().rows.exp_minus(x, shift, y, n);
}

}  // namespace attune::cpu
