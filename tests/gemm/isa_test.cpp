#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include <attune/backend/cpu/isa.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/error.hpp>

#include "instruction_sets.hpp"

namespace cpu = attune::cpu;

TEST_CASE("isa: names") {
  CHECK(name_of(cpu::Isa::generic) == "generic");
  CHECK(name_of(cpu::Isa::avx512_bf16) == "avx512_bf16");
}

TEST_CASE("isa: each set that the processor has can be chosen, and its kernels are its own") {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    CHECK(cpu::active_isa() == isa);
    CHECK(&cpu::kernels() == &cpu::kernels(isa));
    CHECK(cpu::kernels().gemm<float>().cols == (isa == cpu::Isa::generic ? 8
                                                : isa == cpu::Isa::avx2  ? 16
                                                                         : 32));
    CHECK(cpu::kernels().gemm<attune::bfloat16>().group == (isa == cpu::Isa::avx512_bf16 ? 2 : 1));
  }
}

TEST_CASE("isa: a set that the processor lacks is refused by name") {
  if (cpu::best_isa() == cpu::Isa::avx512_bf16) return;
  CHECK_THROWS_WITH_AS(cpu::set_isa(cpu::Isa::avx512_bf16), doctest::Contains("avx512_bf16"),
                       attune::ConfigError);
}

// The variable is read when the first kernel of a process runs; ctest starts this case with several values.
TEST_CASE("isa: ATTUNE_ISA") {
  const char* setting = std::getenv("ATTUNE_ISA");
  const std::string name = setting == nullptr ? "" : setting;
  if (name == "avx1024") {
    CHECK_THROWS_WITH_AS(cpu::active_isa(), doctest::Contains("avx1024"), attune::ConfigError);
  } else if (name.empty()) {
    CHECK(cpu::active_isa() == cpu::best_isa());
  } else {
    CHECK(name_of(cpu::active_isa()) == name);
  }
}
