#pragma once

#include <cublasLt.h>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include <attune/backend/backend.hpp>
#include <attune/backend/cuda/kernels/common.cuh>

// Matrix products by cuBLASLt. Its matrices are column-major: a row-major matrix [r, c] at stride s is its
// column-major [c, r] with leading dimension s. So c = op(a) op(b) is asked for as c^T = op(b)^T op(a)^T,
// with b as the first operand. This mapping is made here and nowhere else.

namespace attune::cuda {

inline void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string("cuda: cuBLASLt: ") + what + ": status " +
                    std::to_string(static_cast<int>(status)));
}

template <class T>
inline constexpr cudaDataType_t blas_type = CUDA_R_32F;
template <>
inline constexpr cudaDataType_t blas_type<bfloat16> = CUDA_R_16BF;

struct BlasDeleter {
  void operator()(cublasLtMatmulDesc_t d) const { cublasLtMatmulDescDestroy(d); }
  void operator()(cublasLtMatrixLayout_t d) const { cublasLtMatrixLayoutDestroy(d); }
  void operator()(cublasLtMatmulPreference_t d) const { cublasLtMatmulPreferenceDestroy(d); }
};
template <class Descriptor>
using Owned = std::unique_ptr<std::remove_pointer_t<Descriptor>, BlasDeleter>;
using BlasLayout = Owned<cublasLtMatrixLayout_t>;

/// One product as the library needs to know it.
struct GemmShape {
  cudaDataType_t in, out;
  std::int64_t m, n, k;  ///< of the row-major product
  bool transpose_a, transpose_b;
  std::int64_t stride_a, stride_b, stride_c;
  std::int64_t batch, batch_a, batch_b, batch_c;
  bool bias, tf32;
  std::uint32_t align_a, align_b, align_c, align_bias;
  int ordinal;

  auto key() const {
    return std::tie(in, out, m, n, k, transpose_a, transpose_b, stride_a, stride_b, stride_c, batch, batch_a,
                    batch_b, batch_c, bias, tf32, align_a, align_b, align_c, align_bias, ordinal);
  }
  friend bool operator<(const GemmShape& a, const GemmShape& b) { return a.key() < b.key(); }
};

/// How a product is computed: descriptors and the algorithm that cuBLASLt advises.
struct GemmPlan {
  Owned<cublasLtMatmulDesc_t> operation;
  BlasLayout first, second, result;
  cublasLtMatmulAlgo_t algorithm;
  std::size_t workspace = 0;
};

inline BlasLayout blas_layout(cudaDataType_t type, std::int64_t rows, std::int64_t cols, std::int64_t ld,
                              std::int64_t batch, std::int64_t batch_stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_blas(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows),
                                        static_cast<std::uint64_t>(cols), ld),
             "layout");
  BlasLayout owned(layout);
  const auto count = static_cast<std::int32_t>(batch);
  check_blas(
      cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
      "batch count");
  check_blas(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                              &batch_stride, sizeof batch_stride),
             "batch stride");
  return owned;
}

