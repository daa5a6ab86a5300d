#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>

#include "suites/conformance.hpp"
#include "suites/kernel_cases_rows.hpp"
#include "suites/kernel_cases_sequence.hpp"
#include "suites/optimizer_suite.hpp"

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
    add_block_cases(result);
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

TEST_CASE("Cpu: optimizer steps are within their bounds of the reference") { check_optimizer(Cpu{}); }
TEST_CASE("Cpu: gradient norm, clipping, and a step that is skipped") { check_clipping(Cpu{}); }
TEST_CASE("Cpu: optimizer steps give the same bits for 1 to 4 threads") { check_optimizer_threads(Cpu{}); }

TEST_CASE("Cpu: kernels ask the system for no memory after their first calls") {
  const int threads = num_threads();
  set_num_threads(1);  // with more, which thread's workspace grows when is a matter of chance
  const auto run_all = [] {
    for (const KernelCase<Cpu>& kernel_case : table().cases())
      run_on<Cpu>(Cpu{}, kernel_case.arrays, initial_values<bfloat16>(kernel_case), kernel_case.in_bfloat16);
  };
  run_all();
  run_all();
  const std::size_t before = Cpu::memory_stats().system_allocations;
  run_all();
  CHECK(Cpu::memory_stats().system_allocations == before);
  set_num_threads(threads);
}

TEST_CASE("Cpu: memory is counted, and a request that cannot be met names its bytes") {
  const Cpu device;
  const MemoryStats before = Cpu::memory_stats();
  Cpu::reset_peak_memory();
  void* const block = device.allocate(5000);
  CHECK(Cpu::memory_stats().current == before.current + 5000);
  device.deallocate(block, 5000);
  CHECK(Cpu::memory_stats().current == before.current);
  CHECK(Cpu::memory_stats().peak == before.current + 5000);
  CHECK_THROWS_WITH_AS(device.allocate(std::size_t{1} << 61), doctest::Contains("2305843009213693952 bytes"),
                       DeviceError);
  CHECK(Cpu::memory_stats().current == before.current);
}
