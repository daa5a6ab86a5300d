#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/backend/op_tags.hpp>

namespace attune {

namespace detail {

/// y = f(x W^T + b), with dpre = dy f'(pre): dx = dpre W, dW = dpre^T x, db = column sums of dpre. W may be
/// in quantised blocks, which do not train.
template <class T, class B>
struct LinearOp {
  static constexpr const char* name = "linear";
  Unary activation;
  DeviceBlocks<B> blocks{};           ///< the weight, in place of the operand
  Saved<T, B> x{}, w{}, activated{};  ///< `activated` is the pre-activation or the output, as saves(f) says

  Detached<T, B> forward(Needs needs, const Detached<T, B>& input, const Detached<T, B>& weight,
                         const Detached<T, B>& bias) {
    const Detached<T, B> rows = input.has_matrix() ? input : input.clone();
    Shape shape = rows.shape();
    shape[shape.rank() - 1] = blocks ? blocks.rows : weight.shape()[0];
    const Detached<T, B> y(rows.device(), shape);
    const bool keeps_pre = needs.any && saves(activation) == Saves::input;
    const Detached<T, B> pre = keeps_pre ? Detached<T, B>(rows.device(), shape) : Detached<T, B>();
    const auto bias_values = bias ? std::span<const T>(bias.span()) : std::span<const T>();
    with_weight(weight, [&](const auto& w_view) {
      rows.device().linear(MatrixView<const T>(rows.matrix()), w_view, bias_values, activation,
                           keeps_pre ? pre.matrix() : MatrixView<T>(), y.matrix());
    });
    if (needs[0]) w = weight;
    if (needs[1]) x = rows;
    if (needs.any && saves(activation) != Saves::nothing) activated = keeps_pre ? pre : y;
    return y;
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> dx, Gradient<Wide<T>, B> dw,
                Gradient<Wide<T>, B> db) const {
    const B& device = dy.device();
    Detached<T, B> dpre = dy;
    const auto bias_grad = [&] { return db ? db.target().span() : std::span<Wide<T>>(); };
    if (activation != Unary::identity) {
      dpre = Detached<T, B>(device, dy.shape());
      const bool accumulate = db && db.accumulate();
      const MatrixView<const T> saved =
          activated ? MatrixView<const T>(activated.get().matrix()) : MatrixView<const T>();
      device.linear_activation_backward(activation, saved, MatrixView<const T>(dy.matrix()), dpre.matrix(),
                                        bias_grad(), accumulate);
    } else if (db) {
      const bool accumulate = db.accumulate();
      device.bias_backward(MatrixView<const T>(dy.matrix()), bias_grad(), accumulate);
    }
    const MatrixView<const T> gradient = dpre.matrix();
    if (dx) {
      const float beta = dx.beta();
      with_weight(w.get(), [&](const auto& w_view) {
        device.matmul(gradient, w_view, dx.target().matrix(), {.beta = beta});
      });
    }
    if (dw) {
      const float beta = dw.beta();
      device.matmul(gradient, MatrixView<const T>(x.get().matrix()), dw.target().matrix(),
                    {.transpose_a = true, .beta = beta});
    }
  }

 private:
  template <class F>
  void with_weight(const Detached<T, B>& weight, const F& f) const {
    if constexpr (BlockOps<B, T>)
      if (blocks) return f(blocks.view());
    f(MatrixView<const T>(weight.matrix()));
  }
};

}  // namespace detail

/// f(x W^T + bias) as torch.nn.functional.linear followed by an activation: x [..., K], weight [M, K], bias
/// [M] or an empty parameter, result [..., M]. The weight may be quantised.
template <class T, class B>
Tensor<T, B> linear(const Tensor<T, B>& x, const Parameter<T, B>& weight, const Parameter<T, B>& bias = {},
                    Unary activation = Unary::identity) {
  const Shape w = weight.shape();
  if (x.rank() < 1 || w.rank() != 2 || x.shape().back() != w[1] || (bias && !(bias.shape() == Shape{w[0]})))
    throw ShapeError("linear: x [..., K], weight [M, K] and bias [M] are needed, found " +
                     x.shape().to_string() + ", " + w.to_string() +
                     (bias ? " and " + bias.shape().to_string() : std::string()));
  if (weight.quantized())
    return apply(detail::LinearOp<T, B>{activation, weight.blocks()}, x, Parameter<T, B>(), bias);
  return apply(detail::LinearOp<T, B>{activation}, x, weight, bias);
}

}  // namespace attune
