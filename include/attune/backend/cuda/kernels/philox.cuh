#pragma once

#include <attune/backend/cuda/kernels/common.cuh>
#include <attune/core/random.hpp>

namespace attune::cuda {

struct Words {
  uint32_t v[4];
};

/// Philox::generate on the device: the same words for the same counter and key.
__device__ __forceinline__ Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t key0,
                                        uint32_t key1) {
#pragma unroll
  for (int round = 0; round < Philox::rounds; ++round) {
    const uint32_t high0 = port::multiply_high(Philox::multiplier0, c0), low0 = Philox::multiplier0 * c0;
    const uint32_t high1 = port::multiply_high(Philox::multiplier1, c2), low1 = Philox::multiplier1 * c2;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += Philox::weyl0;
    key1 += Philox::weyl1;
  }
  return {{c0, c1, c2, c3}};
}

/// DropoutView as a kernel argument.
struct Dropout {
  bool on = false;
  uint32_t threshold = 0;
  float scale = 1.0f;
  uint32_t key0 = 0, key1 = 0, site = 0;
  const int32_t* samples = nullptr;
  const int32_t* positions = nullptr;

  Dropout() = default;
  explicit Dropout(const DropoutView& view)
      : on(static_cast<bool>(view)),
        threshold(view.threshold()),
        scale(view.scale()),
        key0(view.key[0]),
        key1(view.key[1]),
        site(view.site << 16),
        samples(view.samples),
        positions(view.positions) {}

  /// The words of columns (or key positions) 4 block .. 4 block + 3; `head` is 0 for a matrix, h + 1 in
  /// attention.
  __device__ __forceinline__ Words words(int64_t row, uint32_t block, uint32_t head = 0) const {
    return philox(block, static_cast<uint32_t>(positions[row]), static_cast<uint32_t>(samples[row]),
                  site | head, key0, key1);
  }
  __device__ __forceinline__ float factor(uint32_t word) const { return word < threshold ? 0.0f : scale; }

  /// Multiplies the pack that begins at `column`, a multiple of 4, of a matrix.
  template <class T>
  __device__ __forceinline__ void apply(Pack<T>& pack, int64_t row, int64_t column) const {
    apply_from(pack, row, static_cast<uint32_t>(column / 4));
  }
  /// Or at column 4 block.
  template <class T>
  __device__ __forceinline__ void apply_from(Pack<T>& pack, int64_t row, uint32_t block) const {
    if (!on) return;
#pragma unroll
    for (int group = 0; group < Pack<T>::size / 4; ++group) {
      const Words drawn = words(row, block + static_cast<uint32_t>(group));
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        float& value = pack.v[4 * group + k];
        value = drawn.v[k] < threshold ? 0.0f : value * scale;
      }
    }
  }
};

}  // namespace attune::cuda
