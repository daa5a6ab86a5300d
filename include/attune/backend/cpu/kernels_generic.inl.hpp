#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <attune/backend/cpu/kernel_table.hpp>

namespace attune::cpu::generic {

#include <attune/backend/cpu/simd_generic.inc>

#include <attune/backend/cpu/vector_math.inc>

#include <attune/backend/cpu/element_kernels.inc>

#include <attune/backend/cpu/row_kernels.inc>

#include <attune/backend/cpu/attention_kernels.inc>

#include <attune/backend/cpu/gemm_kernels.inc>

inline void philox(Philox::Counter counter, Philox::Key key, std::int64_t blocks, std::uint32_t* out) {
  for (std::int64_t block = 0; block < blocks; ++block, ++counter[0]) {
    const Philox::Counter words = Philox::generate(counter, key);
    std::memcpy(out + 4 * block, words.data(), sizeof words);
  }
}

inline void panel_dropout(const PanelDropout& dropout, std::int64_t keys, float* factors) {
  for (int c = 0; c < panel_width; ++c) {
    const Philox::Counter query = {0, dropout.positions[c], dropout.samples[c], dropout.stream};
    std::uint32_t block = dropout.first_key / 4;
    for (std::int64_t j = -static_cast<std::int64_t>(dropout.first_key % 4); j < keys; j += 4, ++block) {
      const Philox::Counter random = Philox::generate({block, query[1], query[2], query[3]}, dropout.key);
      for (int word = 0; word < 4; ++word)
        if (j + word >= 0 && j + word < keys)
          factors[(j + word) * panel_width + c] =
              random[static_cast<std::size_t>(word)] < dropout.threshold ? 0.0f : dropout.scale;
    }
  }
}

inline constexpr PanelKernels panel_kernels = {panel_width, panel_weights, panel_weights_backward,
                                               panel_dropout};

template <class T>
inline constexpr ElementKernels<T> elements = element_kernels<T>();
template <class T>
inline constexpr GemmKernels<T> gemm = gemm_kernels<Converted<T>>();

inline constexpr Kernels kernels = {Isa::generic, philox, row_kernels, panel_kernels};

}  // namespace attune::cpu::generic
