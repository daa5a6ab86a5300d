// Attention, pooling, rotary positions, and checkpoint().
#include "suites/operations_sequence.hpp"

#include <attune/backend/cpu/cpu.hpp>

#include "suites/operation_checks.hpp"

namespace {
const auto table = attune::testing::listed(attune::testing::sequence_operations<attune::Cpu>());
}

TEST_CASE("operations: over sequences") { attune::testing::check_operations(table); }