inline GemmPlan make_plan(cublasLtHandle_t handle, const GemmShape& s, const void* bias) {
  constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20;
  GemmPlan plan;
  cublasLtMatmulDesc_t operation = nullptr;
  check_blas(cublasLtMatmulDescCreate(&operation, s.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                      CUDA_R_32F),
             "operation");
  plan.operation.reset(operation);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check_blas(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value), "attribute");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
  set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
  if (s.bias) {  // along the result's columns: the rows of the library's matrix
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_BIAS));
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  const auto layout = [&](cudaDataType_t type, std::int64_t rows, std::int64_t cols, bool transposed,
                          std::int64_t stride, std::int64_t batch_stride) {
    if (transposed) std::swap(rows, cols);
    return blas_layout(type, cols, rows, stride, s.batch, batch_stride);
  };
  plan.first = layout(s.in, s.k, s.n, s.transpose_b, s.stride_b, s.batch_b);
  plan.second = layout(s.in, s.m, s.k, s.transpose_a, s.stride_a, s.batch_a);
  plan.result = layout(s.out, s.m, s.n, false, s.stride_c, s.batch_c);

  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(cublasLtMatmulPreferenceCreate(&preference), "preference");
  const Owned<cublasLtMatmulPreference_t> owned(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_blas(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
               "preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.align_b);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.align_a);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.align_c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.align_c);
  cublasLtMatmulHeuristicResult_t advice{};
  int found = 0;
  check_blas(
      cublasLtMatmulAlgoGetHeuristic(handle, operation, plan.first.get(), plan.second.get(),
                                     plan.result.get(), plan.result.get(), preference, 1, &advice, &found),
      "heuristics");
  if (found == 0)
    throw DeviceError("cuda: cuBLASLt has no algorithm for a product of [" + std::to_string(s.m) + ", " +
                      std::to_string(s.k) + "] and [" + std::to_string(s.k) + ", " + std::to_string(s.n) +
                      "]");
  plan.algorithm = advice.algo;
  plan.workspace = advice.workspaceSize;
  return plan;
}

/// The process's handle and plans. Never destroyed.
class GemmLibrary {
 public:
  static GemmLibrary& instance() {
    static GemmLibrary& library = *new GemmLibrary;
    return library;
  }

  void run(Context& context, const GemmShape& shape, float alpha, const void* a, const void* b, float beta,
           void* c, const void* bias) {
    const std::lock_guard lock(mutex_);
    select_device(context.ordinal());
    cublasLtHandle_t& handle = handles_[context.ordinal()];
    if (!handle) check_blas(cublasLtCreate(&handle), "cublasLtCreate");
    const auto found = plans_.find(shape);
    const GemmPlan& plan = found != plans_.end()
                               ? found->second
                               : plans_.emplace(shape, make_plan(handle, shape, bias)).first->second;
    if (bias)
      check_blas(cublasLtMatmulDescSetAttribute(plan.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias, sizeof bias),
                 "bias");
    const Workspace<char> workspace(context, plan.workspace);
    check_blas(cublasLtMatmul(handle, plan.operation.get(), &alpha, b, plan.first.get(), a, plan.second.get(),
                              &beta, c, plan.result.get(), c, plan.result.get(), &plan.algorithm,
                              workspace.data(), plan.workspace, context.stream()),
               "matmul");
  }

 private:
  std::mutex mutex_;
  std::map<int, cublasLtHandle_t> handles_;
  std::map<GemmShape, GemmPlan> plans_;
};

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

/// c = alpha op(a) op(b) + beta c, plus a bias [n] in every row.
template <class T, class C>
void gemm(Context& context, MatrixView<const T> a, MatrixView<const T> b, MatrixView<C> c,
          const MatmulOptions& options, std::span<const T> bias = {}) {
  const std::int64_t k = options.transpose_a ? a.rows : a.cols;
  if (c.rows == 0 || c.cols == 0 || options.batch == 0) return;
  if (k == 0) {
    for (std::int64_t i = 0; i < options.batch; ++i) {
      const MatrixView<C> part{c.data + i * options.batch_stride_c, c.rows, c.cols, c.stride};
      launch_over_rows<Scalar<C>>(context, c.rows, c.cols, ScaleRows<Scalar<C>>{rows_of(part), options.beta});
    }
    return;
  }
  GemmShape shape{};
  shape.in = blas_type<T>;
  shape.out = blas_type<C>;
  shape.m = c.rows;
  shape.n = c.cols;
  shape.k = k;
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
  shape.bias = !bias.empty();
  shape.tf32 = std::is_same_v<T, float> && tf32_allowed();
  shape.align_a = alignment_of(a.data);
  shape.align_b = alignment_of(b.data);
  shape.align_c = alignment_of(c.data);
  shape.align_bias = shape.bias ? alignment_of(bias.data()) : 0;
  shape.ordinal = context.ordinal();
  GemmLibrary::instance().run(context, shape, options.alpha, a.data, b.data, options.beta, c.data,
                              shape.bias ? bias.data() : nullptr);
}

}  // namespace attune::cuda
