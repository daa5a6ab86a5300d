#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <attune/autograd/apply.hpp>
#include <attune/core/batch.hpp>

namespace attune {

/// Options of linear_cross_entropy.
struct LinearCrossEntropyOptions {
  std::int32_t ignore_index = attune::ignore_index;  ///< rows with this label count nowhere
  float label_smoothing = 0.0f;                      ///< in [0, 1)
  /// Logits that are held at a time, in elements; at least 32 rows of them are.
  std::int64_t chunk_elements = std::int64_t{1} << 23;
};

namespace detail {

/// loss = sum_i loss_i / n over the n counted rows of z = x W^T, a chunk of rows at a time. Forward computes
/// what backward needs while it has a chunk's logits: with g = d loss / d z, dx = g W and dW = g^T x;
/// backward multiplies both by dy. So no logits are kept, and none are computed twice.
template <class T, class B>
struct LinearCrossEntropyOp {
  static constexpr const char* name = "linear_cross_entropy";
  using W = Wide<T>;

  Detached<std::int32_t, B> labels;
  LinearCrossEntropyOptions options;
  double counted;
  Detached<T, B> input_grad{};
  Detached<W, B> weight_grad{};

  Detached<W, B> forward(Needs needs, const Detached<T, B>& input, const Detached<T, B>& weight) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const B& device = x.device();
    const std::int64_t rows = x.shape()[0], classes = weight.shape()[0], features = weight.shape()[1];
    if (needs[0]) input_grad = Detached<T, B>(device, {rows, features});
    if (needs[1]) weight_grad = Detached<W, B>(device, {classes, features});

    const std::int64_t chunk =
        std::clamp<std::int64_t>(options.chunk_elements / classes, 32, std::max<std::int64_t>(rows, 32));
    const std::int64_t held = std::min(chunk, rows);
    const Detached<W, B> losses(device, {rows}), lse(device, {held}), total(device, {}), loss(device, {});
    const Detached<W, B> logits(device, {held, classes}), one = Detached<W, B>::full(device, {}, 1.0);
    Detached<T, B> narrow;  // the gradient of the logits as an operand of products
    if constexpr (!std::is_same_v<T, W>)
      if (needs.any) narrow = Detached<T, B>(device, {held, classes});
    const CrossEntropyOptions<W> kernel_options{options.ignore_index, options.label_smoothing, {}};

    for (std::int64_t begin = 0; begin < rows; begin += chunk) {
      const std::int64_t count = std::min(chunk, rows - begin);
      const MatrixView<const T> part = x.slice(0, begin, begin + count).matrix();
      const MatrixView<W> z{logits.data(), count, classes, classes};
      const auto own_labels = std::span<const std::int32_t>(labels.span()).subspan(at(begin), at(count));
      device.matmul(part, MatrixView<const T>(weight.matrix()), z, {.transpose_b = true});
      device.cross_entropy(MatrixView<const W>(z), own_labels, kernel_options,
                           losses.span().subspan(at(begin), at(count)), lse.span().first(at(count)));
      if (!needs.any) continue;
      device.cross_entropy_backward(MatrixView<const W>(z), own_labels, kernel_options,
                                    std::span<const W>(lse.span().first(at(count))),
                                    static_cast<W>(1.0 / counted), static_cast<const W*>(one.data()), z);
      const MatrixView<const T> g = as_operand(z, narrow);
      if (needs[0])
        device.matmul(g, MatrixView<const T>(weight.matrix()),
                      input_grad.slice(0, begin, begin + count).matrix(), {});
      if (needs[1])
        device.matmul(g, part, weight_grad.matrix(), {.transpose_a = true, .beta = begin == 0 ? 0.0f : 1.0f});
    }
    device.total(std::span<const W>(losses.span()), total.data());
    device.axpby(static_cast<float>(1.0 / counted), std::span<const W>(total.span()), 0.0f, loss.span());
    return loss;
  }

  void backward(const Detached<W, B>& dy, Gradient<T, B> dx, Gradient<W, B> dw) const {
    if (dx) hand_over(input_grad, dy, dx);
    if (dw) hand_over(weight_grad, dy, dw);
  }

 private:
  static std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

  static MatrixView<const T> as_operand(const MatrixView<W>& z, const Detached<T, B>& narrow) {
    if constexpr (std::is_same_v<T, W>) {
      return z;
    } else {
      const auto count = at(z.rows * z.cols);
      narrow.device().cast(std::span<const W>(z.data, count), narrow.span().first(count));
      return {narrow.data(), z.rows, z.cols, z.cols};
    }
  }

  template <class U>
  static void hand_over(const Detached<U, B>& gradient, const Detached<W, B>& upstream,
                        Gradient<U, B>& target) {
    // Usually it is 1, and a pass is saved by looking; elsewhere the look would wait for the device.
    if constexpr (B::host_memory)
      if (upstream.item() == W{1}) return target.adopt(gradient);
    const float beta = target.beta();
    gradient.device().axpby(static_cast<const W*>(upstream.data()), std::span<const U>(gradient.span()), beta,
                            target.target().span());
  }
};

}  // namespace detail

/// cross_entropy(linear(x, weight), labels) without ever holding the logits of more than a few rows: x [N,
/// C], weight [V, C], labels N. The mean over counted rows; of no rows it is NaN, as in PyTorch. Memory is
/// that of x's gradient and, when the weight trains, of the weight's. Throws ShapeError for a wrong count and
/// ConfigError for a label or option out of range.
template <class T, class B>
Tensor<Wide<T>, B> linear_cross_entropy(const Tensor<T, B>& x, const Parameter<T, B>& weight,
                                        std::span<const std::int32_t> labels,
                                        const LinearCrossEntropyOptions& options = {}) {
  const Shape w = weight.shape();
  if (x.rank() != 2 || w.rank() != 2 || x.shape()[1] != w[1] ||
      x.shape()[0] != static_cast<std::int64_t>(labels.size()))
    throw ShapeError("linear_cross_entropy: x [N, C], weight [V, C] and N labels are needed, found " +
                     x.shape().to_string() + ", " + w.to_string() + " and " + std::to_string(labels.size()) +
                     " labels");
  if (!(options.label_smoothing >= 0.0f && options.label_smoothing < 1.0f))
    throw ConfigError("linear_cross_entropy: label_smoothing must lie in [0, 1), found " +
                      std::to_string(options.label_smoothing));
  if (options.chunk_elements < 1)
    throw ConfigError("linear_cross_entropy: chunk_elements must be positive, found " +
                      std::to_string(options.chunk_elements));
  std::int64_t counted = 0;
  for (const std::int32_t label : labels) {
    if (label == options.ignore_index) continue;
    if (label < 0 || label >= w[0])
      throw ConfigError("linear_cross_entropy: a label must lie in [0, " + std::to_string(w[0]) +
                        "), found " + std::to_string(label));
    ++counted;
  }
  return apply(
      detail::LinearCrossEntropyOp<T, B>{Detached<std::int32_t, B>::from_values(
                                             x.device(), {static_cast<std::int64_t>(labels.size())}, labels),
                                         options, static_cast<double>(counted)},
      x, weight);
}

}  // namespace attune
