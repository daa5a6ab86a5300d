#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include <attune/backend/op_tags.hpp>
#include <attune/backend/view.hpp>
#include <attune/core/shape.hpp>

namespace attune::reference {

/// Calls f(index) for every index of `shape`, the last dimension fastest.
template <class F>
void for_each_index(const Shape& shape, const F& f) {
  Shape index = shape;
  for (int dim = 0; dim < shape.rank(); ++dim) index[dim] = 0;
  for (std::int64_t count = shape.size(); count > 0; --count) {
    f(index);
    for (int dim = shape.rank() - 1; dim >= 0 && ++index[dim] == shape[dim]; --dim) index[dim] = 0;
  }
}

template <class T>
T& element(const StridedView<T>& view, const Shape& index) {
  std::int64_t offset = 0;
  for (int dim = 0; dim < index.rank(); ++dim) offset += index[dim] * view.strides[dim];
  return view.data[offset];
}

inline double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
inline double normal_density(double x) {
  return std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}
inline double normal_distribution(double x) { return 0.5 * (1.0 + std::erf(x / std::numbers::sqrt2)); }

/// gelu's tanh approximation: 0.5 x (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
  static constexpr double sqrt_2_over_pi = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  static double inner(double x) { return sqrt_2_over_pi * (x + 0.044715 * x * x * x); }
  static double value(double x) { return 0.5 * x * (1.0 + std::tanh(inner(x))); }
  static double derivative(double x) {
    const double t = std::tanh(inner(x));
    const double inner_derivative = sqrt_2_over_pi * (1.0 + 3.0 * 0.044715 * x * x);
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_derivative;
  }
};

inline double apply(Unary op, double x) {
  switch (op) {
    case Unary::identity:
      return x;
    case Unary::negate:
      return -x;
    case Unary::exp:
      return std::exp(x);
    case Unary::log:
      return std::log(x);
    case Unary::sqrt:
      return std::sqrt(x);
    case Unary::tanh:
      return std::tanh(x);
    case Unary::sigmoid:
      return sigmoid(x);
    case Unary::relu:
      return x <= 0.0 ? 0.0 : x;  // NaN stays NaN
    case Unary::gelu:
      return x * normal_distribution(x);
    case Unary::gelu_tanh:
      return GeluTanh::value(x);
    case Unary::silu:
      return x * sigmoid(x);
  }
  return x;
}

/// f'(x), from the input or the output as saves(op) says.
inline double derivative(Unary op, double saved) {
  switch (op) {
    case Unary::identity:
      return 1.0;
    case Unary::negate:
      return -1.0;
    case Unary::exp:  // y
      return saved;
    case Unary::log:  // 1 / x
      return 1.0 / saved;
    case Unary::sqrt:  // 1 / (2 y)
      return 0.5 / saved;
    case Unary::tanh:  // 1 - y^2
      return 1.0 - saved * saved;
    case Unary::sigmoid:  // y (1 - y)
      return saved * (1.0 - saved);
    case Unary::relu:
      return saved > 0.0 ? 1.0 : 0.0;
    case Unary::gelu:  // Phi(x) + x phi(x)
      return normal_distribution(saved) + saved * normal_density(saved);
    case Unary::gelu_tanh:
      return GeluTanh::derivative(saved);
    case Unary::silu: {  // s(x) (1 + x (1 - s(x)))
      const double s = sigmoid(saved);
      return s * (1.0 + saved * (1.0 - s));
    }
  }
  return 1.0;
}

/// What dropout multiplies element (row, column) of a matrix with; see DropoutView.
inline double dropout_factor(const DropoutView& dropout, std::int64_t row, std::int64_t column) {
  if (!dropout) return 1.0;
  const Philox::Counter words = Philox::generate(
      {static_cast<std::uint32_t>(column / 4), static_cast<std::uint32_t>(dropout.positions[row]),
       static_cast<std::uint32_t>(dropout.samples[row]), dropout.site << 16},
      dropout.key);
  return words[static_cast<std::size_t>(column % 4)] < dropout.threshold() ? 0.0 : double{dropout.scale()};
}

/// The same for an attention weight; `key_position` is the position of the key row.
inline double attention_dropout_factor(const DropoutView& dropout, std::int64_t query_row,
                                       std::int32_t key_position, std::int64_t head) {
  if (!dropout) return 1.0;
  const auto p = static_cast<std::uint32_t>(key_position);
  const Philox::Counter words =
      Philox::generate({p / 4, static_cast<std::uint32_t>(dropout.positions[query_row]),
                        static_cast<std::uint32_t>(dropout.samples[query_row]),
                        (dropout.site << 16) | static_cast<std::uint32_t>(head + 1)},
                       dropout.key);
  return words[p % 4] < dropout.threshold() ? 0.0 : double{dropout.scale()};
}

}  // namespace attune::reference
