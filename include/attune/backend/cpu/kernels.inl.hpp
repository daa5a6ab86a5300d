#pragma once

#include <attune/backend/cpu/kernels.hpp>
#include <attune/backend/cpu/kernels_generic.inl.hpp>
#if defined(__x86_64__)
#include <attune/backend/cpu/kernels_avx2.inl.hpp>
#include <attune/backend/cpu/kernels_avx512.inl.hpp>
#include <attune/backend/cpu/kernels_avx512_bf16.inl.hpp>
#endif

namespace attune::cpu {

ATTUNE_INLINE const Kernels& kernels(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::generic:
      break;
    case Isa::avx2:
      return avx2::kernels();
    case Isa::avx512:
      return avx512::kernels();
    case Isa::avx512_bf16:
      return avx512_bf16::kernels();
  }
#else
  static_cast<void>(isa);
#endif
  return generic::kernels();
}

}  // namespace attune::cpu
