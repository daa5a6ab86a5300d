#pragma once

#include <Eigen/Core>

#include <attune/backend/cpu/serial_gemm.hpp>

namespace attune::cpu {

ATTUNE_INLINE void serial_gemm(std::int64_t rows, std::int64_t cols, std::int64_t depth, float alpha,
                               FloatOperand a, FloatOperand b, float beta, float* c, std::int64_t stride) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using ColMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
  using Stride = Eigen::OuterStride<>;
  using RowMap = Eigen::Map<const RowMajor, Eigen::Unaligned, Stride>;
  using ColMap = Eigen::Map<const ColMajor, Eigen::Unaligned, Stride>;
  if (rows == 0 || cols == 0) return;
  Eigen::Map<RowMajor, Eigen::Unaligned, Stride> out(c, rows, cols, Stride(stride));
  if (beta == 0.0f)
    out.setZero();
  else if (beta != 1.0f)
    out *= beta;
  if (depth == 0) return;
  const auto with_b = [&](const auto& left) {
    if (b.transposed)
      out.noalias() += alpha * (left * ColMap(b.data, depth, cols, Stride(b.stride)));
    else
      out.noalias() += alpha * (left * RowMap(b.data, depth, cols, Stride(b.stride)));
  };
  if (a.transposed)
    with_b(ColMap(a.data, rows, depth, Stride(a.stride)));
  else
    with_b(RowMap(a.data, rows, depth, Stride(a.stride)));
}

}  // namespace attune::cpu
