#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include <attune/backend/cuda/context.hpp>
#include <attune/core/dtype.hpp>

// Matrix products by cuBLASLt, without its headers. Bodies: gemm.inl.hpp, compiled in cmake/cuda/host.cpp.

namespace attune::cuda {

/// What follows the sums before they are stored. `bias` is a row that is added; gelu is the tanh form.
enum class Epilogue : std::uint8_t {
  none,
  bias,
  gelu,        ///< gelu(sum)
  gelu_bias,   ///< gelu(sum + bias)
  gelu_saved,  ///< the same two, and what goes into gelu is stored as well
  gelu_saved_bias,
  gelu_backward,       ///< sum * gelu'(saved)
  gelu_backward_bias,  ///< and the column sums of that are stored where else the bias stands
};

/// One row-major product c [m, n] = alpha op(a) op(b) + beta c as the library needs to know it.
struct GemmShape {
  DType in = DType::f32, out = DType::f32;  ///< of a and b, and of everything else
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  std::int64_t stride_a = 0, stride_b = 0, stride_c = 0;
  std::int64_t batch = 1, batch_a = 0, batch_b = 0, batch_c = 0;
  Epilogue epilogue = Epilogue::none;
  std::int64_t stride_saved = 0;
  bool tf32 = false;
  std::uint32_t align_a = 16, align_b = 16, align_c = 16, align_bias = 16;
  int ordinal = 0;

  auto key() const {
    return std::tie(in, out, m, n, k, transpose_a, transpose_b, stride_a, stride_b, stride_c, batch, batch_a,
                    batch_b, batch_c, epilogue, stride_saved, tf32, align_a, align_b, align_c, align_bias,
                    ordinal);
  }
  friend bool operator==(const GemmShape& a, const GemmShape& b) { return a.key() == b.key(); }
  friend bool operator<(const GemmShape& a, const GemmShape& b) { return a.key() < b.key(); }

  /// The rows of a: the tokens of a batch, the one number that changes from step to step.
  std::int64_t& rows() { return transpose_a ? k : m; }
};

struct GemmOperands {
  float alpha = 1.0f;
  const void *a = nullptr, *b = nullptr;
  float beta = 0.0f;
  void* c = nullptr;
  const void* bias = nullptr;  ///< or the column sums, which are written
  void* saved = nullptr;       ///< written by gelu_saved*, read by gelu_backward*
};

/// Puts a product in the context's stream. False, with nothing done, when cuBLASLt has no algorithm for it.
bool run_gemm(Context& context, const GemmShape& shape, const GemmOperands& operands);

/// The number of rows for which an algorithm is searched, and used for fewer: the next multiple of an eighth
/// of the power of two below, so that up to 15 rows are exact and others at most an eighth off.
std::int64_t gemm_bucket(std::int64_t rows);

/// What the products of this process have cost.
struct GemmCounters {
  std::uint64_t products = 0;
  std::uint64_t searches = 0;  ///< for an algorithm; takes the host long
  std::uint64_t checks = 0;    ///< of a known algorithm for another number of rows in its bucket
  std::uint64_t refused = 0;   ///< of these checks: the shape got a search of its own
};
GemmCounters gemm_counters();

}  // namespace attune::cuda
