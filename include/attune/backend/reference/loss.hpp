#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include <attune/backend/backend.hpp>
#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Loss {
  using W = Wide<T>;

  /// With log p_c = x_c - lse, smoothing e, weights w and V classes, as torch.nn.CrossEntropyLoss:
  ///   loss = -(1 - e) w_label log p_label - e / V sum_c w_c log p_c.
  /// Label smoothing: Szegedy et al., arXiv:1512.00567.
  void cross_entropy(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                     CrossEntropyOptions<W> options, std::span<W> losses, std::span<W> lse) const {
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      const T* x = logits.row(row);
      double largest = -std::numeric_limits<double>::infinity(), sum = 0.0;
      for (std::int64_t c = 0; c < logits.cols; ++c) largest = std::max(largest, double(x[c]));
      for (std::int64_t c = 0; c < logits.cols; ++c) sum += std::exp(double(x[c]) - largest);
      const double log_sum = largest + std::log(sum);
      lse[row] = W(log_sum);
      losses[row] = W(0);
      if (labels[row] == options.ignore_index) continue;
      const double e = double{options.label_smoothing};
      double loss = (1.0 - e) * weight(options, labels[row]) * (log_sum - double(x[labels[row]]));
      for (std::int64_t c = 0; e > 0.0 && c < logits.cols; ++c)
        loss += e / double(logits.cols) * weight(options, c) * (log_sum - double(x[c]));
      losses[row] = W(loss);
    }
  }

  /// dx_c = (1 - e) w_label (p_c - [c = label]) + e / V (p_c sum(w) - w_c), times factor *scale.
  void cross_entropy_backward(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                              CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                              const W* scale, MatrixView<T> dlogits) const {
    backward_of(logits, labels, options, lse, factor, scale, dlogits);
  }
  void cross_entropy_backward(MatrixView<const OtherWide<T>> logits, std::span<const std::int32_t> labels,
                              CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                              const W* scale, MatrixView<T> dlogits) const {
    if constexpr (!std::is_same_v<T, W>) backward_of(logits, labels, options, lse, factor, scale, dlogits);
  }

  /// (x - t)^2
  void mse(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const {
    for (std::size_t i = 0; i < x.size(); ++i)
      losses[i] = W((double(x[i]) - double(targets[i])) * (double(x[i]) - double(targets[i])));
  }
  void mse_backward(std::span<const T> x, std::span<const W> targets, W factor, const W* scale,
                    std::span<T> dx) const {
    for (std::size_t i = 0; i < x.size(); ++i)
      dx[i] = T(2.0 * (double(x[i]) - double(targets[i])) * double(factor) * double(*scale));
  }

  /// -t log s(x) - (1 - t) log(1 - s(x)) = max(x, 0) - x t + log(1 + exp(-|x|))
  void bce_with_logits(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double value = double(x[i]);
      losses[i] =
          W(std::max(value, 0.0) - value * double(targets[i]) + std::log1p(std::exp(-std::abs(value))));
    }
  }
  /// s(x) - t
  void bce_with_logits_backward(std::span<const T> x, std::span<const W> targets, W factor, const W* scale,
                                std::span<T> dx) const {
    for (std::size_t i = 0; i < x.size(); ++i)
      dx[i] = T((sigmoid(double(x[i])) - double(targets[i])) * double(factor) * double(*scale));
  }

 private:
  template <class Logit>
  static void backward_of(MatrixView<const Logit> logits, std::span<const std::int32_t> labels,
                          const CrossEntropyOptions<W>& options, std::span<const W> lse, W factor,
                          const W* scale, MatrixView<T> dlogits) {
    double weight_sum = 0.0;
    for (std::int64_t c = 0; c < logits.cols; ++c) weight_sum += weight(options, c);
    for (std::int64_t row = 0; row < logits.rows; ++row)
      for (std::int64_t c = 0; c < logits.cols; ++c) {
        double gradient = 0.0;
        if (labels[row] != options.ignore_index) {
          const double p = std::exp(double(logits.row(row)[c]) - double(lse[row]));
          const double e = double{options.label_smoothing};
          const double hit = c == labels[row] ? 1.0 : 0.0;
          gradient = (1.0 - e) * weight(options, labels[row]) * (p - hit) +
                     e / double(logits.cols) * (p * weight_sum - weight(options, c));
        }
        dlogits.row(row)[c] = T(gradient * double(factor) * double(*scale));
      }
  }
  static double weight(const CrossEntropyOptions<W>& options, std::int64_t c) {
    return options.class_weights.empty() ? 1.0 : double(options.class_weights[c]);
  }
};

}  // namespace attune::reference
