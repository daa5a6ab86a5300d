#pragma once

#include <cstdint>

namespace attune {

/// Elementwise functions of one argument.
enum class Unary : std::uint8_t {
  identity,
  negate,
  exp,
  log,
  sqrt,
  tanh,
  sigmoid,
  relu,
  gelu,       ///< x Phi(x), exact through erf. Hendrycks and Gimpel 2016, arXiv:1606.08415
  gelu_tanh,  ///< its tanh approximation: "gelu_new", "gelu_pytorch_tanh"
  silu,       ///< x sigmoid(x)
};

/// What a unary function's backward reads beside the gradient.
enum class Saves : std::uint8_t { nothing, input, output };

constexpr Saves saves(Unary op) {
  switch (op) {
    case Unary::identity:
    case Unary::negate:
      return Saves::nothing;
    case Unary::exp:
    case Unary::sqrt:
    case Unary::tanh:
    case Unary::sigmoid:
    case Unary::relu:
      return Saves::output;
    case Unary::log:
    case Unary::gelu:
    case Unary::gelu_tanh:
    case Unary::silu:
      return Saves::input;
  }
  return Saves::input;
}

/// Elementwise functions of two arguments.
enum class Binary : std::uint8_t { add, subtract, multiply, divide };

}  // namespace attune
