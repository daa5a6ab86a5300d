#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <attune/backend/op_tags.hpp>
#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>

namespace attune {

// A backend is a small copyable handle of a device with the member functions below. Kernels write into views
// that the caller allocated; they allocate nothing but workspace, check nothing and throw nothing: shapes are
// checked by the operations above. `T` is the type computed in, W = Wide<T> the type of statistics, losses
// and parameter gradients. All sums are in W or wider and in an order that does not depend on the number of
// threads.
//
// Unless said otherwise an output is overwritten and must not overlap an input; elementwise kernels, rope,
// linear_activation_backward and cross_entropy_backward may work in place. `accumulate` adds to the output
// instead. An empty span or a null view stands for an operand that is not there. Elements between cols and
// stride are neither read nor written.

/// matmul: c = alpha * op(a) op(b) + beta * c, for `batch` matrices that lie batch_stride_* elements apart.
struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
  float alpha = 1.0f;
  float beta = 0.0f;  ///< 0 overwrites c without reading it
  std::int64_t batch = 1;
  std::int64_t batch_stride_a = 0;
  std::int64_t batch_stride_b = 0;
  std::int64_t batch_stride_c = 0;
};

/// Scaled dot-product attention over packed sequences.
///
/// Sequence b's queries are query_segments.offsets[b] .. [b+1], its keys and values key_segments' rows
/// likewise. Head h reads columns h*D .. (h+1)*D of q, and of k and v those of head h / (heads / kv_heads).
/// With `causal`, query i of a sequence sees key j when j <= i + query_offset; `window` > 0 further asks j >
/// i + query_offset - window, causal or not. i and j count from the sequence's first query and key.
struct AttentionOptions {
  SegmentsView query_segments;
  SegmentsView key_segments;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t head_size = 0;  ///< D
  float scale = 1.0f;          ///< of q k^T, usually 1 / sqrt(D)
  bool causal = false;
  std::int64_t window = 0;
  std::int64_t query_offset = 0;
  DropoutView dropout;  ///< its rows are the query rows; the keys' positions are those of key_segments
};

/// cross_entropy: class weights and label smoothing as in PyTorch's CrossEntropyLoss.
template <class W>
struct CrossEntropyOptions {
  std::int32_t ignore_index = -100;
  float label_smoothing = 0.0f;
  std::span<const W> class_weights{};  ///< V, or empty for all one
};

/// A piece of the optimizer's arenas: elements offset .. offset + size share one parameter and one group.
struct ParameterChunk {
  std::int64_t offset = 0;
  std::int64_t size = 0;
  std::int32_t group = 0;
  /// The copy that is computed with, when it is not the master itself: its element i is master[offset + i].
  void* rounded = nullptr;
  DType rounded_type = DType::f32;
  /// What is known of a table of which the chunk holds whole rows of `row_size` elements: for each row,
  /// whether its gradient, and whether its moments may differ from zero. Null: all may. A backend may make
  /// use of it.
  std::int64_t row_size = 0;
  const std::uint8_t* row_grads = nullptr;
  const std::uint8_t* row_moments = nullptr;
};

/// AdamW's numbers for one group at one step. bias_correction_i = 1 - beta_i^step.
struct AdamWGroup {
  float lr, beta1, beta2, eps, weight_decay, bias_correction1, bias_correction2;
};

/// SGD's numbers for one group at one step, as in torch.optim.SGD. `first` marks the step that creates the
/// momentum (the first moment, which that step does not read). A group without momentum leaves it alone.
struct SgdGroup {
  float lr, momentum, dampening, weight_decay;
  bool nesterov, first;
};

/// Flat float arrays that lie beside one another; the moments may be null where the optimizer keeps none.
struct ArenaView {
  float* master = nullptr;
  float* grad = nullptr;
  float* first_moment = nullptr;
  float* second_moment = nullptr;
};

