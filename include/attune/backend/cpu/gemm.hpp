#pragma once

#include <cstdint>
#include <memory>

#include <attune/backend/backend.hpp>
#include <attune/backend/cpu/isa.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>

// Matrix products on the CPU: c = alpha op(a) op(b) + beta c, row-major, any strides, any of the four
// transpositions; float or bfloat16 operands, sums in float. The kernels are those of active_isa(), chosen at
// run time.
//
// Work is cut in tiles of c. The cuts depend on the number of threads, the numbers do not: each element of c
// is summed in the same order, in fixed blocks of k, whichever tile it lies in. The error of an element is at
// most K u sum_k |a_ik b_kj| with u = 2^-24 (see tests/gemm), plus the rounding of a bfloat16 result.

namespace attune::cpu {

/// What follows a product while its tiles are in cache; every member may be left out:
///   v = alpha op(a) op(b) + beta c + bias;  pre = v;  c = activation(v) + residual.
template <class T>
struct GemmEpilogue {
  const T* bias = nullptr;  ///< N, added to every row
  Unary activation = Unary::identity;
  MatrixView<T> pre_activation{};  ///< [M, N]
  MatrixView<const T> residual{};  ///< [M, N]; may be c's memory
};

/// op(b) of a product, packed once to be used many times: a weight between two optimizer steps. Belongs to
/// the instruction set that was active when it was packed, and is multiplied with that one's kernels.
template <class T>
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// Packs b [K, N], or b [N, K] when `transposed`.
  PackedMatrix(MatrixView<const T> b, bool transposed);

  std::int64_t rows() const { return rows_; }  ///< K
  std::int64_t cols() const { return cols_; }  ///< N
  Isa isa() const { return isa_; }
  const float* data() const { return data_.get(); }

 private:
  struct Free {
    std::size_t bytes = 0;
    void operator()(float* data) const noexcept;
  };
  std::int64_t rows_ = 0, cols_ = 0;
  Isa isa_ = Isa::generic;
  std::unique_ptr<float, Free> data_;
};

/// c = alpha op(a) op(b) + beta c for options.batch matrices. c must not overlap a or b. beta = 0 overwrites
/// c without reading it. Shapes must fit; nothing is checked.
void gemm(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c,
          const MatmulOptions& options = {});
void gemm(MatrixView<const bfloat16> a, MatrixView<const bfloat16> b, MatrixView<bfloat16> c,
          const MatmulOptions& options = {});
void gemm(MatrixView<const bfloat16> a, MatrixView<const bfloat16> b, MatrixView<float> c,
          const MatmulOptions& options = {});

/// The same with an epilogue, for one matrix (options.batch is 1).
void gemm(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c,
          const MatmulOptions& options, const GemmEpilogue<float>& epilogue);
void gemm(MatrixView<const bfloat16> a, MatrixView<const bfloat16> b, MatrixView<bfloat16> c,
          const MatmulOptions& options, const GemmEpilogue<bfloat16>& epilogue);

/// The same with op(b) packed before; options.transpose_b is not read.
void gemm(MatrixView<const float> a, const PackedMatrix<float>& b, MatrixView<float> c,
          const MatmulOptions& options = {}, const GemmEpilogue<float>& epilogue = {});
void gemm(MatrixView<const bfloat16> a, const PackedMatrix<bfloat16>& b, MatrixView<bfloat16> c,
          const MatmulOptions& options = {}, const GemmEpilogue<bfloat16>& epilogue = {});

/// The same with b in quantised blocks, whose elements count as T. They are made a few rows at a time, where
/// they are packed, so that the numbers are those of the plain product. options.batch is 1.
void gemm(MatrixView<const float> a, const BlockView& b, MatrixView<float> c,
          const MatmulOptions& options = {}, const GemmEpilogue<float>& epilogue = {});
void gemm(MatrixView<const bfloat16> a, const BlockView& b, MatrixView<bfloat16> c,
          const MatmulOptions& options = {}, const GemmEpilogue<bfloat16>& epilogue = {});

#ifdef ATTUNE_DECLARATIONS_ONLY
extern template class PackedMatrix<float>;
extern template class PackedMatrix<bfloat16>;
#endif

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/gemm.inl.hpp>
#endif
