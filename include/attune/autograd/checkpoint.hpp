#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <attune/autograd/apply.hpp>
#include <attune/autograd/backward.hpp>

namespace attune {

namespace detail {

/// Forward without a graph; backward runs the function again with one and goes through that.
template <class F, class T, class B, std::size_t count>
struct CheckpointOp {
  static constexpr const char* name = "checkpoint";
  static constexpr bool always_records = true;  // the function's parameters are not among the inputs
  F function;
  std::array<Saved<T, B>, count> inputs{};
  Needs needs{};

  template <class... Inputs>
  Detached<T, B> forward(Needs wanted, const Inputs&... x) {
    inputs = {Saved<T, B>(x)...};
    needs = wanted;
    const NoGradGuard guard;
    return function(Tensor<T, B>(x)...).detach();
  }
  template <class... Gradients>
  void backward(const Detached<T, B>& dy, Gradients... dx) const {
    run(dy, std::make_index_sequence<count>{}, dx...);
  }

 private:
  template <std::size_t... I, class... Gradients>
  void run(const Detached<T, B>& dy, std::index_sequence<I...>, Gradients&... dx) const {
    const GradMode recording(true);
    const std::uint64_t oldest = next_sequence();
    std::array<Tensor<T, B>, count> x{Tensor<T, B>(inputs[I].get())...};
    (x[I].set_requires_grad(needs[I]), ...);
    const Tensor<T, B> y = function(x[I]...);
    if (y.requires_grad())
      backward_from(y, dy, /*retain_graph=*/false, oldest);  // not when nothing in it trains
    const auto hand_over = [](auto& gradient, const Detached<T, B>& found) {
      if (gradient && found) gradient.adopt(found);
    };
    (hand_over(dx, x[I].grad()), ...);
  }
};

}  // namespace detail

/// function(x...) keeping only the inputs: what lies between is computed again in backward (Chen et al. 2016,
/// arXiv:1604.06174). `function` takes Tensors, returns one and must compute the same both times; dropout
/// does, since its masks come from counters that the function captures. It may capture parameters, constants
/// and leaves; a computed tensor that needs a gradient has to be an input, and a captured one is a GraphError
/// in backward. The result is recorded as if something in the function trained.
template <class F, class T, class B, class... More>
Tensor<T, B> checkpoint(F function, const Tensor<T, B>& x, const More&... more) {
  return apply(detail::CheckpointOp<F, T, B, 1 + sizeof...(More)>{std::move(function)}, x, more...);
}

}  // namespace attune
