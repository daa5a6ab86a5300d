#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>

#include "suites/kernel_cases_rows.hpp"
#include "suites/kernel_cases_sequence.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

const KernelTable<Cpu>& table() {
  static const KernelTable<Cpu> all = [] {
    KernelTable<Cpu> result;
    add_layout_cases(result);
    add_elementwise_cases(result);
    add_reduce_cases(result);
    add_matmul_cases(result);
    add_norm_cases(result);
    add_loss_cases(result);
    add_attention_cases(result);
    add_sequence_cases(result);
    return result;
  }();
  return all;
}

}  // namespace

TEST_CASE("Cpu: every kernel in float is within its bound of the reference") {
  check_against_reference<float>(Cpu{}, table());
}
TEST_CASE("Cpu: every kernel in bfloat16 is within its bound of the reference") {
  check_against_reference<bfloat16>(Cpu{}, table());
}
TEST_CASE("Cpu: every kernel gives the same bits for 1 to 4 threads") {
  check_thread_invariance<float>(Cpu{}, table());
  check_thread_invariance<bfloat16>(Cpu{}, table());
}
