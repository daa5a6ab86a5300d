#pragma once

#include <atomic>
#include <cstdlib>
#include <string>

#include <attune/backend/cpu/isa.hpp>
#include <attune/core/error.hpp>

namespace attune::cpu {
namespace detail {

// -1: not chosen yet.
inline std::atomic<int>& chosen_isa() {
  static std::atomic<int> chosen{-1};
  return chosen;
}

inline void require_isa(Isa isa) {
  if (isa > best_isa())
    throw ConfigError("instruction set " + std::string(name_of(isa)) + ": this processor has only " +
                      std::string(name_of(best_isa())));
}

inline Isa isa_from_environment() {
  const char* setting = std::getenv("ATTUNE_ISA");
  if (setting == nullptr || *setting == '\0') return best_isa();
  for (int index = 0; index < isa_count; ++index) {
    const auto isa = static_cast<Isa>(index);
    if (name_of(isa) != setting) continue;
    require_isa(isa);
    return isa;
  }
  throw ConfigError("ATTUNE_ISA: expected generic, avx2, avx512 or avx512_bf16, found \"" +
                    std::string(setting) + "\"");
}

}  // namespace detail

ATTUNE_INLINE Isa best_isa() {
#if defined(__x86_64__)
  static const Isa best = [] {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::generic;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
      return Isa::avx2;
    return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
  }();
  return best;
#else
  return Isa::generic;
#endif
}

ATTUNE_INLINE Isa active_isa() {
  int chosen = detail::chosen_isa().load(std::memory_order_relaxed);
  if (chosen < 0) {
    chosen = static_cast<int>(detail::isa_from_environment());
    detail::chosen_isa().store(chosen, std::memory_order_relaxed);
  }
  return static_cast<Isa>(chosen);
}

ATTUNE_INLINE void set_isa(Isa isa) {
  detail::require_isa(isa);
  detail::chosen_isa().store(static_cast<int>(isa), std::memory_order_relaxed);
}

}  // namespace attune::cpu
