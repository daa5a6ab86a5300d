// The kernels of the CUDA backend against the reference, in the emulator.
#include <doctest/doctest.h>

#include "emulated.hpp"
#include "suites/conformance.hpp"
#include "suites/kernel_cases_rows.hpp"
#include "suites/kernel_cases_sequence.hpp"
#include "suites/optimizer_suite.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

const KernelTable<Cuda>& table() {
  static const KernelTable<Cuda> all = [] {
    KernelTable<Cuda> result;
    add_layout_cases(result);
    add_elementwise_cases(result);
    add_reduce_cases(result);
    add_matmul_cases(result);
    add_norm_cases(result);
    add_loss_cases(result);
    add_attention_cases(result, 1.0);  // tensor cores round weights
    add_sequence_cases(result);
    return result;
  }();
  return all;
}

}  // namespace

TEST_CASE("Cuda: every kernel in float is within its bound of the reference") {
  check_against_reference<float>(emulated_device(), table());
}
TEST_CASE("Cuda: every kernel in bfloat16 is within its bound of the reference") {
  check_against_reference<bfloat16>(emulated_device(), table());
}
TEST_CASE("Cuda: optimizer steps are within their bounds of the reference") {
  check_optimizer(emulated_device());
}
TEST_CASE("Cuda: gradient norm, clipping, and a step that is skipped") { check_clipping(emulated_device()); }
