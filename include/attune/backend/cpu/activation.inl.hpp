#pragma once

#include <cmath>
#include <numbers>

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/row.hpp>

namespace attune::cpu {

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
/// Phi(x), the normal distribution.
inline float normal_distribution(float x) {
  return 0.5f * (1.0f + std::erf(x * (std::numbers::sqrt2_v<float> / 2.0f)));
}
inline float normal_density(float x) {
  return (std::numbers::inv_sqrtpi_v<float> / std::numbers::sqrt2_v<float>)*std::exp(-0.5f * x * x);
}
inline constexpr float sqrt_2_over_pi = std::numbers::sqrt2_v<float> * std::numbers::inv_sqrtpi_v<float>;
inline constexpr float gelu_tanh_cubic = 0.044715f;
inline float gelu_tanh_inner(float x) { return sqrt_2_over_pi * (x + gelu_tanh_cubic * x * x * x); }

template <class F>
void map_row(const float* x, float* y, std::int64_t n, const F& f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}
template <class F>
void map_rows(const float* x, const float* z, float* y, std::int64_t n, const F& f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i], z[i]);
}

ATTUNE_INLINE void activate(Unary op, const float* x, float* y, std::int64_t n) {
  switch (op) {
    case Unary::identity:
      return narrow(x, y, n);
    case Unary::negate:
      return map_row(x, y, n, [](float v) { return -v; });
    case Unary::exp:
      return map_row(x, y, n, [](float v) { return std::exp(v); });
    case Unary::log:
      return map_row(x, y, n, [](float v) { return std::log(v); });
    case Unary::sqrt:
      return map_row(x, y, n, [](float v) { return std::sqrt(v); });
    case Unary::tanh:
      return map_row(x, y, n, [](float v) { return std::tanh(v); });
    case Unary::sigmoid:
      return map_row(x, y, n, [](float v) { return sigmoid(v); });
    case Unary::relu:
      return map_row(x, y, n, [](float v) { return v <= 0.0f ? 0.0f : v; });  // NaN stays NaN
    case Unary::gelu:
      return map_row(x, y, n, [](float v) { return v * normal_distribution(v); });
    case Unary::gelu_tanh:
      return map_row(x, y, n, [](float v) { return 0.5f * v * (1.0f + std::tanh(gelu_tanh_inner(v))); });
    case Unary::silu:
      return map_row(x, y, n, [](float v) { return v * sigmoid(v); });
  }
}

ATTUNE_INLINE void activate_backward(Unary op, const float* saved, const float* dy, float* dx,
                                     std::int64_t n) {
  switch (op) {
    case Unary::identity:
      return narrow(dy, dx, n);
    case Unary::negate:
      return map_row(dy, dx, n, [](float d) { return -d; });
    case Unary::exp:
      return map_rows(saved, dy, dx, n, [](float y, float d) { return d * y; });
    case Unary::log:
      return map_rows(saved, dy, dx, n, [](float x, float d) { return d / x; });
    case Unary::sqrt:
      return map_rows(saved, dy, dx, n, [](float y, float d) { return 0.5f * d / y; });
    case Unary::tanh:
      return map_rows(saved, dy, dx, n, [](float y, float d) { return d * (1.0f - y * y); });
    case Unary::sigmoid:
      return map_rows(saved, dy, dx, n, [](float y, float d) { return d * y * (1.0f - y); });
    case Unary::relu:
      return map_rows(saved, dy, dx, n, [](float y, float d) { return y > 0.0f ? d : 0.0f; });
    case Unary::gelu:
      return map_rows(saved, dy, dx, n,
                      [](float x, float d) { return d * (normal_distribution(x) + x * normal_density(x)); });
    case Unary::gelu_tanh:
      return map_rows(saved, dy, dx, n, [](float x, float d) {
        const float t = std::tanh(gelu_tanh_inner(x));
        const float slope = sqrt_2_over_pi * (1.0f + 3.0f * gelu_tanh_cubic * x * x);
        return d * (0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope);
      });
    case Unary::silu:
      return map_rows(saved, dy, dx, n, [](float x, float d) {
        const float s = sigmoid(x);
        return d * s * (1.0f + x * (1.0f - s));
      });
  }
}

ATTUNE_INLINE void exp_shifted(const float* x, float shift, float* y, std::int64_t n) {
  map_row(x, y, n, [shift](float v) { return std::exp(v - shift); });
}

}  // namespace attune::cpu
