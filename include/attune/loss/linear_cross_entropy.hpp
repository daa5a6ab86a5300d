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
  /// Logits that are held at a time, in elements; at least 32 rows of them are. 0: as suits the backend, 2^23
  /// on a CPU (32 MiB of float logits, and 16 MiB of their gradient in bfloat16) and 2^27 on a GPU, which
  /// smaller products do not keep busy (512 and 256 MiB), but at most a 32nd of its memory.
  std::int64_t chunk_elements = 0;
};

/// options.chunk_elements, or what suits the device.
template <class B>
std::int64_t held_logits(const B& device, const LinearCrossEntropyOptions& options) {
  if (options.chunk_elements > 0) return options.chunk_elements;
  if constexpr (requires { device.chunk_elements(); })
    return device.chunk_elements();
  else
    return std::int64_t{1} << 23;
}

namespace detail {

/// The number of classes, rounded up to what the backend's products are fast with.
template <class B>
std::int64_t padded_classes(std::int64_t classes) {
  if constexpr (requires { B::product_multiple; })
    return (classes + B::product_multiple - 1) / B::product_multiple * B::product_multiple;
  else
    return classes;
}

/// loss = sum_i loss_i / n over the n counted rows of z = x W^T, a chunk of rows at a time. Forward computes
/// what backward needs while it has a chunk's logits: with g = d loss / d z, dx = g W and dW = g^T x;
/// backward multiplies both by dy. So no logits are kept, and none are computed twice. They are in Wide<T>:
/// those of a trained model are large beside their differences, and bfloat16 would keep 8 bits of them.
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
    // The added classes have weights of zero and gradients of zero; the loss does not see them.
    const std::int64_t padded = padded_classes<B>(classes);
    const Detached<T, B> w = with_rows(weight, padded);
    Detached<W, B> padded_grad;
    if (needs[0]) input_grad = Detached<T, B>(device, {rows, features});
    if (needs[1]) padded_grad = Detached<W, B>(device, {padded, features});

    const std::int64_t chunk = rows_at_once(device, rows, classes), held = std::min(chunk, rows);
    const Detached<W, B> losses(device, {rows}), lse(device, {held}), total(device, {}), loss(device, {});
    const Detached<W, B> logits(device, {held, padded}), one = Detached<W, B>::full(device, {}, 1.0);
    const Detached<T, B> gradient = needs.any ? gradient_of(logits, classes) : Detached<T, B>();
    const CrossEntropyOptions<W> kernel_options{options.ignore_index, options.label_smoothing, {}};

    for (std::int64_t begin = 0; begin < rows; begin += chunk) {
      const std::int64_t count = std::min(chunk, rows - begin);
      const MatrixView<const T> part = x.slice(0, begin, begin + count).matrix();
      const MatrixView<W> z{logits.data(), count, padded, padded};
      const auto own_labels = std::span<const std::int32_t>(labels.span()).subspan(at(begin), at(count));
      device.matmul(part, MatrixView<const T>(w.matrix()), z, {.transpose_b = true});
      device.cross_entropy(MatrixView<const W>(z.columns(0, classes)), own_labels, kernel_options,
                           losses.span().subspan(at(begin), at(count)), lse.span().first(at(count)));
      if (!needs.any) continue;
      const MatrixView<T> g{gradient.data(), count, padded, padded};
      device.cross_entropy_backward(MatrixView<const W>(z.columns(0, classes)), own_labels, kernel_options,
                                    std::span<const W>(lse.span().first(at(count))),
                                    static_cast<W>(1.0 / counted), static_cast<const W*>(one.data()),
                                    g.columns(0, classes));
      if (needs[0])
        device.matmul(MatrixView<const T>(g), MatrixView<const T>(w.matrix()),
                      input_grad.slice(0, begin, begin + count).matrix(), {});
      if (needs[1])
        device.matmul(MatrixView<const T>(g), part, padded_grad.matrix(),
                      {.transpose_a = true, .beta = begin == 0 ? 0.0f : 1.0f});
    }
    if (needs[1]) weight_grad = padded_grad.slice(0, 0, classes);
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

  /// As many rows as may be held, or fewer so that all chunks are about as large.
  std::int64_t rows_at_once(const B& device, std::int64_t rows, std::int64_t classes) const {
    const std::int64_t most = std::clamp<std::int64_t>(held_logits(device, options) / classes, 32,
                                                       std::max<std::int64_t>(rows, 32));
    const std::int64_t chunks = std::max<std::int64_t>((rows + most - 1) / most, 1);
    constexpr std::int64_t tile = 128;  // rows of a product that are computed together
    return std::min(most, ((rows + chunks - 1) / chunks + tile - 1) / tile * tile);
  }

  /// The matrix with rows of zeros added, itself where it has as many.
  static Detached<T, B> with_rows(const Detached<T, B>& matrix, std::int64_t rows) {
    const std::int64_t own = matrix.shape()[0], features = matrix.shape()[1];
    if (own == rows) return matrix;
    const B& device = matrix.device();
    const Detached<T, B> result(device, {rows, features});
    device.copy_strided(matrix.const_view(), result.slice(0, 0, own).view(), false);
    device.zero(result.slice(0, own, rows).data(), at((rows - own) * features) * sizeof(T));
    return result;
  }

  /// Where the gradient of the logits is computed, as an operand of products: in their place if it is of
  /// their type. The padding's gradient is zero.
  static Detached<T, B> gradient_of(const Detached<W, B>& logits, std::int64_t classes) {
    if constexpr (std::is_same_v<T, W>) {
      return logits;  // the product has made the padding zero
    } else {
      const B& device = logits.device();
      const std::int64_t rows = logits.shape()[0], padded = logits.shape()[1];
      const Detached<T, B> gradient(device, {rows, padded});
      if (classes < padded)
        device.copy_strided(
            Detached<T, B>::full(device, {1, 1}, 0.0).expand({rows, padded - classes}).const_view(),
            gradient.slice(1, classes, padded).view(), false);
      return gradient;
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
/// that of x's gradient, when the weight trains of the weight's, and of the held logits; on a GPU also of a
/// copy of the weight where V is no multiple of 8, while the loss is computed. Throws ShapeError for a wrong
/// count and ConfigError for a label or option out of range.
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
  if (options.chunk_elements < 0)
    throw ConfigError("linear_cross_entropy: chunk_elements must not be negative, found " +
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
