#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/loss.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

/// log(sum(exp(x))) of a row, summed in pieces, so that long rows lose nothing.
inline float log_sum_exp(const float* x, std::int64_t n) {
  constexpr std::int64_t piece = 1024;
  const RowKernels& rows = kernels().rows;
  const float largest = rows.largest(x, n);
  float sum = 0.0f;
  for (std::int64_t begin = 0; begin < n; begin += piece)
    sum += rows.sum_exp_minus(x + begin, largest, std::min(piece, n - begin));
  return largest + std::log(sum);
}

template <class T>
void Loss<T>::cross_entropy(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                            CrossEntropyOptions<W> options, std::span<W> losses, std::span<W> lse) const {
  const std::int64_t n = logits.cols;
  const float smoothing = options.label_smoothing;
  const float* const weights = options.class_weights.empty() ? nullptr : options.class_weights.data();
  parallel_chunks(logits.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const x = as_floats(logits.row(row), n, buffer);
      const float log_sum = log_sum_exp(x, n);
      const std::int32_t label = labels[row];
      lse[row] = log_sum;
      if (label == options.ignore_index) {
        losses[row] = 0.0f;
        continue;
      }
      float loss = (1.0f - smoothing) * (weights ? weights[label] : 1.0f) * (log_sum - x[label]);
      if (smoothing > 0.0f)
        loss += smoothing / static_cast<float>(n) *
                (weights ? lane_sum(n, [&](std::int64_t c) { return weights[c] * (log_sum - x[c]); })
                         : lane_sum(n, [&](std::int64_t c) { return log_sum - x[c]; }));
      losses[row] = loss;
    }
  });
}

/// Loss::cross_entropy_backward of logits as T or as float.
template <class Logit, class T>
void cross_entropy_backward_of(MatrixView<const Logit> logits, std::span<const std::int32_t> labels,
                               const CrossEntropyOptions<float>& options, std::span<const float> lse,
                               float factor, const float* scale, MatrixView<T> dlogits) {
  const std::int64_t n = logits.cols;
  const float* const weights = options.class_weights.empty() ? nullptr : options.class_weights.data();
  const float upstream = factor * *scale, uniform = options.label_smoothing / static_cast<float>(n);
  const float weight_sum =
      weights ? lane_sum(n, [&](std::int64_t c) { return weights[c]; }) : static_cast<float>(n);
  parallel_chunks(logits.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int32_t label = labels[row];
      T* const target = dlogits.row(row);
      if (label == options.ignore_index) {
        std::fill_n(target, n, T(0.0f));
        continue;
      }
      const float hit = (1.0f - options.label_smoothing) * (weights ? weights[label] : 1.0f);
      const float* const x = as_floats(logits.row(row), n, buffer);
      float* const out = float_target(target, buffer);
      const RowKernels& rows = kernels().rows;
      const float probability_factor = (hit + uniform * weight_sum) * upstream;
      float p_label;
      rows.exp_minus(x + label, lse[row], &p_label, 1);
      if (weights) {
        rows.exp_minus(x, lse[row], out, n);
        for (std::int64_t c = 0; c < n; ++c)
          out[c] = probability_factor * out[c] - uniform * upstream * weights[c];
      } else {
        rows.scaled_exp(x, lse[row], probability_factor, -uniform * upstream, out, n);
      }
      // Grouped so that p - 1 loses nothing to the smoothing's terms.
      const float label_weight = weights ? weights[label] : 1.0f;
      out[label] =
          hit * upstream * (p_label - 1.0f) + uniform * upstream * (p_label * weight_sum - label_weight);
      store(out, target, n);
    }
  });
}

template <class T>
void Loss<T>::cross_entropy_backward(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                                     CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                                     const W* scale, MatrixView<T> dlogits) const {
  cross_entropy_backward_of(logits, labels, options, lse, factor, scale, dlogits);
}

template <class T>
void Loss<T>::cross_entropy_backward(MatrixView<const OtherWide<T>> logits,
                                     std::span<const std::int32_t> labels, CrossEntropyOptions<W> options,
                                     std::span<const W> lse, W factor, const W* scale,
                                     MatrixView<T> dlogits) const {
  if constexpr (!std::is_same_v<T, W>)
    cross_entropy_backward_of(logits, labels, options, lse, factor, scale, dlogits);
}

/// Calls f(x as floats, begin, count) for pieces of x; f fills an output of its own.
template <class T, class F>
void for_each_float_piece(std::span<const T> x, const F& f) {
  parallel_chunks(static_cast<std::int64_t>(x.size()), task_size, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    f(as_floats(x.data() + begin, end - begin, scratch.take<float>(end - begin)), begin, end - begin);
  });
}

template <class T>
void Loss<T>::mse(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const {
  for_each_float_piece(x, [&](const float* values, std::int64_t begin, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      const float difference = values[i] - targets[begin + i];
      losses[begin + i] = difference * difference;
    }
  });
}

template <class T>
void Loss<T>::mse_backward(std::span<const T> x, std::span<const W> targets, W factor, const W* scale,
                           std::span<T> dx) const {
  const float upstream = 2.0f * factor * *scale;
  for_each_float_piece(x, [&](const float* values, std::int64_t begin, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) dx[begin + i] = T(upstream * (values[i] - targets[begin + i]));
  });
}

template <class T>
void Loss<T>::bce_with_logits(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const {
  for_each_float_piece(x, [&](const float* values, std::int64_t begin, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i)
      losses[begin + i] = std::max(values[i], 0.0f) - values[i] * targets[begin + i] +
                          std::log1p(std::exp(-std::abs(values[i])));
  });
}

template <class T>
void Loss<T>::bce_with_logits_backward(std::span<const T> x, std::span<const W> targets, W factor,
                                       const W* scale, std::span<T> dx) const {
  const float upstream = factor * *scale;
  for_each_float_piece(x, [&](const float* values, std::int64_t begin, std::int64_t n) {
    Scratch scratch;
    float* const probability = scratch.take<float>(n);
    activate(Unary::sigmoid, values, probability, n);
    for (std::int64_t i = 0; i < n; ++i) dx[begin + i] = T(upstream * (probability[i] - targets[begin + i]));
  });
}

}  // namespace attune::cpu
