// Strict emulation of cublasLtMatmul. The real libcublasLt makes the descriptors and reads them
// back (that works without a device); only the five functions at the end are replaced.
//
// The real library checks little before a kernel runs, and some misuse only lowers speed or fails
// on other devices. Here every rule documented in cublasLt.h that matters to us is enforced: misuse
// throws Error; what is legal but not emulated gets no algorithm, as an unsupported case would.
#include <cublasLt.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include <emulation/engine.hpp>

namespace cuda_emulation {
namespace {

cublasStatus_t get(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute, void* value,
                   size_t bytes, size_t* written) {
  return cublasLtMatmulDescGetAttribute(d, attribute, value, bytes, written);
}
cublasStatus_t get(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t attribute, void* value,
                   size_t bytes, size_t* written) {
  return cublasLtMatrixLayoutGetAttribute(l, attribute, value, bytes, written);
}
cublasStatus_t get(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t attribute, void* value,
                   size_t bytes, size_t* written) {
  return cublasLtMatmulPreferenceGetAttribute(p, attribute, value, bytes, written);
}
template <class T, class Descriptor, class Attribute>
T read(Descriptor d, Attribute attribute) {
  T value{};
  size_t written = 0;
  if (get(d, attribute, &value, sizeof value, &written) != CUBLAS_STATUS_SUCCESS) {
    fail("cublasLt: attribute ", static_cast<size_t>(attribute), " cannot be read");
  }
  return value;
}

void require(bool condition, const char* rule) {
  if (!condition) fail("cublasLt: ", rule);
}

bool known_type(cudaDataType_t t) { return t == CUDA_R_32F || t == CUDA_R_16BF; }
size_t bytes_of(cudaDataType_t t) { return t == CUDA_R_32F ? 4 : 2; }

// To the 10 bits of mantissa that TF32 has, to nearest.
double tf32(double v) {
  const float single = static_cast<float>(v);
  uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  bits = (bits + 0x1000) & ~0x1fffu;
  float cut;
  std::memcpy(&cut, &bits, sizeof cut);
  return cut;
}

double load(const void* p, cudaDataType_t type, size_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(p)[i];
  return __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]);
}
void store(void* p, cudaDataType_t type, size_t i, double v) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(p)[i] = static_cast<float>(v);
  } else {
    static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16(static_cast<float>(v));
  }
}

struct Matrix {
  cudaDataType_t type;
  size_t rows, cols;
  int64_t ld, stride;
  int32_t batches;

  explicit Matrix(cublasLtMatrixLayout_t l)
      : type(static_cast<cudaDataType_t>(read<uint32_t>(l, CUBLASLT_MATRIX_LAYOUT_TYPE))),
        rows(read<uint64_t>(l, CUBLASLT_MATRIX_LAYOUT_ROWS)),
        cols(read<uint64_t>(l, CUBLASLT_MATRIX_LAYOUT_COLS)),
        ld(read<int64_t>(l, CUBLASLT_MATRIX_LAYOUT_LD)),
        stride(read<int64_t>(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)),
        batches(read<int32_t>(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)) {
    require(read<int32_t>(l, CUBLASLT_MATRIX_LAYOUT_ORDER) == CUBLASLT_ORDER_COL,
            "only column-major layouts are emulated");
    require(known_type(type), "only fp32 and bf16 are emulated");
    require(rows > 0 && cols > 0 && batches > 0, "empty matrix");
    require(ld >= static_cast<int64_t>(rows), "leading dimension below the number of rows");
    require(batches == 1 || stride >= 0, "negative batch stride");
  }
  size_t index(size_t batch, size_t r, size_t c) const { return batch * stride + c * ld + r; }
  size_t extent() const { return (index(batches - 1, rows - 1, cols - 1) + 1) * bytes_of(type); }
};

struct Problem {
  Matrix a, b, c, d;
  bool ta, tb, tf32_inputs;
  uint32_t epilogue;
  void *bias, *aux;
  int64_t aux_ld, aux_stride, bias_stride;
  cudaDataType_t bias_type, aux_type;
  size_t m, n, k;

