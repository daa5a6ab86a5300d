#pragma once

#include <cstdint>
#include <string_view>

#include <attune/core/inline.hpp>

namespace attune::cpu {

/// Instruction sets that kernels are compiled for, whatever flags the program is compiled with. Each is a
/// superset of those before it. Results may differ between sets in their last bits; within a set they are
/// reproducible.
enum class Isa : std::uint8_t {
  generic,      ///< what the compiler may assume anyway; the only one outside x86-64
  avx2,         ///< AVX2 and FMA
  avx512,       ///< AVX-512 F, BW, DQ and VL
  avx512_bf16,  ///< the above and AVX512_BF16
};

inline constexpr int isa_count = 4;

/// "generic", "avx2", "avx512", "avx512_bf16"
constexpr std::string_view name_of(Isa isa) {
  constexpr std::string_view names[isa_count] = {"generic", "avx2", "avx512", "avx512_bf16"};
  return names[static_cast<int>(isa)];
}

/// The best set of this processor that the operating system saves the registers of.
Isa best_isa();

/// The set that kernels run with: the best one, or the one that the environment variable ATTUNE_ISA names
/// when the first kernel runs. Throws ConfigError when that name is unknown or the processor lacks the set.
Isa active_isa();

/// Chooses the set, for tests and comparisons. Must not be called while kernels run. Throws ConfigError when
/// the processor lacks it.
void set_isa(Isa isa);

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/isa.inl.hpp>
#endif
