#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/backend/op_tags.hpp>

namespace attune {

namespace detail {

/// y = f(x), dx = dy f'(x), with f' from x or from y as saves(f) says.
template <class T, class B>
struct UnaryOp {
  static constexpr const char* name = "unary";
  Unary function;
  Saved<T, B> saved{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.contiguous_copy();
    const Detached<T, B> y(x.device(), x.shape());
    x.device().unary(function, std::span<const T>(x.span()), y.span());
    if (needs.any && saves(function) != Saves::nothing) saved = saves(function) == Saves::input ? x : y;
    return y;
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      const auto kept = saved ? std::span<const T>(saved.get().span()) : std::span<const T>();
      dy.device().unary_backward(function, kept, std::span<const T>(dy.span()), out.span());
    });
  }
};

}  // namespace detail

/// Elementwise f(x), any shape.
template <class T, class B>
Tensor<T, B> unary(Unary function, const Tensor<T, B>& x) {
  return apply(detail::UnaryOp<T, B>{function}, x);
}

template <class T, class B>
Tensor<T, B> gelu(const Tensor<T, B>& x) {
  return unary(Unary::gelu, x);
}
template <class T, class B>
Tensor<T, B> relu(const Tensor<T, B>& x) {
  return unary(Unary::relu, x);
}
template <class T, class B>
Tensor<T, B> silu(const Tensor<T, B>& x) {
  return unary(Unary::silu, x);
}
template <class T, class B>
Tensor<T, B> tanh(const Tensor<T, B>& x) {
  return unary(Unary::tanh, x);
}
template <class T, class B>
Tensor<T, B> sigmoid(const Tensor<T, B>& x) {
  return unary(Unary::sigmoid, x);
}
template <class T, class B>
Tensor<T, B> exp(const Tensor<T, B>& x) {
  return unary(Unary::exp, x);
}
template <class T, class B>
Tensor<T, B> log(const Tensor<T, B>& x) {
  return unary(Unary::log, x);
}
template <class T, class B>
Tensor<T, B> sqrt(const Tensor<T, B>& x) {
  return unary(Unary::sqrt, x);
}
template <class T, class B>
Tensor<T, B> operator-(const Tensor<T, B>& x) {
  return unary(Unary::negate, x);
}

}  // namespace attune
