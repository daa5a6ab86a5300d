#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <attune/autograd/gradcheck.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/core/parallel.hpp>

// A table of differentiable operations and what is demanded of each, in any type and on any backend B:
// gradients are derivatives, B agrees with the reference in double, strides and threads change nothing.

namespace attune::testing {

enum class Source {
  tensor,     ///< a leaf
  constant,   ///< a tensor that never needs a gradient
  parameter,  ///< a whole parameter
  rows,       ///< the second of three parameters that are fused
};

/// One input: its shape, where it comes from, and the range that its random values are drawn from.
struct OperationInput {
  Shape shape;
  Source source = Source::tensor;
  double low = -1.0, high = 1.0;
};

/// How far a result may be from the exact one, element by element, in theory. With u = 2^-24, the unit
/// roundoff of float, u_T that of the type (2^-8 for bfloat16), and y the largest element of the exact
/// result,
///
///     |found - exact| <= stored u_T max(scale, |y|) + sums u max(terms, |y|).
///
/// `stored` counts the roundings to T on the way and `scale` bounds what is rounded (times the factors it
/// meets later); `sums` counts roundings in float and `terms` bounds the sum of the magnitudes that are
/// added.
struct OperationBound {
  double stored = 1.0;
  double scale = 0.0;
  double sums = 8.0;
  double terms = 0.0;
};
/// A sum of n rounded terms is off by at most this many roundings, save with probability 3e-8: lambda sqrt(n)
/// with lambda = 6 (Higham, Mary 2019, "A new approach to probabilistic rounding error analysis",
/// theorem 2.4).
inline double roundings(std::int64_t n) {
  return 6.0 * std::sqrt(static_cast<double>(std::max<std::int64_t>(1, n)));
}

enum class Layout { contiguous, transposed, columns, rows };

/// How a case is run once.
struct OperationRun {
  Layout layout = Layout::contiguous;  ///< of tensors with two dimensions or more
  std::vector<bool> wants{};           ///< which inputs need a gradient; empty: all
  int backwards = 1;                   ///< backward calls over one graph
};

struct Outcome {
  bool recorded = false;
  std::vector<double> y{};
  std::vector<std::optional<std::vector<double>>> gradients{};
};

/// What a case's function is called with: its inputs in T on B.
template <class T, class B>
class Operands {
 public:
  using Values = std::vector<std::vector<double>>;

  Operands(const std::vector<OperationInput>& inputs, const Values& values, const OperationRun& run) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const OperationInput& input = inputs[i];
      const bool wanted = run.wants.empty() || run.wants[i];
      tensors_.emplace_back();
      parameters_.emplace_back();
      if (input.source == Source::parameter || input.source == Source::rows) {
        parameters_.back() = make_parameter(input, values[i]);
        if (!wanted) parameters_.back().freeze();
      } else {
        tensors_.back() = make_tensor(input.shape, values[i], run.layout);
        tensors_.back().set_requires_grad(wanted && input.source == Source::tensor);
      }
    }
  }

  const B& device() const { return device_; }
  /// Input i, a tensor or a parameter.
  const Tensor<T, B>& x(std::size_t i) const { return tensors_[i]; }
  const Parameter<T, B>& p(std::size_t i) const { return parameters_[i]; }

 private:
  static std::vector<T> rounded(const std::vector<double>& values) {
    std::vector<T> result;
    for (const double value : values) result.push_back(T(value));
    return result;
  }

  Parameter<T, B> make_parameter(const OperationInput& input, const std::vector<double>& values) const {
    const std::vector<Wide<T>> wide(values.begin(), values.end());
    if (input.source == Source::parameter) {
      const Parameter<T, B> parameter(device_, input.shape);
      parameter.assign(wide);
      return parameter;
    }
    Shape shape = input.shape;
    shape[0] *= 3;
    const Parameter<T, B> whole(device_, shape, Init::zeros, 3);
    whole.assign(std::vector<Wide<T>>(wide.size() * 3, Wide<T>(100)));
    const Parameter<T, B> part = whole.rows(input.shape[0], 2 * input.shape[0]);
    part.assign(wide);
    return part;
  }

  Tensor<T, B> make_tensor(const Shape& shape, const std::vector<double>& values, Layout layout) const {
    const auto plain = Detached<T, B>::from_values(device_, shape, std::span<const T>(rounded(values)));
    const int rank = shape.rank();
    if (layout == Layout::contiguous || rank < 2) return Tensor<T, B>(plain);
    Shape larger = shape;
    if (layout == Layout::transposed) std::swap(larger[rank - 1], larger[rank - 2]);
    if (layout == Layout::columns) larger[rank - 1] += 3;
    if (layout == Layout::rows) larger[0] += 2;
    Detached<T, B> view = Detached<T, B>::full(device_, larger, 77.0);
    if (layout == Layout::transposed) {
      std::vector<int> order;
      for (int dim = 0; dim < rank; ++dim) order.push_back(dim);
      std::swap(order[order.size() - 1], order[order.size() - 2]);
      view = view.permute(order);
    } else if (layout == Layout::columns) {
      view = view.slice(rank - 1, 2, larger[rank - 1] - 1);
    } else {
      view = view.slice(0, 1, larger[0] - 1);
    }
    if (plain.size() > 0) device_.copy_strided(plain.const_view(), view.view(), false);
    return Tensor<T, B>(view);
  }

  B device_;
  std::vector<Tensor<T, B>> tensors_;
  std::vector<Parameter<T, B>> parameters_;
};

