#pragma once

#include <attune/backend/cuda/cudnn/attention.hpp>
#include <attune/backend/cuda/kernels/attention_decode.cuh>
#include <attune/backend/cuda/kernels/attention_float.cuh>
#include <attune/backend/cuda/kernels/attention_mma_backward.cuh>
#include <attune/backend/cuda/kernels/attention_mma_forward.cuh>

// Attention: which kernel computes it. See SequenceOps in backend.hpp.

namespace attune::cuda {

template <class T>
void Attention<T>::attention(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                             AttentionOptions options, MatrixView<T> y, MatrixView<W> lse) const {
  if (q.rows == 0) return;
  Context& context = context_of(*this);
  if (is_decoding(options)) return decode_attention<T>(context, q, k, v, options, y, lse);
  if constexpr (std::is_same_v<T, bfloat16>)
    if (cudnn::attention(context, q, k, v, options, y, lse)) return;
  if constexpr (std::is_same_v<T, bfloat16>)
    if (fits_tensor_cores(options)) return attention_on_tensor_cores(context, q, k, v, options, y, lse);
  attention_in_float<T>(context, q, k, v, options, y, lse);
}

template <class T>
void Attention<T>::attention_backward(MatrixView<const T> dy, MatrixView<const T> q, MatrixView<const T> k,
                                      MatrixView<const T> v, MatrixView<const T> y, MatrixView<const W> lse,
                                      AttentionOptions options, MatrixView<T> dq, MatrixView<T> dk,
                                      MatrixView<T> dv) const {
  Context& context = context_of(*this);
  if constexpr (std::is_same_v<T, bfloat16>)
    if (cudnn::attention_backward(context, dy, q, k, v, y, lse, options, dq, dk, dv)) return;
  if constexpr (std::is_same_v<T, bfloat16>)
    if (fits_tensor_cores(options))
      return attention_backward_on_tensor_cores(context, dy, q, k, v, y, lse, options, dq, dk, dv);
  attention_backward_in_float<T>(context, dy, q, k, v, y, lse, options, dq, dk, dv);
}

}  // namespace attune::cuda