template <class B>
concept MemoryOps = std::copyable<B> && std::equality_comparable<B> &&
    requires(const B& b, void* device, const void* const_device, std::size_t bytes) {
  { b.name() } -> std::convertible_to<std::string>;
  // Whether the host may read it directly, and every call has done its work when it returns.
  { B::host_memory } -> std::convertible_to<bool>;
  // At least 64-byte aligned; throws DeviceError when the memory cannot be had.
  { b.allocate(bytes) } -> std::same_as<void*>;
  { b.deallocate(device, bytes) }
  noexcept;
  b.upload(device, const_device, bytes);    // host to device
  b.download(device, const_device, bytes);  // device to host
  b.copy(device, const_device, bytes);      // device to device
  b.zero(device, bytes);
  b.synchronize();
};

template <class B, class T>
concept LayoutOps = requires(const B& b, StridedView<const T> from, StridedView<T> to, std::span<const T> x,
                             std::span<Wide<T>> wide, std::span<const Wide<T>> const_wide, std::span<T> y,
                             MatrixView<const T> table, MatrixView<T> rows, MatrixView<Wide<T>> sums,
                             std::span<const std::int32_t> ids, bool accumulate, double value) {
  b.copy_strided(from, to, accumulate);  // equal shapes
  b.cast(x, wide);                       // T to W
  b.cast(const_wide, y);                 // W to T, to nearest even
  b.fill(y, value);
  b.gather_rows(table, ids, rows, accumulate);  // rows[i] = table[ids[i]]
  // sums[ids[i]] += table[i], where negative ids are passed over; without accumulate sums is zeroed first
  b.scatter_add_rows(table, ids, sums, accumulate);
};

template <class B, class T>
concept ElementwiseOps = requires(const B& b, Unary unary, Binary binary, std::span<const T> x,
                                  std::span<T> y, MatrixView<const T> a, MatrixView<T> c, float alpha,
                                  float beta, const Wide<T>* factor, DropoutView dropout) {
  b.unary(unary, x, y);
  b.unary_backward(unary, x, x, y);  // (op, saved input or output, if any, dy, dx)
  b.binary(binary, a, a, c);         // an operand with stride 0 is one row for all
  b.axpby(alpha, x, beta, y);        // y = alpha x + beta y; beta = 0 overwrites y without reading it
  b.axpby(factor, x, beta, y);       // the same with an alpha that lies on the device
  b.dropout(a, dropout, c);          // its own backward, applied to dy; a copy when switched off
  b.swiglu(a, a, c);                 // (gate, up, y = silu(gate) * up)
  b.swiglu_backward(a, a, a, c, c);  // (gate, up, dy, dgate, dup)
};

template <class B, class T>
concept ReduceOps = requires(const B& b, StridedView<const T> x, StridedView<T> y, MatrixView<const T> a,
                             std::span<std::int32_t> indices, std::span<const T> values, Wide<T>* total,
                             bool accumulate) {
  b.sum(x, y, accumulate);    // y has stride 0 where x is summed and nowhere else; equal shapes
  b.argmax_rows(a, indices);  // the lowest index among equals
  b.total(values, total);     // one number on the device
};

template <class B, class T>
concept MatmulOps = requires(const B& b, MatrixView<const T> a, MatrixView<T> c, MatrixView<Wide<T>> wide,
                             MatmulOptions options, std::span<const T> bias, Unary activation,
                             std::span<Wide<T>> bias_grad, bool accumulate) {
  b.matmul(a, a, c, options);
  b.matmul(a, a, wide, options);
  // y = f(x w^T + bias): (x [N, K], w [M, K], bias M or empty, f, pre-activation [N, M] or null, y [N, M])
  b.linear(a, a, bias, activation, c, c);
  // (f, saved [N, M], dy, dpre, bias gradient or empty, accumulate into it): dpre = dy * f'(saved), its
  // column sums. saved is the pre-activation or the output as saves(f) says. dpre may be dy's memory.
  b.linear_activation_backward(activation, a, a, c, bias_grad, accumulate);
  b.bias_backward(a, bias_grad, accumulate);  // column sums of dy
};

