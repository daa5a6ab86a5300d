#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include <attune/autograd/gradient.hpp>
#include <attune/autograd/saved.hpp>
#include <attune/backend/backend.hpp>
#include <attune/tensor/graph.hpp>
#include <attune/tensor/parameter.hpp>
#include <attune/tensor/tensor.hpp>

namespace attune {

/// Which inputs of an operation need a gradient: what no backward will read need not be saved.
struct Needs {
  std::array<bool, 8> input{};
  bool any = false;
  bool operator[](std::size_t i) const { return input[i]; }
};

namespace detail {

/// What apply() knows of an input: only tensors and parameters have it.
template <class Input>
struct Operand;

template <class T, class B>
struct Operand<Tensor<T, B>> {
  using backend = B;
  using value_type = Detached<T, B>;
  using gradient_type = Gradient<T, B>;
  using kept_type = std::shared_ptr<Variable<B>>;  // what the graph holds of it

  static bool needs_grad(const Tensor<T, B>& input) { return input.requires_grad(); }
  static value_type value(const Tensor<T, B>& input) { return input.detach(); }
  static std::shared_ptr<Variable<B>> variable(const Tensor<T, B>& input) { return input.variable(); }
  static kept_type keep(const Tensor<T, B>& input) { return input.variable(); }
  static gradient_type gradient(const kept_type& kept) { return gradient_type(kept); }
};

template <class T, class B>
struct Operand<Parameter<T, B>> {
  using backend = B;
  using value_type = Detached<T, B>;
  using gradient_type = Gradient<Wide<T>, B>;
  using kept_type = Parameter<T, B>;

  static bool needs_grad(const Parameter<T, B>& input) { return input && input.trainable(); }
  static value_type value(const Parameter<T, B>& input) { return input ? input.value() : value_type(); }
  static std::shared_ptr<Variable<B>> variable(const Parameter<T, B>&) { return nullptr; }
  static kept_type keep(const Parameter<T, B>& input) { return input; }
  static gradient_type gradient(const kept_type& kept) {
    return needs_grad(kept) ? gradient_type(kept) : gradient_type();
  }
};

template <class Op, class... Inputs>
using ForwardResult = decltype(std::declval<Op&>().forward(
    std::declval<Needs>(), std::declval<typename Operand<Inputs>::value_type>()...));

template <class Result>
struct Outputs {  // one output
  static constexpr std::size_t count = 1;
};
template <class... Results>
struct Outputs<std::tuple<Results...>> {
  static constexpr std::size_t count = sizeof...(Results);
};

/// Calls op.backward(dy, dx...) or, for several outputs, op.backward({dy...}, dx...).
template <class Op, class... Inputs>
concept HasForward = requires {
  typename ForwardResult<Op, Inputs...>;
};
template <class Op, class... Inputs>
concept HasBackward = requires(const Op& op, const ForwardResult<Op, Inputs...>& dy) {
  op.backward(dy, std::declval<typename Operand<Inputs>::gradient_type>()...);
};

template <class Op, class B, class... Inputs>
class RecordedFunction final : public Function<B> {
 public:
  using Result = ForwardResult<Op, Inputs...>;

  RecordedFunction(Op op, const Inputs&... inputs)
      : Function<B>(Op::name), op_(std::move(op)), kept_(Operand<Inputs>::keep(inputs)...) {
    (this->inputs.push_back(Operand<Inputs>::variable(inputs)), ...);
  }

  void run() override {
    backward(std::index_sequence_for<Inputs...>{}, std::make_index_sequence<Outputs<Result>::count>{});
  }
  void release() override {
    op_.reset();
    kept_ = {};
  }

 private:
  template <class Out>
  Out output_grad(std::size_t index) const {
    const std::shared_ptr<Variable<B>> output = this->outputs[index].lock();
    return output && output->grad ? Out(output->grad, output->shape) : Out();
  }

  template <std::size_t... I, std::size_t... O>
  void backward(std::index_sequence<I...>, std::index_sequence<O...>) {
    if constexpr (sizeof...(O) == 1 && !requires { std::tuple_size<Result>::value; }) {
      std::as_const(*op_).backward(output_grad<Result>(0), Operand<Inputs>::gradient(std::get<I>(kept_))...);
    } else {
      std::as_const(*op_).backward(Result{output_grad<std::tuple_element_t<O, Result>>(O)...},
                                   Operand<Inputs>::gradient(std::get<I>(kept_))...);
    }
  }

  std::optional<Op> op_;
  std::tuple<typename Operand<Inputs>::kept_type...> kept_;
};

template <class B, class T>
Tensor<T, B> as_output(const std::shared_ptr<Function<B>>& function, Detached<T, B> value) {
  auto variable = std::make_shared<Variable<B>>(value.device(), value.shape());
  variable->producer = function;
  function->outputs.push_back(variable);
  return Tensor<T, B>(std::move(value), std::move(variable));
}

}  // namespace detail

/// The one gate through which operations on tensors pass.
///
/// An operation is a value with a `name`, its options, what it saves, and two members that stand side by
/// side. forward computes and saves what backward reads; backward writes the gradients that are wanted:
///
///     Detached<T, B> forward(Needs, Detached<T, B> x, ...);
///     void backward(Detached<T, B> dy, Gradient<T, B> dx, ...) const;
///
/// With several outputs both use std::tuple; an output's gradient is empty when nothing depends on it.
/// Nothing is recorded under NoGradGuard or when no input needs a gradient, unless the operation sets
/// `always_records`.
template <class Op, class... Inputs>
auto apply(Op op, const Inputs&... inputs) {
  static_assert(sizeof...(Inputs) <= std::tuple_size_v<decltype(Needs::input)>, "attune: too many inputs");
  static_assert(detail::HasForward<Op, Inputs...>, "attune: the operation has no forward for these inputs");
  if constexpr (detail::HasForward<Op, Inputs...>) {
    static_assert(detail::HasBackward<Op, Inputs...>,
                  "attune: the operation has no backward for these inputs; training code needs the pair");
    using B = typename std::tuple_element_t<0, std::tuple<detail::Operand<Inputs>...>>::backend;
    using Result = detail::ForwardResult<Op, Inputs...>;

    Needs needs;
    if (detail::grad_enabled()) {
      std::size_t index = 0;
      ((needs.input[index++] = detail::Operand<Inputs>::needs_grad(inputs)), ...);
      needs.any = (detail::Operand<Inputs>::needs_grad(inputs) || ...);
      if constexpr (requires { Op::always_records; }) needs.any = true;
    }
    Result value = op.forward(needs, detail::Operand<Inputs>::value(inputs)...);

    std::shared_ptr<Function<B>> function;
    if constexpr (detail::HasBackward<Op, Inputs...>) {
      if (needs.any)
        function = std::make_shared<detail::RecordedFunction<Op, B, Inputs...>>(std::move(op), inputs...);
    }
    const auto wrap = [&](auto detached) {
      using Out = Tensor<typename decltype(detached)::value_type, B>;
      return function ? detail::as_output(function, std::move(detached)) : Out(std::move(detached));
    };
    if constexpr (requires { std::tuple_size<Result>::value; }) {
      return std::apply([&](auto&... parts) { return std::tuple{wrap(std::move(parts))...}; }, value);
    } else {
      return wrap(std::move(value));
    }
  }
}

}  // namespace attune
