#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/common.cuh>
#include <attune/backend/op_tags.hpp>

namespace attune::cuda {

__device__ __forceinline__ float sigmoid(float x) { return port::divide_fast(1.0f, 1.0f + expf(-x)); }
__device__ __forceinline__ float silu_slope(float x) {
  const float s = sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}

/// The normal distribution, Phi(x), and exp(-x^2 / 2). Phi is off by at most 3e-7: erfc by Abramowitz and
/// Stegun, "Handbook of mathematical functions", formula 7.1.26.
__device__ __forceinline__ float normal_distribution(float x, float& bell) {
  const float t = port::reciprocal_fast(1.0f + 0.23164189f * fabsf(x));  // 0.3275911 / sqrt(2)
  bell = port::exp2_fast(-0.72134752f * x * x);
  const float tail =
      bell * t *
      (0.127414796f + t * (-0.142248368f + t * (0.7107068705f + t * (-0.7265760135f + t * 0.5307027145f))));
  return x < 0.0f ? tail : 1.0f - tail;
}

/// What gelu's tanh form multiplies x by: (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)),
/// u = sqrt(2 / pi) (x + 0.044715 x^3).
__device__ __forceinline__ float gelu_tanh_factor(float x) {
  return port::reciprocal_fast(1.0f + port::exp2_fast(-2.3022082f * (x + 0.044715f * x * x * x)));
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
    case Unary::gelu: {
      float bell;
      return x * normal_distribution(x, bell);
    }
    case Unary::gelu_tanh:
      return x * gelu_tanh_factor(x);
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
    case Unary::gelu: {  // Phi(x) + x phi(x)
      float bell;
      const float phi = normal_distribution(saved, bell);
      return phi + saved * (0.39894228f * bell);
    }
    case Unary::gelu_tanh: {
      const float s = gelu_tanh_factor(saved);
      return s + saved * (s * (1.0f - s)) * (1.5957691f * (1.0f + 0.134145f * saved * saved));
    }
    case Unary::silu:
      return silu_slope(saved);
  }
  return 1.0f;
}

/// f(integral constant of op): chosen once for all numbers that a thread has, so that their instructions mix.
template <class F>
__device__ __forceinline__ void with_unary(Unary op, const F& f) {
  switch (op) {
    case Unary::identity:
      return f(std::integral_constant<Unary, Unary::identity>());
    case Unary::negate:
      return f(std::integral_constant<Unary, Unary::negate>());
    case Unary::exp:
      return f(std::integral_constant<Unary, Unary::exp>());
    case Unary::log:
      return f(std::integral_constant<Unary, Unary::log>());
    case Unary::sqrt:
      return f(std::integral_constant<Unary, Unary::sqrt>());
    case Unary::tanh:
      return f(std::integral_constant<Unary, Unary::tanh>());
    case Unary::sigmoid:
      return f(std::integral_constant<Unary, Unary::sigmoid>());
    case Unary::relu:
      return f(std::integral_constant<Unary, Unary::relu>());
    case Unary::gelu:
      return f(std::integral_constant<Unary, Unary::gelu>());
    case Unary::gelu_tanh:
      return f(std::integral_constant<Unary, Unary::gelu_tanh>());
    case Unary::silu:
      return f(std::integral_constant<Unary, Unary::silu>());
  }
}
template <int Count>
__device__ __forceinline__ void apply_unary(Unary op, float (&values)[Count]) {
  with_unary(op, [&](auto constant) {
#pragma unroll
    for (float& value : values) value = apply_unary(constant.value, value);
  });
}
template <int Count>
__device__ __forceinline__ void multiply_by_slopes(Unary op, const float (&saved)[Count],
                                                   float (&values)[Count]) {
  with_unary(op, [&](auto constant) {
#pragma unroll
    for (int k = 0; k < Count; ++k) values[k] *= unary_slope(constant.value, saved[k]);
  });
}

}  // namespace attune::cuda
