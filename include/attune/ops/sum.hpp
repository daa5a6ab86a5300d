#pragma once

#include <vector>

#include <attune/autograd/apply.hpp>
#include <attune/ops/binary.hpp>

namespace attune {

namespace detail {

/// y = sum of x over some dimensions (kept with extent 1); dx = dy repeated.
template <class T, class B>
struct SumOp {
  static constexpr const char* name = "sum";
  Shape result;  ///< x's shape with 1 where it is summed
  Shape input_shape{};

  Detached<T, B> forward(Needs, const Detached<T, B>& x) {
    input_shape = x.shape();
    const Detached<T, B> y(x.device(), result);
    x.device().sum(x.const_view(), y.expand(x.shape()).view(), false);
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const { dx.adopt(dy.expand(input_shape)); }
};

}  // namespace detail

/// The sum over the named dimensions, which stay with extent 1.
template <class T, class B>
Tensor<T, B> sum(const Tensor<T, B>& x, const std::vector<int>& dims) {
  Shape result = x.shape();
  for (const int dim : dims) {
    if (dim < 0 || dim >= x.rank())
      throw ShapeError("sum: no dimension " + std::to_string(dim) + " in " + x.shape().to_string());
    result[dim] = 1;
  }
  return apply(detail::SumOp<T, B>{result}, x);
}

/// The sum of all elements, a scalar.
template <class T, class B>
Tensor<T, B> sum(const Tensor<T, B>& x) {
  return reshape(sum(reshape(x, {x.size()}), {0}), {});
}

/// The mean of all elements, a scalar.
template <class T, class B>
Tensor<T, B> mean(const Tensor<T, B>& x) {
  return sum(x) * (1.0f / static_cast<float>(x.size()));
}

}  // namespace attune
