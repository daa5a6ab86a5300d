#pragma once

#include <cublasLt.h>

#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/gemm.hpp>
#include <attune/core/error.hpp>

// cuBLASLt's matrices are column-major: a row-major matrix [r, c] at stride s is its column-major [c, r] with
// leading dimension s. So c = op(a) op(b) is asked for as c^T = op(b)^T op(a)^T, with b as the first operand.
// This mapping is made here and nowhere else.

namespace attune::cuda {

namespace {

void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string("cuda: cuBLASLt: ") + what + ": status " +
                    std::to_string(static_cast<int>(status)));
}

struct BlasDeleter {
  void operator()(cublasLtMatmulDesc_t d) const { cublasLtMatmulDescDestroy(d); }
  void operator()(cublasLtMatrixLayout_t d) const { cublasLtMatrixLayoutDestroy(d); }
  void operator()(cublasLtMatmulPreference_t d) const { cublasLtMatmulPreferenceDestroy(d); }
};
template <class Descriptor>
using Owned = std::unique_ptr<std::remove_pointer_t<Descriptor>, BlasDeleter>;
using BlasLayout = Owned<cublasLtMatrixLayout_t>;

constexpr std::uint64_t most_workspace = std::uint64_t{32} << 20;

cudaDataType_t blas_type(DType type) { return type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

cublasLtEpilogue_t blas_epilogue(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu:
      return CUBLASLT_EPILOGUE_GELU;
    case Epilogue::gelu_bias:
      return CUBLASLT_EPILOGUE_GELU_BIAS;
    case Epilogue::gelu_saved:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::gelu_saved_bias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_backward:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::gelu_backward_bias:
      return CUBLASLT_EPILOGUE_DGELU_BGRAD;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

bool uses_bias(Epilogue epilogue) {
  return epilogue == Epilogue::bias || epilogue == Epilogue::gelu_bias ||
         epilogue == Epilogue::gelu_saved_bias || epilogue == Epilogue::gelu_backward_bias;
}

template <class Value>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check_blas(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value), "attribute");
}
template <class Value>
void set(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, const Value& value) {
  check_blas(cublasLtMatrixLayoutSetAttribute(layout, attribute, &value, sizeof value), "layout attribute");
}

/// A row-major matrix [rows, cols].
BlasLayout blas_layout(DType type, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                       std::int64_t batch, std::int64_t batch_stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_blas(cublasLtMatrixLayoutCreate(&layout, blas_type(type), static_cast<std::uint64_t>(cols),
                                        static_cast<std::uint64_t>(rows), stride),
             "layout");
  BlasLayout owned(layout);
  set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batch));
  set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, batch_stride);
  return owned;
}

/// How products of a bucket are computed: descriptors, which are set to one shape of it at a time, and the
/// algorithm that cuBLASLt advised.
struct GemmPlan {
  Owned<cublasLtMatmulDesc_t> operation;
  BlasLayout first, second, result;
  bool supported = false;
  cublasLtMatmulAlgo_t algorithm;
  std::size_t workspace = 0;  ///< for the rows that the descriptors are set to
  std::int64_t rows = 0;      ///< that the descriptors are set to
  std::size_t advised_workspace = 0;
  std::int64_t advised_rows = 0;  ///< those of the search

  /// Sets the descriptors to another number of rows.
  void set_rows(const GemmShape& shape, std::int64_t wanted) {
    const auto length = static_cast<std::uint64_t>(wanted);
    // The rows of a row-major matrix are the columns of the library's. Those of a are op(a)'s columns when
    // a is transposed: then they are b's rows as well, else the result's.
    set(second.get(), CUBLASLT_MATRIX_LAYOUT_COLS, length);
    set(shape.transpose_a ? first.get() : result.get(), CUBLASLT_MATRIX_LAYOUT_COLS, length);
    rows = wanted;
  }
};

GemmPlan describe(const GemmShape& s) {
  GemmPlan plan;
  cublasLtMatmulDesc_t operation = nullptr;
  check_blas(cublasLtMatmulDescCreate(&operation, s.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                      CUDA_R_32F),
             "operation");
  plan.operation.reset(operation);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA,
      static_cast<std::int32_t>(s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB,
      static_cast<std::int32_t>(s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
  set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(blas_epilogue(s.epilogue)));
  // Nothing is read through these two yet: heuristics look at how they are aligned. The bias lies along the
  // columns of the result, the rows of the library's matrix.
  if (uses_bias(s.epilogue))
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
        reinterpret_cast<const void*>(std::uintptr_t{s.align_bias}));
  if (s.stride_saved > 0) {
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, reinterpret_cast<void*>(std::uintptr_t{16}));
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, s.stride_saved);
  }
  const auto layout = [&](DType type, std::int64_t rows, std::int64_t cols, bool transposed,
                          std::int64_t stride, std::int64_t batch_stride) {
    if (transposed) std::swap(rows, cols);
    return blas_layout(type, rows, cols, stride, s.batch, batch_stride);
  };
  plan.first = layout(s.in, s.k, s.n, s.transpose_b, s.stride_b, s.batch_b);
  plan.second = layout(s.in, s.m, s.k, s.transpose_a, s.stride_a, s.batch_a);
  plan.result = layout(s.out, s.m, s.n, false, s.stride_c, s.batch_c);
  return plan;
}

