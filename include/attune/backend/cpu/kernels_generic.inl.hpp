#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <attune/backend/cpu/kernel_table.hpp>

namespace attune::cpu::generic {

#include <attune/backend/cpu/simd_generic.inc>

#include <attune/backend/cpu/vector_math.inc>

#include <attune/backend/cpu/element_kernels.inc>

#include <attune/backend/cpu/row_kernels.inc>

#include <attune/backend/cpu/gemm_kernels.inc>

inline void philox(Philox::Counter counter, Philox::Key key, std::int64_t blocks, std::uint32_t* out) {
  for (std::int64_t block = 0; block < blocks; ++block, ++counter[0]) {
    const Philox::Counter words = Philox::generate(counter, key);
    std::memcpy(out + 4 * block, words.data(), sizeof words);
  }
}

template <class T>
inline constexpr ElementKernels<T> elements = element_kernels<T>();
template <class T>
inline constexpr GemmKernels<T> gemm = gemm_kernels<Converted<T>>();

inline constexpr Kernels kernels = {Isa::generic, philox, row_kernels};

}  // namespace attune::cpu::generic
