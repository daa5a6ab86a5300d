// The strict emulation of cublasLtMatmul: right numbers when used right, Error when misused.
#include <cublasLt.h>

#include <functional>
#include <memory>
#include <string>

#include <emulation/emulator.hpp>
#include "device_array.hpp"

namespace {

using bf16 = __nv_bfloat16;
bool failed = false;

void check(cublasStatus_t s) {
  if (s == CUBLAS_STATUS_SUCCESS) return;
  std::printf("  cuBLASLt status %d\n", static_cast<int>(s));
  std::exit(3);
}

// Descriptors are owned, as Error may be thrown while they are in use.
template <class T>
using Owned = std::unique_ptr<T, cublasStatus_t (*)(T*)>;
using Desc = Owned<std::remove_pointer_t<cublasLtMatmulDesc_t>>;
using Layout = Owned<std::remove_pointer_t<cublasLtMatrixLayout_t>>;
using Preference = Owned<std::remove_pointer_t<cublasLtMatmulPreference_t>>;

Layout layout(uint64_t rows, uint64_t cols, int64_t ld) {
  cublasLtMatrixLayout_t l;
  check(cublasLtMatrixLayoutCreate(&l, CUDA_R_16BF, rows, cols, ld));
  return Layout(l, cublasLtMatrixLayoutDestroy);
}

std::vector<bf16> random_values(size_t n, unsigned seed) {
  std::mt19937 source(seed);
  std::normal_distribution<float> normal;
  std::vector<bf16> v(n);
  for (auto& x : v) x = __float2bfloat16(normal(source));
  return v;
}

// D[m, n] = epilogue(A^T B): a linear layer, x [n, k] and weight [m, k] both row-major.
struct Linear {
  static constexpr int m = 24, n = 16, k = 32;
  // What the misuse cases change.
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  int32_t transa = CUBLAS_OP_T;
  int64_t ld_d = m, aux_ld = m;
  size_t workspace_bytes = 4096;
  int offset_b = 0;  // elements, misaligns B
  uint32_t alignment_b = 256;
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE;  // by which sums may be split
  bool other_problem = false, bias_set = true, float_bias = false, host_input = false, short_output = false;
  int fewer = 0;        // tokens than the algorithm was advised for
  bool checked = true;  // whether the algorithm is checked for them
  int offset_bias = 0;  // elements, after heuristics have seen the pointer

  std::vector<bf16> w = random_values(m * k, 1), x = random_values(n * k, 2);
  std::vector<bf16> bias = random_values(m, 3), aux = random_values(m * n, 4);
  std::vector<bf16> d, aux_out, bias_out;

  void run() {
    std::vector<bf16> shifted(x);
    shifted.insert(shifted.begin(), offset_b, bf16{});
    std::vector<bf16> long_bias(bias);
    long_bias.resize(m + 8);
    DeviceArray<bf16> d_w(w), d_x(shifted), d_bias(long_bias), d_aux(aux);
    DeviceArray<bf16> d_d(short_output ? m * n - 1 : m * n);
    DeviceArray<char> workspace(4096);

    cublasLtHandle_t handle;
    check(cublasLtCreate(&handle));
    cublasLtMatmulDesc_t desc;
    check(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const Desc desc_owner(desc, cublasLtMatmulDescDestroy);
    auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& v) {
      check(cublasLtMatmulDescSetAttribute(desc, attribute, &v, sizeof v));
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, transa);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (bias_set) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, d_bias.get());
    if (float_bias) set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32_t{CUDA_R_32F});
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, d_aux.get());
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, aux_ld);
    const Layout a = layout(k, m, k), b = layout(k, n, k), out = layout(m, n, ld_d);
    cublasLtMatmulPreference_t preference;
    check(cublasLtMatmulPreferenceCreate(&preference));
    const Preference preference_owner(preference, cublasLtMatmulPreferenceDestroy);
    const uint64_t most = 4096;
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
                                               sizeof most));
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                               &alignment_b, sizeof alignment_b));
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                               &schemes, sizeof schemes));

    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle, desc, a.get(), b.get(), out.get(), out.get(), preference, 1,
                                         &result, &count));
    if (other_problem) set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_GELU);
    if (offset_bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, d_bias.get() + offset_bias);
    if (fewer) {
      const uint64_t tokens = n - fewer;
      for (const Layout* l : {&b, &out}) {
        check(
            cublasLtMatrixLayoutSetAttribute(l->get(), CUBLASLT_MATRIX_LAYOUT_COLS, &tokens, sizeof tokens));
      }
      cublasLtMatmulHeuristicResult_t again;
      if (checked) {
        check(cublasLtMatmulAlgoCheck(handle, desc, a.get(), b.get(), out.get(), out.get(), &result.algo,
                                      &again));
      }
    }
    const float one = 1, zero = 0;
    const bf16* input = host_input ? x.data() : d_x.get() + offset_b;
    check(cublasLtMatmul(handle, desc, &one, d_w.get(), a.get(), input, b.get(), &zero, d_d.get(), out.get(),
                         d_d.get(), out.get(), &result.algo, workspace.get(), workspace_bytes, nullptr));
    CHECK_CUDA(cudaDeviceSynchronize());
    d = d_d.to_host();
    aux_out = d_aux.to_host();
    bias_out = d_bias.to_host();
    bias_out.resize(m);
    cublasLtDestroy(handle);
  }
};

