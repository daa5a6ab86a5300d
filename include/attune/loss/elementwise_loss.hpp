#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <attune/autograd/apply.hpp>
#include <attune/loss/total.hpp>

namespace attune {

namespace detail {

enum class ElementwiseLoss { mse, bce_with_logits };

/// The mean over all elements of (x - t)^2 or of max(x, 0) - x t + log(1 + exp(-|x|)).
/// Gradients: 2 (x - t) / n and (sigmoid(x) - t) / n.
template <class T, class B>
struct ElementwiseLossOp {
  static constexpr const char* name = "elementwise_loss";
  ElementwiseLoss kind;
  Detached<Wide<T>, B> targets;
  Saved<T, B> x{};

  Detached<Wide<T>, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> values = input.contiguous_copy();
    const B& device = values.device();
    const Detached<Wide<T>, B> losses(device, values.shape());
    const auto from = std::span<const T>(values.span());
    const auto to = std::span<const Wide<T>>(targets.span());
    kind == ElementwiseLoss::mse ? device.mse(from, to, losses.span())
                                 : device.bce_with_logits(from, to, losses.span());
    x = values;
    return scaled_total(losses, 1.0 / static_cast<double>(values.size()));
  }

  void backward(const Detached<Wide<T>, B>& dy, Gradient<T, B> dx) const {
    const auto from = std::span<const T>(x.get().span());
    const auto to = std::span<const Wide<T>>(targets.span());
    const auto factor = Wide<T>(1) / static_cast<Wide<T>>(from.size());
    dx.write([&](const Detached<T, B>& out) {
      const Wide<T>* scale = dy.data();
      kind == ElementwiseLoss::mse
          ? dy.device().mse_backward(from, to, factor, scale, out.span())
          : dy.device().bce_with_logits_backward(from, to, factor, scale, out.span());
    });
  }
};

template <class T, class B>
Tensor<Wide<T>, B> elementwise_loss(const char* name, ElementwiseLoss kind, const Tensor<T, B>& x,
                                    std::span<const float> targets) {
  if (static_cast<std::int64_t>(targets.size()) != x.size())
    throw ShapeError(std::string(name) + ": " + x.shape().to_string() + " needs " + std::to_string(x.size()) +
                     " targets, found " + std::to_string(targets.size()));
  const std::vector<Wide<T>> wide(targets.begin(), targets.end());
  return apply(ElementwiseLossOp<T, B>{kind, Detached<Wide<T>, B>::from_values(
                                                 x.device(), x.shape(), std::span<const Wide<T>>(wide))},
               x);
}

}  // namespace detail

/// Mean squared error: x of any shape, as many targets, row-major.
template <class T, class B>
Tensor<Wide<T>, B> mse_loss(const Tensor<T, B>& x, std::span<const float> targets) {
  return detail::elementwise_loss("mse_loss", detail::ElementwiseLoss::mse, x, targets);
}

/// Binary cross-entropy of sigmoid(x), as torch.nn.functional.binary_cross_entropy_with_logits.
template <class T, class B>
Tensor<Wide<T>, B> bce_with_logits_loss(const Tensor<T, B>& x, std::span<const float> targets) {
  return detail::elementwise_loss("bce_with_logits_loss", detail::ElementwiseLoss::bce_with_logits, x,
                                  targets);
}

}  // namespace attune
