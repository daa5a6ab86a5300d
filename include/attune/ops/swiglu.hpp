#pragma once

#include <attune/autograd/apply.hpp>

namespace attune {

namespace detail {

/// y = silu(g) u; dg = dy u silu'(g), du = dy silu(g). Shazeer 2020, arXiv:2002.05202.
template <class T, class B>
struct SwigluOp {
  static constexpr const char* name = "swiglu";
  Saved<T, B> gate{}, up{};

  Detached<T, B> forward(Needs, const Detached<T, B>& g, const Detached<T, B>& u) {
    const Detached<T, B> x = g.has_matrix() ? g : g.clone(), z = u.has_matrix() ? u : u.clone();
    const Detached<T, B> y(x.device(), x.shape());
    x.device().swiglu(MatrixView<const T>(x.matrix()), MatrixView<const T>(z.matrix()), y.matrix());
    gate = x;
    up = z;
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dgate, Gradient<T, B> dup) const {
    const Detached<T, B> dg(dy.device(), dy.shape()), du(dy.device(), dy.shape());
    dy.device().swiglu_backward(MatrixView<const T>(gate.get().matrix()),
                                MatrixView<const T>(up.get().matrix()), MatrixView<const T>(dy.matrix()),
                                dg.matrix(), du.matrix());
    if (dgate) dgate.adopt(dg);
    if (dup) dup.adopt(du);
  }
};

}  // namespace detail

/// silu(gate) * up, equal shapes.
template <class T, class B>
Tensor<T, B> swiglu(const Tensor<T, B>& gate, const Tensor<T, B>& up) {
  if (!(gate.shape() == up.shape()))
    throw ShapeError("swiglu: gate and up must agree, found " + gate.shape().to_string() + " and " +
                     up.shape().to_string());
  return apply(detail::SwigluOp<T, B>{}, gate, up);
}

}  // namespace attune
