#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/autograd/backward.hpp>
#include <attune/core/random.hpp>
#include <attune/tensor/parameter.hpp>
#include <attune/tensor/tensor.hpp>

namespace attune {

/// The numbers of torch.autograd.gradcheck, with its default eps.
struct GradcheckOptions {
  double eps = 1e-6;   ///< how far an element is moved to each side
  double atol = 1e-5;  ///< a gradient may differ by atol + rtol |numeric|
  double rtol = 1e-3;
};

/// What gradcheck() found. `ok` is all that matters when it is true; otherwise the element that is furthest
/// off.
struct GradcheckResult {
  bool ok = true;
  std::string message{};     ///< one line that says what is wrong, and where
  std::size_t input = 0;     ///< its place among the inputs
  std::int64_t element = 0;  ///< row-major
  double numeric = 0.0;
  double analytic = 0.0;

  explicit operator bool() const { return ok; }
};

namespace detail {

/// An input whose elements gradcheck() moves.
template <class Input>
struct GradcheckInput;

template <class B>
struct GradcheckInput<Tensor<double, B>> {
  static constexpr const char* kind = "tensor";
  static bool wanted(const Tensor<double, B>& x) { return x.requires_grad(); }
  static std::vector<double> read(const Tensor<double, B>& x) { return x.to_vector(); }
  static void write(const Tensor<double, B>& x, std::span<const double> values) {
    if (x.size() == 0) return;
    const auto whole = Detached<double, B>::from_values(x.device(), x.shape(), values);
    x.device().copy_strided(whole.const_view(), x.detach().view(), false);  // x may be strided
    x.detach().storage().mark_changed();
  }
};

template <class B>
struct GradcheckInput<Parameter<double, B>> {
  static constexpr const char* kind = "parameter";
  static bool wanted(const Parameter<double, B>& p) { return p && p.trainable(); }
  static std::vector<double> read(const Parameter<double, B>& p) { return p.value().to_vector(); }
  static void write(const Parameter<double, B>& p, std::span<const double> values) { p.assign(values); }
};

/// sum(weights y), which stands for the whole Jacobian.
template <class B>
double gradcheck_loss(const Tensor<double, B>& y, std::span<const double> weights) {
  double sum = 0.0;
  const std::vector<double> values = y.to_vector();
  for (std::size_t i = 0; i < values.size(); ++i) sum += weights[i] * values[i];
  return sum;
}

template <class Input>
void gradcheck_forget(const Input& input) {
  if (GradcheckInput<Input>::wanted(input)) input.zero_grad();
}

/// What backward() left, zeros where it left nothing; empty when no gradient is wanted.
template <class Input>
std::vector<double> gradcheck_gradient(const Input& input) {
  if (!GradcheckInput<Input>::wanted(input)) return {};
  if (input.grad()) return input.grad().to_vector();
  return std::vector<double>(static_cast<std::size_t>(input.size()), 0.0);
}

template <class F, class Input>
void gradcheck_input(const F& loss, const Input& input, std::size_t index, const GradcheckOptions& options,
                     const std::vector<double>& analytic, GradcheckResult& result, double& excess) {
  using Access = GradcheckInput<Input>;
  const std::vector<double> before = Access::read(input);
  std::vector<double> values = before;
  for (std::size_t at = 0; at < values.size(); ++at) {
    values[at] = before[at] + options.eps;
    Access::write(input, values);
    const double above = loss();
    values[at] = before[at] - options.eps;
    Access::write(input, values);
    const double below = loss();
    values[at] = before[at];
    const double numeric = (above - below) / (2.0 * options.eps);
    const double allowed = options.atol + options.rtol * std::abs(numeric);
    const double difference = std::abs(analytic[at] - numeric);
    if (difference <= allowed) continue;
    const double times =
        std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference / allowed;
    if (!result.ok && !(times > excess)) continue;
    excess = times;
    result = {false, {}, index, static_cast<std::int64_t>(at), numeric, analytic[at]};
    result.message = "gradcheck: input " + std::to_string(index) + " (a " + Access::kind + " of shape " +
                     input.shape().to_string() + "), element " + std::to_string(at) +
                     ": the backward gives " + std::to_string(analytic[at]) +
                     ", differences of the forward give " + std::to_string(numeric);
  }
  Access::write(input, before);
}

}  // namespace detail

/// Whether the gradients of f are the derivatives of its values: compares backward() with central
/// differences.
///
/// `inputs` is a tuple of leaves, tensors and parameters of double; those that need a gradient are checked
/// element by element, the others are passed on. f(inputs...) returns a Tensor of any shape; its elements are
/// weighted with fixed random numbers and summed, so that one backward stands for all of them. Values are the
/// same afterwards, and gradients are forgotten. Throws GraphError when f's result does not depend on any
/// input that needs a gradient.
///
///     const auto x = Tensor<double, Reference>::from_values(Reference(), {2}, values).set_requires_grad();
///     const auto result = gradcheck([](const auto& x) { return gelu(x); }, std::tuple{x});
///     if (!result) std::puts(result.message.c_str());
template <class F, class... Inputs>
GradcheckResult gradcheck(const F& f, const std::tuple<Inputs...>& inputs,
                          const GradcheckOptions& options = {}) {
  constexpr auto indices = std::index_sequence_for<Inputs...>{};
  const auto forget = [&] {
    std::apply([](const auto&... input) { (detail::gradcheck_forget(input), ...); }, inputs);
  };
  forget();

  const auto y = std::apply(f, inputs);
  if (!y.requires_grad())
    throw GraphError("gradcheck: the result does not depend on an input that needs a gradient");
  RandomStream random(1);
  std::vector<double> weights(static_cast<std::size_t>(y.size()));
  for (double& weight : weights) weight = 2.0 * double{random.uniform()} - 1.0;
  const auto loss = [&] {
    const NoGradGuard guard;
    return detail::gradcheck_loss(std::apply(f, inputs), weights);
  };
  if (const double first = detail::gradcheck_loss(y, weights), again = loss();
      first != again && !std::isnan(first))
    return {false, "gradcheck: the function gives another result when it is called again: " +
                       std::to_string(first) + ", then " + std::to_string(again)};

  using Result = std::remove_cvref_t<decltype(y.detach())>;
  y.backward(Result::from_values(y.device(), y.shape(), weights));
  GradcheckResult result;
  double excess = 0.0;
  const auto check = [&]<std::size_t... I>(std::index_sequence<I...>) {
    // Read all gradients before anything moves.
    const std::vector<std::vector<double>> analytic{detail::gradcheck_gradient(std::get<I>(inputs))...};
    const auto check_one = [&](const auto& input, std::size_t index) {
      using Access = detail::GradcheckInput<std::remove_cvref_t<decltype(input)>>;
      if (Access::wanted(input))
        detail::gradcheck_input(loss, input, index, options, analytic[index], result, excess);
    };
    (check_one(std::get<I>(inputs), I), ...);
  };
  check(indices);
  forget();
  return result;
}

}  // namespace attune