double value(bf16 x) { return __bfloat162float(x); }
double gelu(double x) { return 0.5 * x * (1 + std::tanh(0.79788456 * (x + 0.044715 * x * x * x))); }
double gelu_slope(double x) { return (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5; }

constexpr double most_error = 4.5e-3;  // of one rounding: 2^-8
void report(const char* what, double error) {
  const bool ok = error <= most_error;
  std::printf("  %-28s max rel err %.2g%s\n", what, error, ok ? "" : "  WRONG");
  failed |= !ok;
}

// Products with nothing but one rounding; with schemes by which more may be rounded, the stand-in rounds
// more.
void numbers(const char* name, cublasLtEpilogue_t epilogue,
             uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_NONE) {
  Linear l;
  l.epilogue = epilogue;
  l.schemes = schemes;
  l.run();
  const bool backward = epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD;
  std::vector<double> d(l.m * l.n), pre(l.m * l.n), bias(l.m);
  for (int j = 0; j < l.n; ++j) {
    for (int i = 0; i < l.m; ++i) {
      double v = epilogue & CUBLASLT_EPILOGUE_BIAS ? value(l.bias[i]) : 0;
      for (int c = 0; c < l.k; ++c) v += value(l.w[i * l.k + c]) * value(l.x[j * l.k + c]);
      pre[j * l.m + i] = v;
      if (backward) v *= gelu_slope(value(l.aux[j * l.m + i]));
      if (epilogue & CUBLASLT_EPILOGUE_GELU) v = gelu(v);
      bias[i] += v;
      d[j * l.m + i] = v;
    }
  }
  if (schemes != CUBLASLT_REDUCTION_SCHEME_NONE) {
    const double error = worst_error(d, l.d, value);
    std::printf("  %-28s max rel err %.2g%s\n", name, error,
                error > most_error ? ", as rounded" : "  NOT ROUNDED");
    failed |= error <= most_error;
    return;
  }
  report(name, worst_error(d, l.d, value));
  if (epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS) {
    report("  its GELU input", worst_error(pre, l.aux_out, value));
  }
  if (backward) report("  its bias gradient", worst_error(bias, l.bias_out, value));
}

void misuse(const char* name, const char* message, std::function<void(Linear&)> change) {
  Linear l;
  change(l);
  try {
    l.run();
    std::printf("  %-28s NOT NOTICED\n", name);
    failed = true;
  } catch (const cuda_emulation::Error& e) {
    const bool right = std::string(e.what()).find(message) != std::string::npos;
    std::printf("  %-28s %s: %s\n", name, right ? "noticed" : "WRONG MESSAGE", e.what());
    failed |= !right;
  }
}

}  // namespace

int main() {
  numbers("default", CUBLASLT_EPILOGUE_DEFAULT);
  numbers("bias", CUBLASLT_EPILOGUE_BIAS);
  numbers("gelu_bias", CUBLASLT_EPILOGUE_GELU_BIAS);
  numbers("gelu_aux_bias", CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  numbers("dgelu_bgrad", CUBLASLT_EPILOGUE_DGELU_BGRAD);
  numbers("parts in bfloat16", CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
  numbers("parts in float, bias", CUBLASLT_EPILOGUE_BIAS, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);

  misuse("epilogue 9999", "unknown epilogue",
         [](Linear& l) { l.epilogue = static_cast<cublasLtEpilogue_t>(9999); });
  misuse("operation 77", "neither N nor T", [](Linear& l) { l.transa = 77; });
  misuse("wrong operation", "disagree on k", [](Linear& l) { l.transa = CUBLAS_OP_N; });
  misuse("ld below rows", "below the number of rows", [](Linear& l) { l.ld_d = l.m - 8; });
  misuse("auxiliary ld", "multiple of 8", [](Linear& l) {
    l.epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    l.aux_ld = l.m + 4;
  });
  misuse("no bias pointer", "bias pointer", [](Linear& l) {
    l.epilogue = CUBLASLT_EPILOGUE_BIAS;
    l.bias_set = false;
  });
  misuse("view of B", "less aligned", [](Linear& l) { l.offset_b = 8; });
  misuse("small workspace", "workspace smaller", [](Linear& l) { l.workspace_bytes = 16; });
  misuse("algorithm reused", "another problem", [](Linear& l) { l.other_problem = true; });
  misuse("host input", "B is not within", [](Linear& l) { l.host_input = true; });
  misuse("short output", "D is not within", [](Linear& l) { l.short_output = true; });

  misuse("bias of another type", "the bias has the type of D", [](Linear& l) {
    l.epilogue = CUBLASLT_EPILOGUE_BIAS;
    l.float_bias = true;
  });
  misuse("bias less aligned than seen", "less aligned than the one that heuristics saw", [](Linear& l) {
    l.epilogue = CUBLASLT_EPILOGUE_BIAS;
    l.offset_bias = 1;
  });
  misuse("other size, not checked", "another problem", [](Linear& l) {
    l.fewer = 3;
    l.checked = false;
  });

  Linear fewer;  // an algorithm that was checked for it takes another size
  fewer.fewer = 3;
  fewer.run();

  Linear aligned;  // the view is fine when the preference admits it
  aligned.offset_b = 8;
  aligned.alignment_b = 16;
  aligned.run();
  return failed;
}
