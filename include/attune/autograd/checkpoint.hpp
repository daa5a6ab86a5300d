#pragma once

#include <utility>

#include <attune/autograd/apply.hpp>
#include <attune/autograd/backward.hpp>

namespace attune {

namespace detail {

/// Forward without a graph; backward runs the function again with one and goes through that.
template <class F, class T, class B>
struct CheckpointOp {
  static constexpr const char* name = "checkpoint";
  static constexpr bool always_records = true;  // the function's parameters are not among the inputs
  F function;
  Saved<T, B> input{};
  bool input_needs_grad = false;

  Detached<T, B> forward(Needs needs, const Detached<T, B>& x) {
    input = x;
    input_needs_grad = needs[0];
    const NoGradGuard guard;
    return function(Tensor<T, B>(x)).detach();
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    const GradMode recording(true);
    Tensor<T, B> x(input.get());
    x.set_requires_grad(input_needs_grad);
    const Tensor<T, B> y = function(x);
    if (y.requires_grad()) y.backward(dy);  // not when nothing in it trains
    if (dx && x.grad()) dx.adopt(x.grad());
  }
};

}  // namespace detail

/// function(x) keeping only x: what lies between is computed again in backward (Chen et al. 2016,
/// arXiv:1604.06174). `function` takes and returns a Tensor and must compute the same both times; dropout
/// does, since its masks come from counters that the function captures. The result is recorded as if something
/// in it trained.
template <class F, class T, class B>
Tensor<T, B> checkpoint(F function, const Tensor<T, B>& x) {
  return apply(detail::CheckpointOp<F, T, B>{std::move(function)}, x);
}

}  // namespace attune
