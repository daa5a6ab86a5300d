#pragma once

#include <initializer_list>
#include <vector>

#include <attune/autograd/apply.hpp>

namespace attune {

namespace detail {

/// Operations that only rearrange: y shares x's memory where it can, and dx is dy put back in place.

template <class T, class B>
struct ReshapeOp {
  static constexpr const char* name = "reshape";
  Shape shape;
  Shape input_shape{};

  Detached<T, B> forward(Needs, const Detached<T, B>& x) {
    input_shape = x.shape();
    return x.contiguous_copy().reshape(shape);
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const { dx.adopt(dy.reshape(input_shape)); }
};

template <class T, class B>
struct PermuteOp {
  static constexpr const char* name = "permute";
  std::vector<int> order;

  Detached<T, B> forward(Needs, const Detached<T, B>& x) { return x.permute(order); }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    std::vector<int> inverse(order.size());
    for (std::size_t dim = 0; dim < order.size(); ++dim)
      inverse[static_cast<std::size_t>(order[dim])] = static_cast<int>(dim);
    dx.adopt(dy.permute(inverse));
  }
};

template <class T, class B>
struct SliceOp {
  static constexpr const char* name = "slice";
  int dim;
  std::int64_t begin, end;

  Detached<T, B> forward(Needs, const Detached<T, B>& x) { return x.slice(dim, begin, end); }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    const bool first = !dx.accumulate();
    const Detached<T, B>& whole = dx.target();
    if (first) whole.device().zero(whole.data(), static_cast<std::size_t>(whole.size()) * sizeof(T));
    whole.device().copy_strided(dy.const_view(), whole.slice(dim, begin, end).view(), true);
  }
};

template <class T, class B>
struct ExpandOp {
  static constexpr const char* name = "expand";
  Shape shape;

  Detached<T, B> forward(Needs, const Detached<T, B>& x) { return x.expand(shape); }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    const bool accumulate = dx.accumulate();
    dy.device().sum(dy.const_view(), dx.target().expand(shape).view(), accumulate);
  }
};

}  // namespace detail

/// The same elements in another shape; one extent may be -1.
template <class T, class B>
Tensor<T, B> reshape(const Tensor<T, B>& x, const Shape& shape) {
  return apply(detail::ReshapeOp<T, B>{shape}, x);
}

/// Dimensions in a new order.
template <class T, class B>
Tensor<T, B> permute(const Tensor<T, B>& x, std::vector<int> order) {
  return apply(detail::PermuteOp<T, B>{std::move(order)}, x);
}

/// Two dimensions exchanged.
template <class T, class B>
Tensor<T, B> transpose(const Tensor<T, B>& x, int first, int second) {
  std::vector<int> order(static_cast<std::size_t>(x.rank()));
  for (std::size_t dim = 0; dim < order.size(); ++dim) order[dim] = static_cast<int>(dim);
  if (first < 0 || second < 0 || first >= x.rank() || second >= x.rank())
    throw ShapeError("transpose: no dimensions " + std::to_string(first) + " and " + std::to_string(second) +
                     " in " + x.shape().to_string());
  std::swap(order[static_cast<std::size_t>(first)], order[static_cast<std::size_t>(second)]);
  return permute(x, std::move(order));
}

/// Indices begin .. end of one dimension.
template <class T, class B>
Tensor<T, B> slice(const Tensor<T, B>& x, int dim, std::int64_t begin, std::int64_t end) {
  return apply(detail::SliceOp<T, B>{dim, begin, end}, x);
}

/// Extents of 1 repeated and leading dimensions added, as torch.expand.
template <class T, class B>
Tensor<T, B> expand(const Tensor<T, B>& x, const Shape& shape) {
  return apply(detail::ExpandOp<T, B>{shape}, x);
}

}  // namespace attune