/// Products with a matrix in quantised blocks, which stands for its elements rounded to T. Optional:
/// BackendFor does not ask for it, and models on a backend without it keep no quantised weights.
template <class B, class T>
concept BlockOps = requires(const B& b, MatrixView<const T> a, BlockView w, MatrixView<T> c,
                            MatmulOptions options, std::span<const T> bias, Unary activation) {
  b.linear(a, w, bias, activation, c, c);  // as linear above
  b.matmul(a, w, c, options);  // as matmul above; the second operand is in blocks, options.batch is 1
};

/// Two operations in one kernel. Optional: without it they are done one after the other.
template <class B, class T>
concept FusedOps = requires(const B& b, MatrixView<const T> a, MatrixView<T> c, Unary activation,
                            std::span<Wide<T>> bias_grad, bool accumulate) {
  // linear_activation_backward of a product: dpre = (dy w) * f'(saved) and its column sums. (dy [N, M],
  // w [M, K], f, saved [N, K], dpre [N, K], bias gradient or empty, accumulate into it)
  b.matmul_activation_backward(a, a, activation, a, c, bias_grad, accumulate);
};
/// It, by whichever way the backend has.
template <class B, class T>
void matmul_activation_backward(const B& device, MatrixView<const T> dy, MatrixView<const T> w,
                                Unary activation, MatrixView<const T> saved, MatrixView<T> dpre,
                                std::span<Wide<T>> bias_grad, bool accumulate) {
  if constexpr (FusedOps<B, T>) {
    device.matmul_activation_backward(dy, w, activation, saved, dpre, bias_grad, accumulate);
  } else {
    device.matmul(dy, w, dpre, MatmulOptions{});
    device.linear_activation_backward(activation, saved, MatrixView<const T>(dpre), dpre, bias_grad,
                                      accumulate);
  }
}

template <class B, class T>
concept NormOps = requires(const B& b, MatrixView<const T> x, MatrixView<T> y, std::span<const T> weight,
                           float eps, DropoutView dropout, std::span<Wide<T>> statistics,
                           std::span<const Wide<T>> saved, std::span<Wide<T>> weight_grad, bool accumulate) {
  // s = residual + dropout(x); y = layer_norm(s) * weight + bias. Without residual (null) s is x, `s` may be
  // null, and dropout is off. (x, residual, dropout, weight, bias or empty, eps, s, y, mean N,
  // rstd N), the statistics those of s as it is stored.
  b.layer_norm(x, x, dropout, weight, weight, eps, y, y, statistics, statistics);
  // (dy, s, weight, mean, rstd, ds, weight gradient, bias gradient, accumulate into these two; empty: not
  // wanted; dropout, dx = dropout(ds) or null). The last two may be left out.
  b.layer_norm_backward(x, x, weight, saved, saved, y, weight_grad, weight_grad, accumulate, dropout, y);
  b.layer_norm_backward(x, x, weight, saved, saved, y, weight_grad, weight_grad, accumulate);
  // s = residual + x; y = s * rstd * weight. (x, residual or null, weight, eps, s or null, y, rstd N)
  b.rms_norm(x, x, weight, eps, y, y, statistics);
  // (dy, s, weight, rstd, ds, weight gradient, accumulate)
  b.rms_norm_backward(x, x, weight, saved, y, weight_grad, accumulate);
  // y = x / max(|x|, eps) row by row, and its backward. (x, eps, y, |x| N), (dy, y, |x|, eps, dx)
  b.l2_normalize(x, eps, y, statistics);
  b.l2_normalize_backward(x, x, saved, eps, y);
  // softmax over each row, and its backward. (x, y), (y, dy, dx)
  b.softmax(x, y);
  b.softmax_backward(x, x, y);
};