/// The numbers that backward begins with, exact in every type.
inline std::vector<double> seed_values(std::size_t n) {
  RandomStream random(3);
  std::vector<double> values(n);
  for (double& value : values) value = double(bfloat16(2.0f * random.uniform() - 1.0f));
  return values;
}

template <class T, class B, class F>
Outcome run_operation(const F& function, const std::vector<OperationInput>& inputs,
                      const std::vector<std::vector<double>>& values, const OperationRun& run) {
  const Operands<T, B> operands(inputs, values, run);
  const auto y = function(operands);
  using Result = std::remove_cvref_t<decltype(y.detach())>;
  using Y = typename Result::value_type;
  const auto numbers = y.to_vector();
  Outcome outcome{y.requires_grad(), {numbers.begin(), numbers.end()}, {}};
  if (outcome.recorded) {
    std::vector<Y> seed;
    for (const double value : seed_values(numbers.size())) seed.push_back(Y(value));
    const Result dy = Result::from_values(operands.device(), y.shape(), std::span<const Y>(seed));
    for (int i = run.backwards; i > 0; --i) y.backward(dy, i > 1);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    outcome.gradients.emplace_back();
    const auto keep = [&](const auto& gradient) {
      if (!gradient) return;
      const auto found = gradient.to_vector();
      outcome.gradients.back().emplace(found.begin(), found.end());
    };
    if (operands.p(i))
      keep(operands.p(i).grad());
    else
      keep(operands.x(i).grad());
  }
  return outcome;
}

template <class F>
GradcheckResult gradcheck_operation(const F& function, const std::vector<OperationInput>& inputs,
                                    const std::vector<std::vector<double>>& values, Layout layout) {
  const Operands<double, Reference> operands(inputs, values, {layout});
  const auto call = [&](const auto&) { return function(operands); };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].source == Source::constant) continue;
    GradcheckResult result = operands.p(i) ? gradcheck(call, std::tuple{operands.p(i)})
                                           : gradcheck(call, std::tuple{operands.x(i)});
    result.input = i;
    if (!result) return result;
  }
  return {};
}

template <class B>
struct OperationCase {
  using Values = std::vector<std::vector<double>>;
  using Run = std::function<Outcome(const std::vector<OperationInput>&, const Values&, const OperationRun&)>;

  std::string name;  ///< "<header>: <what>"
  std::vector<OperationInput> inputs;
  OperationBound forward, backward;
  Run in_double, in_float, in_bfloat16;  ///< the reference, and B twice
  std::function<GradcheckResult(const std::vector<OperationInput>&, const Values&, Layout)> gradcheck;
  bool cuts_gradient = false;  ///< on purpose: its backward is not the derivative of its forward

  bool large() const {
    std::int64_t elements = 0;
    for (const auto& input : inputs) elements += input.shape.size();
    return elements > 1000;
  }
  std::string header() const { return name.substr(0, name.find(':')); }

  /// Random values that T holds exactly.
  template <class T>
  Values values() const {
    std::uint64_t stream = 0;
    for (const char letter : name) stream = stream * 131 + static_cast<unsigned char>(letter);
    RandomStream random(17, stream);
    Values result;
    for (const auto& input : inputs) {
      auto& of_input = result.emplace_back(static_cast<std::size_t>(input.shape.size()));
      for (double& value : of_input)
        value = double(T(input.low + (input.high - input.low) * double(random.uniform())));
    }
    return result;
  }
  template <class T>
  Outcome run(const OperationRun& how = {}) const {
    return (std::is_same_v<T, bfloat16> ? in_bfloat16 : in_float)(inputs, values<T>(), how);
  }
  template <class T>
  Outcome exact(const OperationRun& how = {}) const {
    return in_double(inputs, values<T>(), how);
  }
};

template <class B>
class OperationTable {
 public:
  /// `function` is a generic lambda of Operands that returns a tensor.
  template <class F>
  OperationCase<B>& add(std::string name, std::vector<OperationInput> inputs, OperationBound forward,
                        OperationBound backward, const F& function) {
    using Inputs = std::vector<OperationInput>;
    using Values = std::vector<std::vector<double>>;
    const auto in = [&]<class T, class D>(T, D) {
      return [function](const Inputs& i, const Values& v, const OperationRun& run) {
        return run_operation<T, D>(function, i, v, run);
      };
    };
    cases_.push_back({std::move(name), std::move(inputs), forward, backward, in(double(), Reference()),
                      in(float(), B()), in(bfloat16(), B()),
                      [function](const Inputs& i, const Values& v, Layout layout) {
                        return gradcheck_operation(function, i, v, layout);
                      }});
    return cases_.back();
  }
  const std::vector<OperationCase<B>>& cases() const { return cases_; }

 private:
  std::vector<OperationCase<B>> cases_;
};

/// The headers that some table of this program has a case for.
inline std::set<std::string>& covered_headers() {
  static std::set<std::string> headers;
  return headers;
}
template <class B>
OperationTable<B> listed(OperationTable<B> table) {
  for (const auto& operation : table.cases()) covered_headers().insert(operation.header());
  return table;
}

}  // namespace attune::testing
