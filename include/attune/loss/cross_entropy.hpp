#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <attune/autograd/apply.hpp>
#include <attune/core/batch.hpp>
#include <attune/loss/total.hpp>

namespace attune {

/// Options of cross_entropy, as torch.nn.CrossEntropyLoss.
struct CrossEntropyLossOptions {
  std::int32_t ignore_index = attune::ignore_index;  ///< rows with this label count nowhere
  float label_smoothing = 0.0f;                      ///< in [0, 1)
  std::vector<float> class_weights{};                ///< V, or empty for all one
};

namespace detail {

/// loss = sum_i loss_i / sum_i weight[label_i], the log-sum-exp being all that is saved. Row i's gradient is
/// (softmax(x_i) (weight sums of its target) - target_i) / sum of weights.
template <class T, class B>
struct CrossEntropyOp {
  static constexpr const char* name = "cross_entropy";
  Detached<std::int32_t, B> labels;
  Detached<Wide<T>, B> weights;
  std::int32_t ignored;
  float smoothing;
  double normalizer;  ///< the weighted number of counted rows
  Saved<T, B> logits{};
  Detached<Wide<T>, B> lse{};

  CrossEntropyOptions<Wide<T>> options() const {
    return {ignored, smoothing,
            weights ? std::span<const Wide<T>>(weights.span()) : std::span<const Wide<T>>()};
  }

  Detached<Wide<T>, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const B& device = x.device();
    const Detached<Wide<T>, B> losses(device, {x.matrix().rows});
    lse = Detached<Wide<T>, B>(device, {x.matrix().rows});
    device.cross_entropy(MatrixView<const T>(x.matrix()), std::span<const std::int32_t>(labels.span()),
                         options(), losses.span(), lse.span());
    logits = x;
    return scaled_total(losses, 1.0 / normalizer);
  }

  void backward(const Detached<Wide<T>, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      dy.device().cross_entropy_backward(
          MatrixView<const T>(logits.get().matrix()), std::span<const std::int32_t>(labels.span()), options(),
          std::span<const Wide<T>>(lse.span()), static_cast<Wide<T>>(1.0 / normalizer),
          static_cast<const Wide<T>*>(dy.data()), out.matrix());
    });
  }
};

}  // namespace detail

/// The weighted mean over counted rows of -log softmax(logits)[label]: logits [N, V], labels N. As in PyTorch
/// the mean of no rows is NaN. Throws ShapeError for a wrong count and ConfigError for a label or option out
/// of range.
template <class T, class B>
Tensor<Wide<T>, B> cross_entropy(const Tensor<T, B>& logits, std::span<const std::int32_t> labels,
                                 const CrossEntropyLossOptions& options = {}) {
  const std::int64_t classes = logits.shape().back();
  if (logits.rank() != 2 || logits.shape()[0] != static_cast<std::int64_t>(labels.size()))
    throw ShapeError("cross_entropy: logits [N, V] and N labels are needed, found " +
                     logits.shape().to_string() + " and " + std::to_string(labels.size()) + " labels");
  if (!options.class_weights.empty() && static_cast<std::int64_t>(options.class_weights.size()) != classes)
    throw ConfigError("cross_entropy: class_weights needs " + std::to_string(classes) + " numbers, found " +
                      std::to_string(options.class_weights.size()));
  if (!(options.label_smoothing >= 0.0f && options.label_smoothing < 1.0f))
    throw ConfigError("cross_entropy: label_smoothing must lie in [0, 1), found " +
                      std::to_string(options.label_smoothing));
  double normalizer = 0.0;
  for (const std::int32_t label : labels) {
    if (label == options.ignore_index) continue;
    if (label < 0 || label >= classes)
      throw ConfigError("cross_entropy: a label must lie in [0, " + std::to_string(classes) + "), found " +
                        std::to_string(label));
    normalizer +=
        options.class_weights.empty() ? 1.0 : double{options.class_weights[static_cast<std::size_t>(label)]};
  }
  const B& device = logits.device();
  const std::vector<Wide<T>> weights(options.class_weights.begin(), options.class_weights.end());
  return apply(
      detail::CrossEntropyOp<T, B>{
          Detached<std::int32_t, B>::from_values(device, {static_cast<std::int64_t>(labels.size())}, labels),
          weights.empty()
              ? Detached<Wide<T>, B>()
              : Detached<Wide<T>, B>::from_values(device, {classes}, std::span<const Wide<T>>(weights)),
          options.ignore_index, options.label_smoothing, normalizer},
      logits);
}

}  // namespace attune
