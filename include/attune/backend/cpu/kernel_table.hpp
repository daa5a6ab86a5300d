#pragma once

#include <cstddef>
#include <cstdint>

#include <attune/backend/cpu/isa.hpp>
#include <attune/backend/op_tags.hpp>
#include <attune/core/block_type.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/random.hpp>

namespace attune::cpu {

/// What becomes of a finished tile of a matrix product, row by row:
///   v = tile + beta * out + bias;  pre = v;  out = activation(v) + residual.
/// All pointers stand at the tile's first element; all but tile and out may be null.
template <class T>
struct TileFinish {
  float* tile = nullptr;  ///< [rows, cols]; overwritten
  std::int64_t tile_stride = 0;
  const T* bias = nullptr;  ///< [cols]
  T* pre = nullptr;
  std::int64_t pre_stride = 0;
  const T* residual = nullptr;
  std::int64_t residual_stride = 0;
  T* out = nullptr;
  std::int64_t out_stride = 0;
  float beta = 0.0f;  ///< 0: out is not read
  Unary activation = Unary::identity;
};

/// A row of layer_norm or rms_norm: s = residual + factors .* x, y = (s - mean) rstd weight + bias. What may
/// be null is left out.
template <class T>
struct NormRow {
  const T* x = nullptr;
  const T* residual = nullptr;
  const float* factors = nullptr;  ///< of dropout; only with a residual
  const float* weight = nullptr;
  const float* bias = nullptr;
  float eps = 0.0f;
  bool centered = true;  ///< layer_norm; false: rms_norm, the mean is 0
  T* s = nullptr;
  T* y = nullptr;
  float* buffer = nullptr;  ///< workspace of a row
  float mean = 0.0f;        ///< these two are results
  float rstd = 0.0f;
};

/// A row of their backward: ds, dx = factors .* ds, and what the row adds to the gradients of weight and
/// bias.
template <class T>
struct NormBackwardRow {
  const T* dy = nullptr;
  const T* s = nullptr;
  const float* weight = nullptr;
  float mean = 0.0f;
  float rstd = 0.0f;
  bool centered = true;
  T* ds = nullptr;
  const float* factors = nullptr;  ///< null as dx is
  T* dx = nullptr;
  float* weight_sum = nullptr;
  float* bias_sum = nullptr;
};

/// Some parameters in the optimizer's arena.
struct ParameterPointers {
  float* master = nullptr;
  const float* grad = nullptr;
  float* first = nullptr;
  float* second = nullptr;
  bfloat16* rounded = nullptr;  ///< the master in bfloat16, or null
};
/// m = beta1 m + rest1 g, v = beta2 v + rest2 g^2, p = keep p - step m / (sqrt(v) inverse_root + eps), with g
/// the gradient times factor. A null gradient is zero, and so are null moments, which stay so.
struct AdamWNumbers {
  float factor, keep, beta1, rest1, beta2, rest2, step, inverse_root, eps;
};
/// g = factor gradient + weight_decay p; moment = keep moment + take g, or take g at first; p -= lr (g +
/// momentum moment) for nesterov, lr moment otherwise, lr g without a moment.
struct SgdNumbers {
  float factor, weight_decay, lr, momentum, keep, take;
  bool nesterov, is_first;
};

/// Kernels over elements of type T.
///
/// Error bounds of the functions in every instruction set (tests/gemm/vector_math_test.cpp): exp, tanh and
/// erf 2 ulp, sigmoid 2.5; log 1, sqrt 0.5, relu exact; silu 3.25 (or 2^-140); gelu and gelu_tanh 3 ulp of
/// the result or 1.5 of the argument, whichever is more; the derivatives of gelu, gelu_tanh and silu 3 *
/// 2^-24. Results of bfloat16 are those of float, rounded once. NaN stays NaN, infinities give the limits,
/// subnormals are neither taken nor returned as zero, and results past the largest float are infinite.
template <class T>
struct ElementKernels {
  /// y[i] = op(x[i]); may work in place
  void (*unary)(Unary op, const T* x, T* y, std::int64_t count);
  /// dx[i] = dy[i] * op'(saved[i]), saved as saves(op) says; may work in place
  void (*unary_backward)(Unary op, const T* saved, const T* dy, T* dx, std::int64_t count);
  /// y = softmax(x); may work in place
  void (*softmax)(const T* x, T* y, std::int64_t count);
  void (*finish)(const TileFinish<T>& finish, std::int64_t rows, std::int64_t cols);
  void (*norm)(NormRow<T>& row, std::int64_t count);
  void (*norm_backward)(const NormBackwardRow<T>& row, std::int64_t count);
  /// y = x * factor
  void (*scale_to)(const float* x, float factor, T* y, std::int64_t count);
  /// y = x * factors, 0 where a factor is 0; may work in place
  void (*apply_factors)(const T* x, const float* factors, T* y, std::int64_t count);
  /// y += x
  void (*add_to_floats)(const T* x, float* y, std::int64_t count);
  void (*add)(const T* x, T* y, std::int64_t count);
  /// c = a op b; may work in place
  void (*combine)(Binary op, const T* a, const T* b, T* c, std::int64_t count);
  /// y = alpha x + beta y; beta = 0 does not read y
  void (*axpby)(float alpha, const T* x, float beta, T* y, std::int64_t count);
  /// to[c * stride + d] = from[d * width + c] * factors[c] for c < columns of a panel [depth][width]; null
  /// factors: 1
  void (*store_panel)(const float* from, std::int64_t depth, int columns, const float* factors, T* to,
                      std::int64_t stride);
  /// In each of `heads` pieces of 2 half elements, with a = x[d] and b = x[d + half]: y[d] = a cosine[d] - b
  /// sine[d], y[d + half] = b cosine[d] + a sine[d]; may work in place
  void (*rotate)(const T* x, const float* cosine, const float* sine, std::int64_t half, std::int64_t heads,
                 T* y);
};

/// Kernels over rows of floats; all may work in place.
struct RowKernels {
  void (*widen)(const bfloat16* x, float* y, std::int64_t count);
  void (*narrow)(const float* x, bfloat16* y, std::int64_t count);  ///< to nearest even
  /// y[i] += x[i]
  void (*add)(const float* x, float* y, std::int64_t count);
  void (*erf)(const float* x, float* y, std::int64_t count);
  /// y[i] = exp(x[i] - shift)
  void (*exp_minus)(const float* x, float shift, float* y, std::int64_t count);
  /// factors[i] = words[i] < threshold ? 0 : scale
  void (*dropout_factors)(const std::uint32_t* words, std::uint32_t threshold, float scale, float* factors,
                          std::int64_t count);
  /// the largest of x, -infinity for none; a NaN may be passed over
  float (*largest)(const float* x, std::int64_t count);
  /// sum of exp(x[i] - shift)
  float (*sum_exp_minus)(const float* x, float shift, std::int64_t count);
  /// y[i] = exp(x[i] - shift) * factor + offset
  void (*scaled_exp)(const float* x, float shift, float factor, float offset, float* y, std::int64_t count);
  /// x = exp(x - top) .* factors with top the largest of x; total is the sum without the factors, which may
  /// be null
  void (*attention_weights)(float* x, const float* factors, std::int64_t count, float* top, float* total);
  /// From scores p and gradients ds of the dropped weights: p = exp(p - lse), d = ds .* factors,
  /// ds = p (d - sum(p d)), then p = p .* factors
  void (*attention_weights_backward)(float* p, float* ds, const float* factors, float lse,
                                     std::int64_t count);
  double (*sum_of_squares)(const float* x, std::int64_t count);
  void (*adamw)(const AdamWNumbers& numbers, const ParameterPointers& at, std::int64_t count);
  void (*sgd)(const SgdNumbers& numbers, const ParameterPointers& at, std::int64_t count);
};

/// Dropout's factors of one head for the queries of a panel and keys whose positions follow one another from
/// first_key.
struct PanelDropout {
  const std::uint32_t* positions = nullptr;  ///< of the queries
  const std::uint32_t* samples = nullptr;
  std::uint32_t stream = 0;  ///< the fourth word of the counter: site and head
  std::uint32_t first_key = 0;
  Philox::Key key{};
  std::uint32_t threshold = 0;
  float scale = 1.0f;
};

/// Attention on panels [keys][width] of scores, a query in each of `width` columns, GemmKernels<float>::cols.
struct PanelKernels {
  int width;
  /// x = exp(x - top) .* factors, top and total as in RowKernels::attention_weights, for each column; 0 in a
  /// column of -infinity
  void (*weights)(float* x, const float* factors, std::int64_t keys, float* top, float* total);
  /// RowKernels::attention_weights_backward for each column, lse being finite
  void (*weights_backward)(float* p, float* ds, const float* factors, const float* lse, std::int64_t keys);
  void (*dropout)(const PanelDropout& dropout, std::int64_t keys, float* factors);
};

/// A panel of op(a) as the inner kernel reads it: the 32-bit word of row r and step s lies at data + r *
/// row_bytes
/// + s * step_bytes. So it may be packed, or the matrix itself where that has the words.
struct LeftPanel {
  const std::byte* data = nullptr;
  std::int64_t row_bytes = 0;
  std::int64_t step_bytes = 0;

