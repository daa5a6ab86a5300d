#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <attune/backend/cpu/attention_parts.hpp>
#include <attune/backend/cpu/dropout.hpp>
#include <attune/backend/cpu/gemm_blocks.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

// Attention of one head on panels of `width` queries. Scores are computed transposed, [keys][width]: then
// softmax adds in the lanes of vectors, and the weights are the packed operand of the next product as they
// lie. Keys and values are packed once for all panels of a sequence.

namespace attune::cpu {

/// An operand's rows in panels, ready for GemmKernels::micro.
struct PackedRows {
  Panels panels;
  std::int64_t steps;
  float* data;

  /// Panel `panel` from step `step` on.
  LeftPanel at(std::int64_t panel, std::int64_t step = 0) const {
    const int height = panels.width(panel);
    return LeftPanel::packed(data + panels.start(panel) * steps + step * height, height);
  }
};

/// The kernels of panels, and how they multiply: rows of T with each other as T is multiplied (`native`), and
/// what is computed from them in floats, for which T is widened when it is packed (`source`).
template <class T>
struct PanelMath {
  const Kernels& set = kernels();
  const GemmKernels<float>& floats = set.gemm<float>();
  const GemmKernels<T>& native = set.gemm<T>();
  const GemmKernels<T>& source = set.widening_gemm<T>();
  const ElementKernels<T>& elements = set.elements<T>();
  std::int64_t width = floats.cols;

  /// Packs `rows` rows (element (i, k) at from[i * stride + k], or from[k * stride + i] unless `along`) of k
  /// in the steps of `by`.
  PackedRows pack(const GemmKernels<T>& by, const T* from, std::int64_t stride, bool along, std::int64_t rows,
                  std::int64_t k, Scratch& scratch) const {
    const std::int64_t steps = (k + by.group - 1) / by.group;
    PackedRows packed{Panels::even(rows, by.rows), steps, scratch.take<float>(rows * steps)};
    for (std::int64_t panel = 0; panel < packed.panels.count; ++panel) {
      const std::int64_t start = packed.panels.start(panel);
      const int height = packed.panels.width(panel);
      by.pack(from + (along ? start * stride : start), stride, along, height, height, k,
              packed.data + start * steps);
    }
    return packed;
  }
  /// c [rows of the panels][width] = alpha * (panels first .. last of a) b [steps][width], both packed by
  /// `native`.
  void multiply_native(const PackedRows& a, std::int64_t first, std::int64_t last, const float* b,
                       float alpha, float* c) const {
    for (std::int64_t panel = first; panel < last; ++panel)
      native.micro(a.panels.width(panel), a.steps, a.at(panel), b,
                   c + (a.panels.start(panel) - a.panels.start(first)) * width, width, alpha, 0.0f);
  }
  /// The same in floats, with all panels of a from its step on.
  void multiply(const PackedRows& a, std::int64_t step, std::int64_t steps, const float* b, float alpha,
                float* c) const {
    for (std::int64_t panel = 0; panel < a.panels.count; ++panel)
      floats.micro(a.panels.width(panel), steps, a.at(panel, step), b, c + a.panels.start(panel) * width,
                   width, alpha, 0.0f);
  }
};

/// Some queries of a sequence, seen by one head, and the panels of keys that any of them sees.
struct QueryPanel {
  std::int64_t begin, count;             // of the sequence's queries
  std::int64_t first_panel, last_panel;  // of keys
  std::int64_t first_key, keys;          // in those

  QueryPanel(const AttentionOptions& options, const AttentionSequence& sequence, const Panels& panels,
             std::int64_t begin, std::int64_t width)
      : begin(begin), count(std::min(width, sequence.queries - begin)) {
    // Both ends of the visible keys only grow with the query.
    const std::int64_t first = visible_keys(options, begin, sequence.keys).first;
    const std::int64_t last = visible_keys(options, begin + count - 1, sequence.keys).last;
    first_panel = 0;
    while (first_panel < panels.count && panels.start(first_panel + 1) <= first) ++first_panel;
    last_panel = first_panel;
    while (last_panel < panels.count && panels.start(last_panel) < last) ++last_panel;
    first_key = panels.start(first_panel);
    keys = panels.start(last_panel) - first_key;
  }

  /// Scores of keys that a query does not see become -infinity.
  void hide(const AttentionOptions& options, std::int64_t sequence_keys, std::int64_t width,
            float* scores) const {
    if (!options.causal && options.window <= 0) return;
    for (std::int64_t c = 0; c < count; ++c) {
      const KeyRange visible = visible_keys(options, begin + c, sequence_keys);
      const std::int64_t first = std::clamp<std::int64_t>(visible.first - first_key, 0, keys);
      const std::int64_t last = std::clamp<std::int64_t>(visible.last - first_key, first, keys);
      for (std::int64_t j = 0; j < first; ++j) scores[j * width + c] = -__builtin_inff();
      for (std::int64_t j = last; j < keys; ++j) scores[j * width + c] = -__builtin_inff();
    }
  }
};

/// Dropout's factors of panels of one sequence and head; null without dropout.
class PanelFactors {
 public:
  PanelFactors(const PanelKernels& kernels, const AttentionOptions& options,
               const AttentionSequence& sequence, std::int64_t head, Scratch& scratch)
      : kernels_(kernels), options_(options), sequence_(sequence), head_(head) {
    if (!options.dropout) return;
    positions_ = options.key_segments.positions + sequence.key_begin;
    consecutive_ = are_consecutive(positions_, sequence.keys);
    factors_ = scratch.take<float>(sequence.keys * kernels.width);
    queries_ = scratch.take<std::uint32_t>(2 * kernels.width);
    if (!consecutive_) row_ = scratch.take<float>(sequence.keys);
  }

