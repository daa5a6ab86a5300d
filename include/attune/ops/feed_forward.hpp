#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/backend/op_tags.hpp>
#include <attune/core/error.hpp>

namespace attune {

namespace detail {

/// y = a W2^T + b2 with a = f(pre), pre = x W1^T + b1. Of the two [N, I] matrices one is kept: `a` is
/// computed again in backward when f' reads the pre-activation, which costs one pass and saves 1 of 2 of a
/// layer's largest arrays.
template <class T, class B>
struct FeedForwardOp {
  static constexpr const char* name = "feed_forward";
  Unary activation;
  Saved<T, B> x{}, w1{}, w2{}, inner{};  ///< `inner`: pre where saves(f) is the input, else a

  Detached<T, B> forward(Needs needs, const Detached<T, B>& input, const Detached<T, B>& weight1,
                         const Detached<T, B>& bias1, const Detached<T, B>& weight2,
                         const Detached<T, B>& bias2) {
    const Detached<T, B> rows = input.has_matrix() ? input : input.clone();
    const B& device = rows.device();
    const std::int64_t n = rows.matrix().rows;
    const Detached<T, B> a(device, {n, weight1.shape()[0]});
    const bool keeps_pre = needs.any && saves(activation) == Saves::input;
    const Detached<T, B> pre = keeps_pre ? Detached<T, B>(device, a.shape()) : Detached<T, B>();
    device.linear(MatrixView<const T>(rows.matrix()), MatrixView<const T>(weight1.matrix()), span_of(bias1),
                  activation, keeps_pre ? pre.matrix() : MatrixView<T>(), a.matrix());
    Shape shape = rows.shape();
    shape[shape.rank() - 1] = weight2.shape()[0];
    const Detached<T, B> y(device, shape);
    device.linear(MatrixView<const T>(a.matrix()), MatrixView<const T>(weight2.matrix()), span_of(bias2),
                  Unary::identity, {}, y.matrix());
    const bool before = needs[0] || needs[1] || needs[2];
    if (needs[0]) w1 = weight1;
    if (needs[1]) x = rows;
    if (before) w2 = weight2;
    if (before || needs[3]) inner = keeps_pre ? pre : a;
    return y;
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> dx, Gradient<Wide<T>, B> dw1,
                Gradient<Wide<T>, B> db1, Gradient<Wide<T>, B> dw2, Gradient<Wide<T>, B> db2) const {
    const B& device = dy.device();
    const MatrixView<const T> gradient = dy.matrix();
    if (db2) {
      const bool accumulate = db2.accumulate();
      device.bias_backward(gradient, db2.target().span(), accumulate);
    }
    if (dw2) {
      Detached<T, B> a = inner.get();
      if (saves(activation) == Saves::input) {
        a = Detached<T, B>(device, a.shape());
        device.unary(activation, std::span<const T>(inner.get().span()), a.span());
      }
      const float beta = dw2.beta();
      device.matmul(gradient, MatrixView<const T>(a.matrix()), dw2.target().matrix(),
                    {.transpose_a = true, .beta = beta});
    }
    if (!dx && !dw1 && !db1) return;
    const Detached<T, B> dpre(device, inner.get().shape());
    const bool accumulate = db1 && db1.accumulate();
    matmul_activation_backward(device, gradient, MatrixView<const T>(w2.get().matrix()), activation,
                               MatrixView<const T>(inner.get().matrix()), dpre.matrix(),
                               db1 ? db1.target().span() : std::span<Wide<T>>(), accumulate);
    if (dx) {
      const float beta = dx.beta();
      device.matmul(MatrixView<const T>(dpre.matrix()), MatrixView<const T>(w1.get().matrix()),
                    dx.target().matrix(), {.beta = beta});
    }
    if (dw1) {
      const float beta = dw1.beta();
      device.matmul(MatrixView<const T>(dpre.matrix()), MatrixView<const T>(x.get().matrix()),
                    dw1.target().matrix(), {.transpose_a = true, .beta = beta});
    }
  }

 private:
  static std::span<const T> span_of(const Detached<T, B>& bias) {
    return bias ? std::span<const T>(bias.span()) : std::span<const T>();
  }
};

}  // namespace detail

/// f(x W1^T + b1) W2^T + b2, the two linear layers of a transformer's layer as one operation: x [..., C], W1
/// [I, C], b1 [I], W2 [M, I], b2 [M]; biases may be empty; result [..., M].
template <class T, class B>
Tensor<T, B> feed_forward(const Tensor<T, B>& x, const Parameter<T, B>& w1, const Parameter<T, B>& b1,
                          Unary activation, const Parameter<T, B>& w2, const Parameter<T, B>& b2) {
  const Shape in = w1.shape(), out = w2.shape();
  const bool fits = x.rank() >= 1 && in.rank() == 2 && out.rank() == 2 && x.shape().back() == in[1] &&
                    out[1] == in[0] && (!b1 || b1.shape() == Shape{in[0]}) &&
                    (!b2 || b2.shape() == Shape{out[0]});
  if (!fits)
    throw ShapeError("feed_forward: x [..., C], W1 [I, C], b1 [I], W2 [M, I] and b2 [M] are needed, found " +
                     x.shape().to_string() + ", " + in.to_string() + ", " +
                     (b1 ? b1.shape().to_string() : std::string("none")) + ", " + out.to_string() + " and " +
                     (b2 ? b2.shape().to_string() : std::string("none")));
  return apply(detail::FeedForwardOp<T, B>{activation}, x, w1, b1, w2, b2);
}

}  // namespace attune