GemmPlan make_plan(cublasLtHandle_t handle, const GemmShape& s) {
  GemmPlan plan = describe(s);
  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(cublasLtMatmulPreferenceCreate(&preference), "preference");
  const Owned<cublasLtMatmulPreference_t> owned(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_blas(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
               "preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
  // A sum that is split among blocks may be rounded to bfloat16 on the way: each part, by the schemes that
  // add in the result's type; the total before what the epilogue does, by all (seen in cuBLASLt 13.1 on an
  // H200).
  const bool may_split = s.out == DType::f32 || s.epilogue == Epilogue::none;
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         static_cast<std::uint32_t>(may_split ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
                                              : CUBLASLT_REDUCTION_SCHEME_NONE));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, s.align_b);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, s.align_a);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, s.align_c);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, s.align_c);
  cublasLtMatmulHeuristicResult_t advice{};
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, plan.operation.get(), plan.first.get(), plan.second.get(),
                                     plan.result.get(), plan.result.get(), preference, 1, &advice, &found);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) check_blas(status, "heuristics");
  plan.supported = status == CUBLAS_STATUS_SUCCESS && found > 0 && advice.state == CUBLAS_STATUS_SUCCESS;
  plan.algorithm = advice.algo;
  plan.workspace = plan.advised_workspace = advice.workspaceSize;
  plan.rows = plan.advised_rows = GemmShape(s).rows();
  return plan;
}

/// The process's handles and plans. Never destroyed.
class GemmLibrary {
 public:
  static GemmLibrary& instance() {
    static GemmLibrary& library = *new GemmLibrary;
    return library;
  }

  bool run(Context& context, const GemmShape& shape, const GemmOperands& o) {
    const std::lock_guard lock(mutex_);
    select_device(context.ordinal());
    cublasLtHandle_t& handle = handles_[context.ordinal()];
    if (!handle) check_blas(cublasLtCreate(&handle), "cublasLtCreate");
    const GemmPlan& plan = plan_for(handle, shape);
    if (!plan.supported) return false;
    if (o.bias) set(plan.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.bias);
    if (o.saved) set(plan.operation.get(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, o.saved);
    const Workspace<char> workspace(context, plan.workspace);
    check_blas(cublasLtMatmul(handle, plan.operation.get(), &o.alpha, o.b, plan.first.get(), o.a,
                              plan.second.get(), &o.beta, o.c, plan.result.get(), o.c, plan.result.get(),
                              &plan.algorithm, workspace.data(), plan.workspace, context.stream()),
               "matmul");
    ++counters_.products;
    return true;
  }

  GemmCounters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  /// The plan of the shape's bucket, set to the shape, or one of the shape's own.
  const GemmPlan& plan_for(cublasLtHandle_t handle, const GemmShape& shape) {
    GemmShape bucket = shape;
    // Where both operands are transposed, the rows of a are the stride of b.
    if (!(shape.transpose_a && shape.transpose_b)) bucket.rows() = gemm_bucket(bucket.rows());
    GemmPlan& plan = search(handle, bucket);
    const std::int64_t rows = GemmShape(shape).rows();
    if (plan.rows == rows) return plan;
    if (plan.advised_rows == rows) {
      plan.set_rows(shape, rows);
      plan.workspace = plan.advised_workspace;
      return plan;
    }
    if (plan.supported && fits(handle, plan, shape, rows)) return plan;
    return search(handle, shape);
  }

  GemmPlan& search(cublasLtHandle_t handle, const GemmShape& shape) {
    const auto found = plans_.find(shape);
    if (found != plans_.end()) return found->second;
    ++counters_.searches;
    return plans_.emplace(shape, make_plan(handle, shape)).first->second;
  }

  /// Whether the plan's algorithm takes that number of rows, to which it is set then.
  bool fits(cublasLtHandle_t handle, GemmPlan& plan, const GemmShape& shape, std::int64_t rows) {
    ++counters_.checks;
    const std::int64_t before = plan.rows;
    plan.set_rows(shape, rows);
    cublasLtMatmulHeuristicResult_t result{};
    const cublasStatus_t status =
        cublasLtMatmulAlgoCheck(handle, plan.operation.get(), plan.first.get(), plan.second.get(),
                                plan.result.get(), plan.result.get(), &plan.algorithm, &result);
    if (status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= most_workspace) {
      plan.workspace = result.workspaceSize;
      return true;
    }
    plan.set_rows(shape, before);
    ++counters_.refused;
    return false;
  }

  mutable std::mutex mutex_;
  std::map<int, cublasLtHandle_t> handles_;
  std::map<GemmShape, GemmPlan> plans_;
  GemmCounters counters_;
};

}  // namespace

std::int64_t gemm_bucket(std::int64_t rows) {
  const auto below = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(rows)));
  const std::int64_t unit = below < 8 ? 1 : below / 8;
  return (rows + unit - 1) / unit * unit;
}

bool run_gemm(Context& context, const GemmShape& shape, const GemmOperands& operands) {
  return GemmLibrary::instance().run(context, shape, operands);
}

GemmCounters gemm_counters() { return GemmLibrary::instance().counters(); }

}  // namespace attune::cuda