  const float* of(const QueryPanel& panel) {
    if (!options_.dropout) return nullptr;
    const DropoutView& dropout = options_.dropout;
    const std::int64_t query_row = sequence_.query_begin + panel.begin;
    if (consecutive_) {
      for (std::int64_t c = 0; c < kernels_.width; ++c) {  // queries beyond the last one draw as it does
        const std::int64_t row = query_row + std::min(c, panel.count - 1);
        queries_[c] = static_cast<std::uint32_t>(dropout.positions[row]);
        queries_[kernels_.width + c] = static_cast<std::uint32_t>(dropout.samples[row]);
      }
      PanelDropout draw;
      draw.positions = queries_;
      draw.samples = queries_ + kernels_.width;
      draw.stream = attention_stream(dropout, head_);
      draw.first_key = panel.keys > 0 ? static_cast<std::uint32_t>(positions_[panel.first_key]) : 0;
      draw.key = dropout.key;
      draw.threshold = dropout.threshold();
      draw.scale = dropout.scale();
      kernels_.dropout(draw, panel.keys, factors_);
      return factors_;
    }
    std::fill_n(factors_, panel.keys * kernels_.width, 1.0f);
    for (std::int64_t c = 0; c < panel.count; ++c) {
      attention_dropout_row(dropout, query_row + c, head_, positions_ + panel.first_key, panel.keys, false,
                            row_);
      for (std::int64_t j = 0; j < panel.keys; ++j) factors_[j * kernels_.width + c] = row_[j];
    }
    return factors_;
  }

