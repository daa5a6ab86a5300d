#pragma once

#include <algorithm>
#include <string>

#include <attune/autograd/apply.hpp>

namespace attune {

/// Dropout's parameters with the memory of its row keys kept alive. See DropoutView.
template <class B>
struct DropoutMask {
  DropoutView view{};
  Detached<std::int32_t, B> samples{}, positions{};

  explicit operator bool() const { return static_cast<bool>(view); }
};

namespace detail {

template <class B>
void check_mask(const char* name, const DropoutMask<B>& mask, std::int64_t rows) {
  if (mask && (mask.samples.size() != rows || mask.positions.size() != rows))
    throw ShapeError(std::string(name) + ": a dropout mask for " + std::to_string(rows) +
                     " rows is needed, found one for " + std::to_string(mask.samples.size()) + " samples and " +
                     std::to_string(mask.positions.size()) + " positions");
}

/// y = x mask / (1 - p), and dx = dy mask / (1 - p): the mask is computed again, not kept.
template <class T, class B>
struct DropoutOp {
  static constexpr const char* name = "dropout";
  DropoutMask<B> mask;

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.contiguous_copy();
    const Detached<T, B> y(x.device(), x.shape());
    x.device().dropout(MatrixView<const T>(x.matrix()), mask.view, y.matrix());
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      dy.device().dropout(MatrixView<const T>(dy.matrix()), mask.view, out.matrix());
    });
  }
};

}  // namespace detail

/// Zeroes elements of x [..., C] with the mask's probability and scales the others up. An inactive mask returns
/// x itself.
template <class T, class B>
Tensor<T, B> dropout(const Tensor<T, B>& x, const DropoutMask<B>& mask) {
  if (!mask) return x;
  detail::check_mask("dropout", mask, x.size() / std::max<std::int64_t>(1, x.shape().back()));
  return apply(detail::DropoutOp<T, B>{mask}, x);
}

}  // namespace attune
