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
      return avx2::kernels;
    case Isa::avx512:
      return avx512::kernels;
    case Isa::avx512_bf16:
      return avx512_bf16::kernels;
  }
#else
  static_cast<void>(isa);
#endif
  return generic::kernels;
}

template <class T>
const ElementKernels<T>& Kernels::elements() const {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::generic:
      break;
    case Isa::avx2:
      return avx2::elements<T>;
    case Isa::avx512:
      return avx512::elements<T>;
    case Isa::avx512_bf16:
      return avx512_bf16::elements<T>;
  }
#endif
  return generic::elements<T>;
}

template <class T>
const GemmKernels<T>& Kernels::gemm() const {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::generic:
      break;
    case Isa::avx2:
      return avx2::gemm<T>;
    case Isa::avx512:
      return avx512::gemm<T>;
    case Isa::avx512_bf16:
      return avx512_bf16::gemm<T>;
  }
#endif
  return generic::gemm<T>;
}

template <class T>
const GemmKernels<T>& Kernels::widening_gemm() const {
  return isa == Isa::avx512_bf16 ? kernels(Isa::avx512).gemm<T>() : gemm<T>();
}

}  // namespace attune::cpu
