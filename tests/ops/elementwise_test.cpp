// Elementwise operations, sums and views.
#include "suites/operations_elementwise.hpp"

#include <attune/backend/cpu/cpu.hpp>

#include "suites/operation_checks.hpp"

namespace {
const auto table = attune::testing::listed(attune::testing::elementwise_operations<attune::Cpu>());
}

TEST_CASE("operations: elementwise, sums and views") { attune::testing::check_operations(table); }
