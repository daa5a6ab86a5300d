#pragma once

#include <attune/backend/backend.hpp>

namespace attune::cuda {

// Bodies: kernels/attention.cuh.
template <class T>
struct Attention {
  using W = Wide<T>;

  void attention(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                 AttentionOptions options, MatrixView<T> y, MatrixView<W> lse) const;
  void attention_backward(MatrixView<const T> dy, MatrixView<const T> q, MatrixView<const T> k,
                          MatrixView<const T> v, MatrixView<const T> y, MatrixView<const W> lse,
                          AttentionOptions options, MatrixView<T> dq, MatrixView<T> dk,
                          MatrixView<T> dv) const;
};

}  // namespace attune::cuda