  bool adds_bias() const { return epilogue & CUBLASLT_EPILOGUE_BIAS; }
  bool gelu() const { return epilogue & CUBLASLT_EPILOGUE_GELU; }
  bool gelu_gradient() const { return epilogue & 64; }
  bool gelu_or_gradient() const { return gelu() || gelu_gradient(); }
  bool uses_aux() const { return epilogue & 128; }
  // Whether all rows are whole packs of 16 bytes.
  bool even() const {
    const Matrix* all[] = {&a, &b, &c, &d};
    return std::all_of(std::begin(all), std::end(all), [](const Matrix* x) {
      return x->rows * bytes_of(x->type) % 16 == 0 && x->ld * bytes_of(x->type) % 16 == 0;
    });
  }
  bool row_bias_gradient() const { return epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD; }
  bool uses_bias() const { return epilogue & (CUBLASLT_EPILOGUE_BIAS | 16 | 256 | 512); }

  Problem(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B,
          cublasLtMatrixLayout_t C, cublasLtMatrixLayout_t D)
      : a(A), b(B), c(C), d(D) {
    auto operation = [&](cublasLtMatmulDescAttributes_t attribute) {
      const auto op = read<int32_t>(desc, attribute);
      require(op == CUBLAS_OP_N || op == CUBLAS_OP_T, "operation is neither N nor T");
      return op == CUBLAS_OP_T;
    };
    ta = operation(CUBLASLT_MATMUL_DESC_TRANSA);
    tb = operation(CUBLASLT_MATMUL_DESC_TRANSB);
    const auto compute = read<int32_t>(desc, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE);
    require(compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                compute == CUBLAS_COMPUTE_32F_FAST_16BF,
            "only 32F compute types are emulated");
    tf32_inputs = compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a.type == CUDA_R_32F;
    require(read<int32_t>(desc, CUBLASLT_MATMUL_DESC_SCALE_TYPE) == CUDA_R_32F,
            "the scale type must be fp32");
    require(read<int32_t>(desc, CUBLASLT_MATMUL_DESC_POINTER_MODE) == CUBLASLT_POINTER_MODE_HOST,
            "only host alpha and beta are emulated");
    require(a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F),
            "unsupported combination of types");

    m = ta ? a.cols : a.rows;
    k = ta ? a.rows : a.cols;
    n = tb ? b.rows : b.cols;
    require(k == (tb ? b.cols : b.rows), "A and B disagree on k");
    require(d.rows == m && d.cols == n && c.rows == m && c.cols == n, "C or D is not m x n");
    require(a.batches == d.batches && b.batches == d.batches && c.batches == d.batches,
            "batch counts differ");

