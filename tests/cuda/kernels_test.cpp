// The kernels of the CUDA backend against the reference.
#include <doctest/doctest.h>

#include <cstdlib>

#include "suites/conformance.hpp"
#include "suites/kernel_cases_rows.hpp"
#include "suites/kernel_cases_sequence.hpp"
#include "suites/optimizer_suite.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

const KernelTable<Cuda>& table() {
  static const KernelTable<Cuda> all = [] {
    KernelTable<Cuda> result;
    add_layout_cases(result);
    add_elementwise_cases(result);
    add_reduce_cases(result);
    // cuBLASLt takes tanh from an instruction that is off by up to 2^-11 (PTX ISA, tanh.approx.f32).
    add_matmul_cases(result, 1.0 / 16.0);
    add_norm_cases(result);
    add_loss_cases(result);
    add_attention_cases(result, 1.0);  // tensor cores round weights
    add_sequence_cases(result);
    return result;
  }();
  return all;
}

/// For sanitizers, under which each barrier is slow: enough for several blocks of every kernel, and for the
/// edges of packs, warps and rows. All of the table with ATTUNE_FULL.
const KernelTable<Cuda>& table_for_sanitizers() {
  static const KernelTable<Cuda> part = table().filtered([](const KernelCase<Cuda>& kernel_case) {
    if (std::getenv("ATTUNE_FULL")) return true;
    std::int64_t elements = 0;
    for (const Array& array : kernel_case.arrays) elements += array.storage();
    return elements <= 1500;
  });
  return part;
}

}  // namespace

TEST_CASE("Cuda: every kernel in float is within its bound of the reference") {
  check_against_reference<float>(tested_device(), table());
}
TEST_CASE("Cuda: every kernel in bfloat16 is within its bound of the reference") {
  check_against_reference<bfloat16>(tested_device(), table());
}
TEST_CASE("Cuda: optimizer steps are within their bounds of the reference") {
  check_optimizer(tested_device());
}
TEST_CASE("Cuda: gradient norm, clipping, and a step that is skipped") { check_clipping(tested_device()); }

// What the builds with sanitizers run; the tests above run more.
TEST_CASE("sanitized: kernels in float" * doctest::skip()) {
  check_against_reference<float>(tested_device(), table_for_sanitizers());
}
TEST_CASE("sanitized: kernels in bfloat16" * doctest::skip()) {
  check_against_reference<bfloat16>(tested_device(), table_for_sanitizers());
}
