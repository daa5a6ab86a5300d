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

}  // namespace attune::cpu