    epilogue = read<uint32_t>(desc, CUBLASLT_MATMUL_DESC_EPILOGUE);
    static constexpr uint32_t known[] = {CUBLASLT_EPILOGUE_DEFAULT,  CUBLASLT_EPILOGUE_BIAS,
                                         CUBLASLT_EPILOGUE_GELU,     CUBLASLT_EPILOGUE_GELU_BIAS,
                                         CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
                                         CUBLASLT_EPILOGUE_DGELU,    CUBLASLT_EPILOGUE_BGRADA,
                                         CUBLASLT_EPILOGUE_BGRADB,   CUBLASLT_EPILOGUE_DGELU_BGRAD};
    require(std::find(std::begin(known), std::end(known), epilogue) != std::end(known), "unknown epilogue");
    bias = read<void*>(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
    bias_stride = read<int64_t>(desc, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE);
    aux = read<void*>(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
    aux_ld = read<int64_t>(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
    aux_stride = read<int64_t>(desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE);
    auto type_or_d = [&](cublasLtMatmulDescAttributes_t attribute) {
      const auto t = read<int32_t>(desc, attribute);  // -1 by default: the type of D
      return t < 0 ? d.type : static_cast<cudaDataType_t>(t);
    };
    bias_type = type_or_d(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
    aux_type = type_or_d(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE);
    // Heuristics derive the alignment to expect from these pointers, so they are set before.
    if (uses_bias()) {
      require(bias != nullptr, "the epilogue needs the bias pointer");
      require(bias_type == d.type, "the bias has the type of D");
      require(d.batches == 1 || adds_bias(), "batched bias gradients are not emulated");
    }
    if (uses_aux()) {
      require(aux != nullptr, "the epilogue needs the auxiliary pointer");
      require(aux_type == d.type, "auxiliary type not emulated");
      require(aux_ld % 8 == 0 && aux_ld >= static_cast<int64_t>(m),
              "auxiliary leading dimension: a multiple of 8, not below the rows of D");
      require(aux_stride % 8 == 0, "auxiliary batch stride: a multiple of 8");
    }
  }

  // Of what an algorithm is configured for, and with the sizes, of the problem that it was advised for.
  uint64_t fingerprint(bool sizes) const {
    uint64_t hash = 14695981039346656037u;
    auto add = [&](uint64_t v) { hash = (hash ^ v) * 1099511628211u; };
    for (const Matrix* x : {&a, &b, &c, &d}) {
      for (uint64_t v : {uint64_t(x->type), uint64_t(x->ld), uint64_t(x->stride), uint64_t(x->batches)})
        add(v);
      if (sizes) {
        add(x->rows);
        add(x->cols);
      }
    }
    for (uint64_t v : {uint64_t(ta), uint64_t(tb), uint64_t(epilogue), uint64_t(bias_type),
                       uint64_t(aux_type), uint64_t(aux_ld), uint64_t(tf32_inputs)}) {
      add(v);
    }
    return hash;
  }
};

void check_buffer(const void* p, size_t bytes, const char* outside) {
  require(is_device_range(p, bytes), outside);
}

struct Operands {
  const void *a, *b, *c;
  void* d;
  double alpha, beta;
};

// As the type would store it.
double rounded(cudaDataType_t type, double v) {
  return type == CUDA_R_32F ? static_cast<float>(v)
                            : double{__bfloat162float(__float2bfloat16(static_cast<float>(v)))};
}

// Pre-activation x: value or derivative of GELU, tanh form. The value's tanh is as inexact as the hardware's
// instruction may be (PTX ISA, tanh.approx.f32): on an H200 the library's gelu was not exact to a float.
double gelu(double x, bool derivative) {
  const double inner = 0.7978845608028654 * (x + 0.044715 * x * x * x), t = std::tanh(inner);
  if (!derivative) return 0.5 * x * (1 + t * (1 - 0x1p-11));
  const double slope = 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope;
}

// How a sum is rounded to the type of D before it is complete, as seen on an H200 in bfloat16.
struct Roundings {
  bool parts;   // of a split sum
  bool totals;  // before the epilogue
};

void compute(const Problem& p, const Operands& o, Roundings roundings) {
  std::vector<double> a(p.m * p.k), b(p.n * p.k), gradient(p.m, 0.0);
  for (int q = 0; q < p.d.batches; ++q) {
    for (size_t x = 0; x < p.k; ++x) {
      for (size_t i = 0; i < p.m; ++i) {
        a[i * p.k + x] = load(o.a, p.a.type, p.ta ? p.a.index(q, x, i) : p.a.index(q, i, x));
      }
      for (size_t j = 0; j < p.n; ++j) {
        b[j * p.k + x] = load(o.b, p.b.type, p.tb ? p.b.index(q, j, x) : p.b.index(q, x, j));
      }
    }
    if (p.tf32_inputs) {
      for (double& v : a) v = tf32(v);
      for (double& v : b) v = tf32(v);
    }
    for (size_t j = 0; j < p.n; ++j) {
      for (size_t i = 0; i < p.m; ++i) {
        double v = 0;
        for (size_t x = 0; x < p.k; ++x) {
          v += a[i * p.k + x] * b[j * p.k + x];
          if (roundings.parts && x == p.k / 2) v = rounded(p.d.type, v);
        }
        if (roundings.parts || roundings.totals) v = rounded(p.d.type, v);
        v *= o.alpha;
        if (o.beta != 0) v += o.beta * load(o.c, p.c.type, p.c.index(q, i, j));
        if (p.adds_bias()) v += load(p.bias, p.bias_type, q * p.bias_stride + i);
        const size_t aux_index = q * p.aux_stride + j * p.aux_ld + i;
        if (p.gelu()) {
          if (p.uses_aux()) store(p.aux, p.aux_type, aux_index, v);
          v = gelu(v, false);
        }
        if (p.gelu_gradient()) v *= gelu(load(p.aux, p.aux_type, aux_index), true);
        gradient[i] += v;
        store(o.d, p.d.type, p.d.index(q, i, j), v);
      }
    }
  }
  auto sum_over_k = [&](const std::vector<double>& operand, size_t length) {
    for (size_t i = 0; i < length; ++i) {
      double sum = 0;
      for (size_t x = 0; x < p.k; ++x) sum += operand[i * p.k + x];
      store(p.bias, p.bias_type, i, sum);
    }
  };
  if (p.epilogue == CUBLASLT_EPILOGUE_BGRADA) sum_over_k(a, p.m);
  if (p.epilogue == CUBLASLT_EPILOGUE_BGRADB) sum_over_k(b, p.n);
  if (p.row_bias_gradient()) {
    for (size_t i = 0; i < p.m; ++i) store(p.bias, p.bias_type, i, gradient[i]);
  }
}

// What an emulated algorithm carries in its opaque data: its problem with and without the sizes, the most
// workspace that it may take, and the alignments of A, B, C, D, the bias and the auxiliary matrix; and how it
// rounds, which is as badly as the preference allows.
struct Algorithm {
  uint64_t problem, family, most_workspace;
  uint16_t alignment[6];
  Roundings roundings;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

// Other problems for which an algorithm was checked: (its own problem, the other).
std::set<std::pair<uint64_t, uint64_t>>& checked() {
  static std::set<std::pair<uint64_t, uint64_t>> all;
  return all;
}

// Depends on the sizes, so that who forgets to ask again has too little.
size_t workspace_of(const Algorithm& algorithm, const Problem& p) {
  return std::min<size_t>((32 << 10) + 256 * ((p.m + p.n + p.k) % 37), algorithm.most_workspace);
}

uint16_t pointer_alignment(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | 256;
  return static_cast<uint16_t>(address & (~address + 1));
}

}  // namespace
}  // namespace cuda_emulation

using namespace cuda_emulation;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static char token;
  *handle = reinterpret_cast<cublasLtHandle_t>(&token);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

// One algorithm.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B,
                                              cublasLtMatrixLayout_t C, cublasLtMatrixLayout_t D,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  require(requested > 0 && preference, "heuristics without room for a result or preference");
  const Problem problem(desc, A, B, C, D);
  *returned = 0;
  if (problem.gelu_or_gradient() && !config().blas_gelu) return CUBLAS_STATUS_NOT_SUPPORTED;
  Algorithm algorithm{};
  algorithm.problem = problem.fingerprint(true);
  algorithm.family = problem.fingerprint(false);
  algorithm.most_workspace = read<uint64_t>(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  static constexpr cublasLtMatmulPreferenceAttributes_t minimum[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  for (int i = 0; i < 4; ++i) {
    algorithm.alignment[i] = static_cast<uint16_t>(read<uint32_t>(preference, minimum[i]));
  }
  const auto schemes = read<uint32_t>(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
  algorithm.roundings.parts =
      schemes & (CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
  algorithm.roundings.totals =
      problem.epilogue != CUBLASLT_EPILOGUE_DEFAULT &&
      (schemes != CUBLASLT_REDUCTION_SCHEME_NONE || (problem.gelu() && !problem.even()));
  // Of these two there is no preference: their pointers say it.
  algorithm.alignment[4] = problem.uses_bias() ? pointer_alignment(problem.bias) : 1;
  algorithm.alignment[5] = problem.uses_aux() ? pointer_alignment(problem.aux) : 1;
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = workspace_of(algorithm, problem);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

// An algorithm takes other sizes than those it was advised for when this says so; one in `blas_refused` sums
// of the sizes is refused.
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t A,
                                       cublasLtMatrixLayout_t B, cublasLtMatrixLayout_t C,
                                       cublasLtMatrixLayout_t D, const cublasLtMatmulAlgo_t* algo,
                                       cublasLtMatmulHeuristicResult_t* result) {
  const Problem problem(desc, A, B, C, D);
  Algorithm algorithm;
  std::memcpy(&algorithm, algo, sizeof algorithm);
  if (algorithm.family != problem.fingerprint(false)) return CUBLAS_STATUS_INVALID_VALUE;
  if ((problem.m + problem.n + problem.k) % config().blas_refused == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  checked().emplace(algorithm.problem, problem.fingerprint(true));
  result->workspaceSize = workspace_of(algorithm, problem);
  result->state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* A,
                              cublasLtMatrixLayout_t layout_a, const void* B, cublasLtMatrixLayout_t layout_b,
                              const void* beta, const void* C, cublasLtMatrixLayout_t layout_c, void* D,
                              cublasLtMatrixLayout_t layout_d, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  const Problem p(desc, layout_a, layout_b, layout_c, layout_d);
  const Operands o{A, B, C, D, *static_cast<const float*>(alpha), *static_cast<const float*>(beta)};
  check_buffer(A, p.a.extent(), "A is not within a device allocation");
  check_buffer(B, p.b.extent(), "B is not within a device allocation");
  if (o.beta != 0) check_buffer(C, p.c.extent(), "C is not within a device allocation");
  check_buffer(D, p.d.extent(), "D is not within a device allocation");
  if (p.uses_bias()) {
    const size_t length = p.epilogue == CUBLASLT_EPILOGUE_BGRADB ? p.n : p.m;
    check_buffer(p.bias, ((p.d.batches - 1) * p.bias_stride + length) * bytes_of(p.bias_type),
                 "the bias is not within a device allocation");
  }
  if (p.uses_aux()) {
    const size_t end = (p.d.batches - 1) * p.aux_stride + (p.n - 1) * p.aux_ld + p.m;
    check_buffer(p.aux, end * bytes_of(p.aux_type), "the auxiliary matrix is not within a device allocation");
    require(device_alignment(p.aux) >= 16, "auxiliary pointer not aligned to 16 bytes");
  }
  require(C != D || p.c.ld == p.d.ld, "C and D are the same buffer with different layouts");
  size_t scratch = 0;
  Roundings roundings{};
  if (algo) {
    Algorithm algorithm;
    std::memcpy(&algorithm, algo, sizeof algorithm);
    const uint64_t problem = p.fingerprint(true);
    require(algorithm.problem == problem || checked().count({algorithm.problem, problem}),
            "the algorithm is for another problem");
    const void* pointers[] = {A, B, o.beta != 0 ? C : D, D, p.bias, p.aux};
    for (int i = 0; i < 6; ++i) {
      if (algorithm.alignment[i] == 1) continue;
      require(device_alignment(pointers[i]) >= algorithm.alignment[i],
              i < 4 ? "a pointer is less aligned than the preference said (256 bytes by default)"
                    : "the bias or auxiliary pointer is less aligned than the one that heuristics saw");
    }
    roundings = algorithm.roundings;
    scratch = workspace_of(algorithm, p);
    require(workspace_bytes >= scratch, "workspace smaller than the algorithm needs");
    if (scratch) {
      check_buffer(workspace, scratch, "workspace is not within a device allocation");
      require(device_alignment(workspace) >= 256, "workspace not aligned to 256 bytes");
    }
  }
  enqueue(stream, [=] {
    MemoryWindow window;
    poison(workspace, scratch);  // whoever shares it with live data notices
    compute(p, o, roundings);
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
