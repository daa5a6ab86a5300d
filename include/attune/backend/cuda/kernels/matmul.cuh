#pragma once

#include <attune/backend/cuda/kernels/activation.cuh>
#include <attune/backend/cuda/kernels/blocks.cuh>
#include <attune/backend/cuda/kernels/column_sums.cuh>
#include <attune/backend/cuda/kernels/gemm.cuh>

// Products and what stands around them: see Matmul in backend.hpp.

namespace attune::cuda {

/// y = f(sum + bias), and sum + bias itself when wanted. `Sum` is what the product was stored in.
template <class Sum, class S>
struct BiasActivation {
  Unary activation;
  Rows<const Sum> sum;
  Rows<const S> bias;  ///< one row, or null
  Rows<S> pre, y;      ///< pre may be null
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<S> pack, shift{};
    load_packs(sum.row(row) + column, count, sum.aligned, pack.v);
    if (bias) shift = load_pack(bias.data + column, count, bias.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) pack.v[k] += shift.v[k];
    if (pre) store_pack(pre.row(row) + column, pack, count, pre.aligned);
    apply_unary(activation, pack.v);
    store_pack(y.row(row) + column, pack, count, y.aligned);
  }
};

template <class S>
struct ActivationBackward {
  Unary activation;
  Rows<const S> saved, dy;  ///< saved may be any rows when the activation saves nothing
  Rows<S> dpre;

  struct Loaded {
    Pack<S> dy, from;
  };
  static constexpr int batch = 2;
  __device__ __forceinline__ bool is_aligned() const { return saved.aligned && dy.aligned && dpre.aligned; }
  __device__ __forceinline__ ActivationBackward aligned() const {
    return {activation, saved.known_aligned(), dy.known_aligned(), dpre.known_aligned()};
  }
  __device__ __forceinline__ Loaded load(int64_t row, int64_t column, int64_t count) const {
    return {load_pack(dy.row(row) + column, count, dy.aligned),
            load_pack(saved.row(row) + column, count, saved.aligned)};
  }
  /// Stores a pack of dpre, and returns it as it was before it was rounded.
  __device__ __forceinline__ Pack<S> store(Loaded loaded, int64_t row, int64_t column, int64_t count) const {
    multiply_by_slopes(activation, loaded.from.v, loaded.dy.v);
    store_global_pack(dpre.row(row) + column, loaded.dy, count, dpre.aligned);
    return loaded.dy;
  }
  __device__ __forceinline__ void operator()(int64_t row, int64_t column, int64_t count) const {
    store(load(row, column, count), row, column, count);
  }
  /// The bias gradient's part.
  __device__ __forceinline__ void add(const Loaded& loaded, int64_t row, int64_t column, int64_t count,
                                      Pack<S> (&sums)[1]) const {
    const Pack<S> pack = store(loaded, row, column, count);
    for (int k = 0; k < Pack<S>::size; ++k) sums[0].v[k] += pack.v[k];
  }
};

template <class S>
struct ColumnValues {
  Rows<const S> dy;

  using Loaded = Pack<S>;
  static constexpr int batch = 4;
  __device__ __forceinline__ bool is_aligned() const { return dy.aligned; }
  __device__ __forceinline__ ColumnValues aligned() const { return {dy.known_aligned()}; }
  __device__ __forceinline__ Loaded load(int64_t row, int64_t column, int64_t count) const {
    return load_pack(dy.row(row) + column, count, dy.aligned);
  }
  __device__ __forceinline__ void add(const Loaded& pack, int64_t, int64_t, int64_t,
                                      Pack<S> (&sums)[1]) const {
    for (int k = 0; k < Pack<S>::size; ++k) sums[0].v[k] += pack.v[k];
  }
};

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c,
                       MatmulOptions options) const {
  gemm(context_of(*this), a, b, c, options);
}

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<OtherWide<T>> c,
                       MatmulOptions options) const {
  if constexpr (!std::is_same_v<T, W>) gemm(context_of(*this), a, b, c, options);
}

template <class T>
void Matmul<T>::linear(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
                       Unary activation, MatrixView<T> pre_activation, MatrixView<T> y) const {
  Context& context = context_of(*this);
  if (y.rows == 0 || y.cols == 0) return;
  MatmulOptions options;
  options.transpose_b = true;
  if (activation == Unary::identity && x.cols > 0) {
    gemm(context, x, weight, y, options, bias);
    if (pre_activation)
      launch_over_rows<Scalar<T>>(
          context, y.rows, y.cols,
          BiasActivation<Scalar<T>, Scalar<T>>{
              Unary::identity, rows_of(MatrixView<const T>(y)), {}, {}, rows_of(pre_activation)});
    return;
  }
  // cuBLASLt's gelu is not exact to a float.
  if constexpr (!std::same_as<T, W>)
    if (activation == Unary::gelu_tanh && gemm_gelu(context, x, weight, bias, pre_activation, y)) return;
  // The activation is applied to the sums as they are, not as T would round them.
  const Workspace<float> sums(context, static_cast<std::size_t>(y.rows * y.cols));
  const MatrixView<float> sum{sums.data(), y.rows, y.cols, y.cols};
  gemm(context, x, weight, sum, options);
  launch_over_rows<Scalar<T>>(
      context, y.rows, y.cols,
      BiasActivation<float, Scalar<T>>{activation, rows_of(MatrixView<const float>(sum)), row_of(bias),
                                       rows_of(pre_activation), rows_of(y)});
}

template <class T>
void Matmul<T>::linear_activation_backward(Unary activation, MatrixView<const T> saved,
                                           MatrixView<const T> dy, MatrixView<T> dpre, std::span<W> bias_grad,
                                           bool accumulate) const {
  Context& context = context_of(*this);
  const MatrixView<const T>& needed = saves(activation) == Saves::nothing ? dy : saved;
  const ActivationBackward<Scalar<T>> backward{activation, rows_of(needed), rows_of(dy), rows_of(dpre)};
  if (bias_grad.empty())
    launch_over_rows<Scalar<T>>(context, dy.rows, dy.cols, backward);
  else
    column_sums<Scalar<T>, 1>(context, dy.rows, dy.cols, backward, {bias_grad}, accumulate);
}

template <class T>
void Matmul<T>::matmul_activation_backward(MatrixView<const T> dy, MatrixView<const T> weight,
                                           Unary activation, MatrixView<const T> saved, MatrixView<T> dpre,
                                           std::span<W> bias_grad, bool accumulate) const {
  if (dpre.rows > 0 && dpre.cols > 0 && activation == Unary::gelu_tanh) {
    Context& context = context_of(*this);
    // The library stores column sums in T and adds them to nothing.
    if constexpr (std::same_as<T, W>)
      if (!bias_grad.empty() && !accumulate &&
          gemm_gelu_backward(context, dy, weight, saved, dpre, bias_grad))
        return;
    if (gemm_gelu_backward<T>(context, dy, weight, saved, dpre, {})) {
      if (!bias_grad.empty()) bias_backward(dpre, bias_grad, accumulate);
      return;
    }
  }
  matmul(dy, weight, dpre, {});
  linear_activation_backward(activation, saved, dpre, dpre, bias_grad, accumulate);
}

template <class T>
void Matmul<T>::bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const {
  column_sums<Scalar<T>, 1>(context_of(*this), dy.rows, dy.cols, ColumnValues<Scalar<T>>{rows_of(dy)},
                            {bias_grad}, accumulate);
}

}  // namespace attune::cuda