template <class B, class T>
concept SequenceOps = requires(const B& b, MatrixView<const T> x, MatrixView<T> y, SegmentsView segments,
                               AttentionOptions attention, MatrixView<Wide<T>> lse,
                               MatrixView<const Wide<T>> saved, std::span<const std::int32_t> positions,
                               std::int64_t heads, bool inverse, std::span<const Wide<T>> frequencies) {
  // (q [Nq, H*D], k [Nk, Hkv*D], v, options, y [Nq, H*D], log-sum-exp [Nq, H]; -inf and y = 0 for a query
  // without keys)
  b.attention(x, x, x, attention, y, lse);
  // (dy, q, k, v, y, lse, options, dq, dk, dv), all overwritten
  b.attention_backward(x, x, x, x, x, saved, attention, y, y, y);
  // Rotates pairs (d, d + D/2) of each head by positions[row] * frequencies[d]; `inverse` is the backward.
  // (x [N, H*D], positions N, frequencies D/2, heads, inverse, y or x itself)
  b.rope(x, positions, frequencies, heads, inverse, y);
  // y[b] = mean of sequence b's rows (0 for an empty one), and its backward.
  b.mean_rows(x, segments, y);
  b.mean_rows_backward(x, segments, y);
};

template <class B, class T>
concept LossOps = requires(const B& b, MatrixView<const T> logits, MatrixView<const Wide<T>> wide_logits,
                           MatrixView<T> grad, std::span<const std::int32_t> labels,
                           CrossEntropyOptions<Wide<T>> options, std::span<Wide<T>> values,
                           std::span<const Wide<T>> saved, std::span<const T> x,
                           std::span<const Wide<T>> targets, std::span<T> dx, const Wide<T>* scale,
                           Wide<T> factor) {
  // Per-row loss (0 where ignored; unreduced, weighted) and log-sum-exp (of ignored rows as well):
  // loss = -(1 - e) w_label log p_label - e / V sum_c w_c log p_c, with e the smoothing and V classes.
  b.cross_entropy(logits, labels, options, values, values);
  // dlogits = d(loss of the row) * factor * *scale; (logits, labels, options, lse, factor, scale on the
  // device, dlogits)
  b.cross_entropy_backward(logits, labels, options, saved, factor, scale, grad);
  b.cross_entropy_backward(wide_logits, labels, options, saved, factor, scale, grad);  // not in place
  // Elementwise losses (x - t)^2 and max(x, 0) - x t + log(1 + exp(-|x|)), unreduced, and their backward.
  b.mse(x, targets, values);
  b.mse_backward(x, targets, factor, scale, dx);
  b.bce_with_logits(x, targets, values);
  b.bce_with_logits_backward(x, targets, factor, scale, dx);
};

template <class B>
concept OptimizerOps = requires(const B& b, ArenaView arena, std::span<const ParameterChunk> chunks,
                                std::span<const AdamWGroup> adamw, std::span<const SgdGroup> sgd, float* norm,
                                const float* scale, float max_norm) {
  b.grad_norm(arena, chunks, norm);  // the 2-norm over all chunks, on the device
  // scale = min(1, max_norm / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_; NaN when the norm is not
  // finite
  b.clip_scale(norm, max_norm, norm);
  // Gradients are multiplied by *scale (null: by 1). A NaN scale leaves everything as it was.
  b.adamw(arena, chunks, adamw, scale);
  b.sgd(arena, chunks, sgd, scale);
};

/// Everything that models need of a backend that computes in T.
template <class B, class T>
concept BackendFor = MemoryOps<B> && OptimizerOps<B> && LayoutOps<B, T> && ElementwiseOps<B, T> &&
    ReduceOps<B, T> && MatmulOps<B, T> && NormOps<B, T> && SequenceOps<B, T> && LossOps<B, T>;

/// What user code is written over.
template <class B>
concept Backend = BackendFor<B, float>;

}  // namespace attune