 private:
  const PanelKernels& kernels_;
  const AttentionOptions& options_;
  const AttentionSequence& sequence_;
  std::int64_t head_;
  const std::int32_t* positions_ = nullptr;
  bool consecutive_ = false;
  float* factors_ = nullptr;
  std::uint32_t* queries_ = nullptr;
  float* row_ = nullptr;
};

/// The queries begin .. end of a sequence, in one head.
template <class T>
void attend_panels(const MatrixView<const T>& q, const MatrixView<const T>& k, const MatrixView<const T>& v,
                   const AttentionOptions& options, const AttentionSequence& sequence, std::int64_t head,
                   std::int64_t begin, std::int64_t end, const MatrixView<T>& y,
                   const MatrixView<float>& lse) {
  const PanelMath<T> math;
  const std::int64_t size = options.head_size, width = math.width;
  const std::int64_t column = head / (options.heads / options.kv_heads) * size;
  Scratch scratch;
  const PackedRows keys = math.pack(math.native, k.row(sequence.key_begin) + column, k.stride, true,
                                    sequence.keys, size, scratch);
  const PackedRows values = math.pack(math.source, v.row(sequence.key_begin) + column, v.stride, false, size,
                                      sequence.keys, scratch);
  float* const queries = scratch.take<float>(size * width);
  float* const weights = scratch.take<float>(sequence.keys * width);
  float* const out = scratch.take<float>(size * width);
  float* const top = scratch.take<float>(width);
  float* const total = scratch.take<float>(width);
  PanelFactors factors(math.set.panels, options, sequence, head, scratch);

  for (std::int64_t at = begin; at < end; at += width) {
    const QueryPanel panel(options, sequence, keys.panels, at, width);
    const std::int64_t row = sequence.query_begin + at;
    math.native.pack(q.row(row) + head * size, q.stride, true, static_cast<int>(width),
                     static_cast<int>(panel.count), size, queries);
    math.multiply_native(keys, panel.first_panel, panel.last_panel, queries, options.scale, weights);
    panel.hide(options, sequence.keys, width, weights);
    math.set.panels.weights(weights, factors.of(panel), panel.keys, top, total);
    for (std::int64_t c = 0; c < panel.count; ++c)
      lse.row(row + c)[head] = total[c] == 0.0f ? -__builtin_inff() : top[c] + std::log(total[c]);
    for (std::int64_t c = 0; c < width; ++c) total[c] = total[c] == 0.0f ? 0.0f : 1.0f / total[c];
    math.multiply(values, panel.first_key, panel.keys, weights, 1.0f, out);
    math.elements.store_panel(out, size, static_cast<int>(panel.count), total, y.row(row) + head * size,
                              y.stride);
  }
}

/// The backward of one sequence and key head, which owns rows and columns of dk and dv and, for the query
/// heads that share them, of dq.
template <class T>
void attend_panels_backward(const MatrixView<const T>& dy, const MatrixView<const T>& q,
                            const MatrixView<const T>& k, const MatrixView<const T>& v,
                            const MatrixView<const float>& lse, const AttentionOptions& options,
                            const AttentionSequence& sequence, std::int64_t kv_head, const MatrixView<T>& dq,
                            const MatrixView<T>& dk, const MatrixView<T>& dv) {
  const PanelMath<T> math;
  const std::int64_t size = options.head_size, width = math.width, n = sequence.keys;
  const std::int64_t group = options.heads / options.kv_heads, column = kv_head * size;
  const std::int64_t pieces = (size + width - 1) / width, sums_stride = pieces * width;
  Scratch scratch;
  const PackedRows keys =
      math.pack(math.native, k.row(sequence.key_begin) + column, k.stride, true, n, size, scratch);
  const PackedRows values =
      math.pack(math.native, v.row(sequence.key_begin) + column, v.stride, true, n, size, scratch);
  const PackedRows key_columns =
      math.pack(math.source, k.row(sequence.key_begin) + column, k.stride, false, size, n, scratch);
  float* const key_sums = scratch.take<float>(n * sums_stride);
  float* const value_sums = scratch.take<float>(n * sums_stride);
  std::fill_n(key_sums, n * sums_stride, 0.0f);
  std::fill_n(value_sums, n * sums_stride, 0.0f);
  float* const queries = scratch.take<float>(size * width);
  float* const upstream = scratch.take<float>(size * width);
  float* const query_rows = scratch.take<float>(width * sums_stride);
  float* const upstream_rows = scratch.take<float>(width * sums_stride);
  float* const weights = scratch.take<float>(n * width);
  float* const grads = scratch.take<float>(n * width);
  float* const query_grads = scratch.take<float>(size * width);
  float* const shifts = scratch.take<float>(width);

  // [steps = queries][width] for each piece of the head's columns
  const auto pack_across = [&](const T* from, std::int64_t stride, std::int64_t count, float* to) {
    for (std::int64_t piece = 0; piece < pieces; ++piece)
      math.source.pack(from + piece * width, stride, false, static_cast<int>(width),
                       static_cast<int>(std::min(width, size - piece * width)), count,
                       to + piece * width * width);
  };

  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    Scratch of_head;
    PanelFactors factors(math.set.panels, options, sequence, head, of_head);
    for (std::int64_t begin = 0; begin < sequence.queries; begin += width) {
      const QueryPanel panel(options, sequence, keys.panels, begin, width);
      const std::int64_t row = sequence.query_begin + begin;
      const int count = static_cast<int>(panel.count);
      const T* const q_rows = q.row(row) + head * size;
      const T* const dy_rows = dy.row(row) + head * size;
      math.native.pack(q_rows, q.stride, true, static_cast<int>(width), count, size, queries);
      math.native.pack(dy_rows, dy.stride, true, static_cast<int>(width), count, size, upstream);
      pack_across(q_rows, q.stride, count, query_rows);
      pack_across(dy_rows, dy.stride, count, upstream_rows);
      math.multiply_native(keys, panel.first_panel, panel.last_panel, queries, options.scale, weights);
      math.multiply_native(values, panel.first_panel, panel.last_panel, upstream, 1.0f, grads);
      panel.hide(options, n, width, weights);
      for (std::int64_t c = 0; c < width; ++c) {
        const float row_lse = c < count ? lse.row(row + c)[head] : 0.0f;
        shifts[c] = row_lse == -__builtin_inff() ? 0.0f : row_lse;  // without keys all scores are -infinity
      }
      math.set.panels.weights_backward(weights, grads, factors.of(panel), shifts, panel.keys);

      math.multiply(key_columns, panel.first_key, panel.keys, grads, options.scale, query_grads);
      math.elements.store_panel(query_grads, size, count, nullptr, dq.row(row) + head * size, dq.stride);
      for (std::int64_t at = panel.first_panel; at < panel.last_panel; ++at) {
        const int height = keys.panels.width(at);
        const std::int64_t key = keys.panels.start(at), offset = (key - panel.first_key) * width;
        for (std::int64_t piece = 0; piece < pieces; ++piece) {
          const std::int64_t place = key * sums_stride + piece * width;
          math.floats.micro(height, count, LeftPanel::rows(grads + offset, width),
                            query_rows + piece * width * width, key_sums + place, sums_stride, options.scale,
                            1.0f);
          math.floats.micro(height, count, LeftPanel::rows(weights + offset, width),
                            upstream_rows + piece * width * width, value_sums + place, sums_stride, 1.0f,
                            1.0f);
        }
      }
    }
  }
  for (std::int64_t j = 0; j < n; ++j) {
    narrow(key_sums + j * sums_stride, dk.row(sequence.key_begin + j) + column, size);
    narrow(value_sums + j * sums_stride, dv.row(sequence.key_begin + j) + column, size);
  }
}

}  // namespace attune::cpu
