#pragma once

#include <attune/backend/cuda/kernels/common.cuh>
#include <attune/backend/op_tags.hpp>

namespace attune::cuda {

__device__ __forceinline__ float sigmoid(float x) { return port::divide_fast(1.0f, 1.0f + expf(-x)); }
__device__ __forceinline__ float silu_slope(float x) {
  const float s = sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}

__device__ __forceinline__ float apply_unary(Unary op, float x) {
  switch (op) {
    case Unary::identity:
      return x;
    case Unary::negate:
      return -x;
    case Unary::exp:
      return expf(x);
    case Unary::log:
      return logf(x);
    case Unary::sqrt:
      return sqrtf(x);
    case Unary::tanh:
      return tanhf(x);
    case Unary::sigmoid:
      return sigmoid(x);
    case Unary::relu:
      return x <= 0.0f ? 0.0f : x;  // NaN stays NaN
    case Unary::gelu:
      return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case Unary::gelu_tanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Unary::silu:
      return x * sigmoid(x);
  }
  return x;
}

/// f'(x), from the input or the output as saves(op) says.
__device__ __forceinline__ float unary_slope(Unary op, float saved) {
  switch (op) {
    case Unary::identity:
      return 1.0f;
    case Unary::negate:
      return -1.0f;
    case Unary::exp:
      return saved;
    case Unary::log:
      return 1.0f / saved;
    case Unary::sqrt:
      return 0.5f / saved;
    case Unary::tanh:
      return 1.0f - saved * saved;
    case Unary::sigmoid:
      return saved * (1.0f - saved);
    case Unary::relu:
      return saved > 0.0f ? 1.0f : 0.0f;
    case Unary::gelu:  // Phi(x) + x phi(x)
      return 0.5f * (1.0f + erff(saved * 0.70710678f)) + saved * 0.39894228f * expf(-0.5f * saved * saved);
    case Unary::gelu_tanh: {
      const float t = tanhf(0.79788456f * (saved + 0.044715f * saved * saved * saved));
      const float inner = 0.79788456f * (1.0f + 0.134145f * saved * saved);
      return 0.5f * (1.0f + t) + 0.5f * saved * (1.0f - t * t) * inner;
    }
    case Unary::silu:
      return silu_slope(saved);
  }
  return 1.0f;
}

}  // namespace attune::cuda
