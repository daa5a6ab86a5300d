#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include <attune/backend/cpu/kernel_table.hpp>

// Everything between push and pop is compiled for this instruction set and must only run where the processor
// has it. Nothing from outside is called with a vector: g++ would compile that silently, with another calling
// convention. For the same reason there are no lambdas here, and no template over a vector type.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC diagnostic push  // g++ 12 sees uninitialised values in its own intrinsics
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

namespace attune::cpu::avx512 {

#include <attune/backend/cpu/simd_avx512.inc>

#include <attune/backend/cpu/vector_math.inc>

#include <attune/backend/cpu/element_kernels.inc>

#include <attune/backend/cpu/row_kernels.inc>

#include <attune/backend/cpu/attention_kernels.inc>

#include <attune/backend/cpu/philox.inc>

#include <attune/backend/cpu/gemm_kernels.inc>

inline constexpr PanelKernels panel_kernels = {panel_width, panel_weights, panel_weights_backward,
                                               panel_dropout};

template <class T>
inline constexpr ElementKernels<T> elements = element_kernels<T>();
template <class T>
inline constexpr GemmKernels<T> gemm = gemm_kernels<Converted<T>>();

inline constexpr Kernels kernels = {Isa::avx512, philox, row_kernels, panel_kernels};

}  // namespace attune::cpu::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC diagnostic pop
#pragma GCC pop_options
#endif