  /// Packed for `width` rows.
  static LeftPanel packed(const float* words, int width) {
    return {reinterpret_cast<const std::byte*>(words), 4, 4 * std::int64_t{width}};
  }
  /// Rows of `stride` words that run along the steps.
  static LeftPanel rows(const float* words, std::int64_t stride) {
    return {reinterpret_cast<const std::byte*>(words), 4 * stride, 4};
  }
};

/// The inner kernels of a matrix product with operands of type T.
///
/// An operand is packed into panels of up to `rows` rows of op(a) or `cols` columns of op(b). A panel of
/// width w lies as [steps][w] 32-bit words; a step is `group` consecutive k: one float, or a pair of bfloat16
/// (the first in the lower half).
template <class T>
struct GemmKernels {
  int rows;
  int cols;
  int group;
  /// Packs one panel. Element (i, k), i < count <= width, is from[i * stride + k] (`along_k`) or from[k *
  /// stride + i]; the rest of the panel is zero.
  void (*pack)(const T* from, std::int64_t stride, bool along_k, int width, int count, std::int64_t k,
               float* to);
  /// c = alpha * a b + beta * c for panels a of panel_rows rows, b [steps][cols]; beta = 0 does not read c.
  void (*micro)(int panel_rows, std::int64_t steps, const LeftPanel& a, const float* b, float* c,
                std::int64_t c_stride, float alpha, float beta);
  /// c[i * c_stride + j] = sum_k a[i * a_stride + k] * b[j * b_stride + k] for i < rows, j < cols.
  void (*dot)(int rows, int cols, std::int64_t k, const T* a, std::int64_t a_stride, const T* b,
              std::int64_t b_stride, float* c, std::int64_t c_stride);
  /// The elements of `count` quantised blocks, 32 each, rounded to T.
  void (*dequantize)(BlockType type, const std::byte* blocks, std::int64_t count, T* to);
};

/// All kernels of one instruction set. Those of an element type are compiled where that type is computed
/// with.
struct Kernels {
  Isa isa;
  /// out[4 i .. 4 i + 3] = Philox(counter with counter[0] + i, key) for i < blocks
  void (*philox)(Philox::Counter counter, Philox::Key key, std::int64_t blocks, std::uint32_t* out);
  RowKernels rows;
  PanelKernels panels;

  template <class T>
  const ElementKernels<T>& elements() const;
  template <class T>
  const GemmKernels<T>& gemm() const;
  /// Those that pack T as floats.
  template <class T>
  const GemmKernels<T>& widening_gemm() const;
};

}  // namespace attune::cpu
