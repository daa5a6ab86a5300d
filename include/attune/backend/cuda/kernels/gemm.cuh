#pragma once

#include <algorithm>

#include <attune/backend/backend.hpp>
#include <attune/backend/cuda/gemm.hpp>
#include <attune/backend/cuda/kernels/common.cuh>
#include <attune/core/error.hpp>

// Matrix products of views: what cuBLASLt computes is put together here, empty ones are dealt with.

namespace attune::cuda {

/// The alignment that a pointer has, up to the 16 bytes that fast kernels ask for.
inline std::uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p) | 16;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

template <class C>
struct ScaleRows {
  Rows<C> c;
  float beta;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<C> pack{};
    if (beta != 0.0f) pack = load_pack(c.row(row) + column, count, c.aligned);
    for (float& value : pack.v) value *= beta;
    store_pack(c.row(row) + column, pack, count, c.aligned);
  }
};

template <class T, class C>
GemmShape gemm_shape(const Context& context, MatrixView<const T> a, MatrixView<const T> b, MatrixView<C> c,
                     const MatmulOptions& options) {
  GemmShape shape;
  shape.in = dtype_of<T>;
  shape.out = dtype_of<C>;
  shape.m = c.rows;
  shape.n = c.cols;
  shape.k = options.transpose_a ? a.rows : a.cols;
  shape.transpose_a = options.transpose_a;
  shape.transpose_b = options.transpose_b;
  // The stride of a single row is never used, yet has to be no less than the columns.
  shape.stride_a = std::max(a.stride, a.cols);
  shape.stride_b = std::max(b.stride, b.cols);
  shape.stride_c = std::max(c.stride, c.cols);
  shape.batch = options.batch;
  shape.batch_a = options.batch_stride_a;
  shape.batch_b = options.batch_stride_b;
  shape.batch_c = options.batch_stride_c;
  shape.tf32 = std::is_same_v<T, float> && tf32_allowed();
  shape.align_a = alignment_of(a.data);
  shape.align_b = alignment_of(b.data);
  shape.align_c = alignment_of(c.data);
  shape.ordinal = context.ordinal();
  return shape;
}

/// c = alpha op(a) op(b) + beta c, plus a bias [n] in every row.
template <class T, class C>
void gemm(Context& context, MatrixView<const T> a, MatrixView<const T> b, MatrixView<C> c,
          const MatmulOptions& options, std::span<const T> bias = {}) {
  if (c.rows == 0 || c.cols == 0 || options.batch == 0) return;
  GemmShape shape = gemm_shape(context, a, b, c, options);
  if (shape.k == 0) {
    for (std::int64_t i = 0; i < options.batch; ++i) {
      const MatrixView<C> part{c.data + i * options.batch_stride_c, c.rows, c.cols, c.stride};
      launch_over_rows<Scalar<C>>(context, c.rows, c.cols, ScaleRows<Scalar<C>>{rows_of(part), options.beta});
    }
    return;
  }
  if (!bias.empty()) {
    shape.epilogue = Epilogue::bias;
    shape.align_bias = alignment_of(bias.data());
  }
  GemmOperands operands{options.alpha, a.data, b.data, options.beta, c.data};
  if (!bias.empty()) operands.bias = bias.data();
  if (!run_gemm(context, shape, operands))
    throw DeviceError("cuda: cuBLASLt has no algorithm for a product of [" + std::to_string(shape.m) + ", " +
                      std::to_string(shape.k) + "] and [" + std::to_string(shape.k) + ", " +
                      std::to_string(shape.n) + "]");
}

/// Whether every row begins at a multiple of 16 bytes and has a multiple of 8 elements. Of other matrices
/// cuBLASLt cannot write one beside the result, and it may round sums to bfloat16 before gelu.
template <class T>
bool is_even(MatrixView<T> matrix) {
  return matrix.stride % 8 == 0 && matrix.cols % 8 == 0 && is_aligned16(matrix.data);
}

/// y = gelu_tanh(x w^T + bias), and what goes into gelu where `pre` is not null, in one kernel. False, with
/// nothing done, where the library has none.
template <class T>
bool gemm_gelu(Context& context, MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
               MatrixView<T> pre, MatrixView<T> y) {
  if (x.cols == 0 || !is_even(x) || !is_even(weight) || !is_even(y) || (pre && !is_even(pre))) return false;
  GemmShape shape = gemm_shape(context, x, weight, y, {.transpose_b = true});
  GemmOperands operands{1.0f, x.data, weight.data, 0.0f, y.data};
  if (pre) {
    shape.epilogue = bias.empty() ? Epilogue::gelu_saved : Epilogue::gelu_saved_bias;
    shape.stride_saved = pre.stride;
    operands.saved = pre.data;
  } else {
    shape.epilogue = bias.empty() ? Epilogue::gelu : Epilogue::gelu_bias;
  }
  if (!bias.empty()) {
    shape.align_bias = alignment_of(bias.data());
    operands.bias = bias.data();
  }
  return run_gemm(context, shape, operands);
}

/// dpre = (dy w) * gelu_tanh'(pre), and its column sums where `bias_grad` is not empty, in one kernel. False,
/// with nothing done, where the library has none.
template <class T>
bool gemm_gelu_backward(Context& context, MatrixView<const T> dy, MatrixView<const T> weight,
                        MatrixView<const T> pre, MatrixView<T> dpre, std::span<T> bias_grad) {
  if (dy.cols == 0 || !is_even(dy) || !is_even(weight) || !is_even(dpre) || !is_even(pre)) return false;
  GemmShape shape = gemm_shape(context, dy, weight, dpre, {});
  shape.stride_saved = pre.stride;
  GemmOperands operands{1.0f, dy.data, weight.data, 0.0f, dpre.data};
  operands.saved = const_cast<T*>(pre.data);  // the library takes one kind of pointer for both directions
  shape.epilogue = Epilogue::gelu_backward;
  if (!bias_grad.empty()) {
    shape.epilogue = Epilogue::gelu_backward_bias;
    shape.align_bias = alignment_of(bias_grad.data());
    operands.bias = bias_grad.data();
  }
  return run_gemm(context, shape, operands);
}

}  // namespace attune::cuda
