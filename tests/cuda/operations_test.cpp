// Differentiable operations on the CUDA backend, in the emulator: forward and gradients against the
// reference.
#include <doctest/doctest.h>

#include "suites/operation_checks.hpp"
#include "suites/operations_elementwise.hpp"
#include "suites/operations_loss.hpp"
#include "suites/operations_rows.hpp"
#include "suites/operations_sequence.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

void check(const OperationTable<Cuda>& table) {
  check_against_reference<float>(table);
  check_against_reference<bfloat16>(table);
  check_accumulation_and_needs<float>(table);
}

}  // namespace

TEST_CASE("Cuda: elementwise operations, sums and views") {
  tested_device();
  check(elementwise_operations<Cuda>());
}
TEST_CASE("Cuda: operations row by row") {
  tested_device();
  check(row_operations<Cuda>());
}
TEST_CASE("Cuda: operations over sequences") {
  tested_device();
  check(sequence_operations<Cuda>());
}
TEST_CASE("Cuda: losses") {
  tested_device();
  check(loss_operations<Cuda>());
}
