#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include <attune/backend/cpu/kernel_table.hpp>
#include <attune/backend/cpu/kernels_avx512.inl.hpp>

// Everything between push and pop is compiled for this instruction set and must only run where the processor
// has it. Nothing from outside is called with a vector: g++ would compile that silently, with another calling
// convention. For the same reason there are no lambdas here, and no template over a vector type.
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC diagnostic push  // g++ 12 sees uninitialised values in its own intrinsics
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#endif

namespace attune::cpu::avx512_bf16 {

#include <attune/backend/cpu/simd_avx512.inc>

#include <attune/backend/cpu/gemm_kernels.inc>

// c + a0 b0 + a1 b1 in one instruction. It takes subnormal operands for zero and returns zero for subnormal
// results.
struct Bfloat16Product {
  static Vec multiply_add(Vec a, Vec b, Vec c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);  // NOLINT: a reinterpretation between vector types
  }
};

// Pairs of bfloat16, packed as they are.
struct Bfloat16Pairs {
  using Source = bfloat16;
  static constexpr int group = 2;
  static Vec load_along(const bfloat16* from) { return _mm512_castsi512_ps(_mm512_loadu_si512(from)); }
  static Vec load_along(const bfloat16* from, int count) {
    const auto mask = static_cast<__mmask32>((std::uint64_t{1} << count) - 1);
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, from));
  }
  static Vec pair(__m256i even, __m256i odd) {
    const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16);
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_cvtepu16_epi32(even), high));
  }
  static Vec load_across(const bfloat16* from, std::int64_t stride, bool whole) {
    const __m256i even = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    if (!whole) return pair(even, _mm256_setzero_si256());
    return pair(even, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + stride)));
  }
  static Vec load_across(const bfloat16* from, std::int64_t stride, bool whole, int count) {
    const __m256i even = _mm256_maskz_loadu_epi16(first(count), from);
    if (!whole) return pair(even, _mm256_setzero_si256());
    return pair(even, _mm256_maskz_loadu_epi16(first(count), from + stride));
  }
  using Product = Bfloat16Product;
};

// Only the products of bfloat16 differ from plain AVX-512.
template <class T>
inline constexpr const ElementKernels<T>& elements = avx512::elements<T>;
template <class T>
inline constexpr const GemmKernels<T>& gemm = avx512::gemm<T>;
template <>
inline constexpr GemmKernels<bfloat16> gemm<bfloat16> = gemm_kernels<Bfloat16Pairs>();

inline constexpr Kernels kernels = {Isa::avx512_bf16, avx512::philox, avx512::row_kernels,
                                    avx512::panel_kernels};

}  // namespace attune::cpu::avx512_bf16

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC diagnostic pop
#pragma GCC pop_options
#endif
