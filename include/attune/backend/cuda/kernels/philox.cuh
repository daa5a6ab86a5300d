#pragma once

#include <attune/backend/cuda/kernels/common.cuh>
#include <attune/core/random.hpp>

namespace attune::cuda {

struct Words {
  uint32_t v[4];
};

/// The rounds of Philox from `First` on.
template <int First>
__device__ __forceinline__ Words philox_rounds(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                                               uint32_t key0, uint32_t key1) {
#pragma unroll
  for (int round = First; round < Philox::rounds; ++round) {
    const uint32_t round_key0 = key0 + static_cast<uint32_t>(round) * Philox::weyl0,
                   round_key1 = key1 + static_cast<uint32_t>(round) * Philox::weyl1;
    const uint64_t product0 = uint64_t{Philox::multiplier0} * c0,
                   product1 = uint64_t{Philox::multiplier1} * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ round_key0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ round_key1;
    c3 = static_cast<uint32_t>(product0);
  }
  return {{c0, c1, c2, c3}};
}

/// Philox::generate on the device: the same words for the same counter and key.
__device__ __forceinline__ Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t key0,
                                        uint32_t key1) {
  return philox_rounds<0>(c0, c1, c2, c3, key0, key1);
}

// The first two rounds mix the counter's halves (c1, c2) and (c0, c3) only by exclusive or. Where many
// counters are the pairs of few of each, the products of these rounds need not be made for each pair.

struct PhiloxRow {  ///< of c1 and c2
  uint32_t c0, c2, c3;

  PhiloxRow() = default;
  __device__ __forceinline__ PhiloxRow(uint32_t c1_, uint32_t c2_, uint32_t key0, uint32_t key1) {
    const uint64_t first = uint64_t{Philox::multiplier1} * c2_;
    const uint64_t second = uint64_t{Philox::multiplier0} * (static_cast<uint32_t>(first >> 32) ^ c1_ ^ key0);
    c0 = static_cast<uint32_t>(first) ^ (key0 + Philox::weyl0);
    c2 = static_cast<uint32_t>(second >> 32) ^ (key1 + Philox::weyl1);
    c3 = static_cast<uint32_t>(second);
  }
};
struct PhiloxColumn {  ///< of c0 and c3
  uint32_t c0, c1, c2;

  __device__ __forceinline__ PhiloxColumn(uint32_t c0_, uint32_t c3_, uint32_t key1) {
    const uint64_t first = uint64_t{Philox::multiplier0} * c0_;
    const uint64_t second = uint64_t{Philox::multiplier1} * (static_cast<uint32_t>(first >> 32) ^ c3_ ^ key1);
    c0 = static_cast<uint32_t>(second >> 32);
    c1 = static_cast<uint32_t>(second);
    c2 = static_cast<uint32_t>(first);
  }
};
/// As philox() of the whole counter.
__device__ __forceinline__ Words philox(const PhiloxRow& row, const PhiloxColumn& column, uint32_t key0,
                                        uint32_t key1) {
  return philox_rounds<2>(row.c0 ^ column.c0, column.c1, row.c2 ^ column.c2, row.c3, key0, key1);
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
  /// words() of a row and a block is philox() of these.
  __device__ __forceinline__ PhiloxRow row_counter(int64_t row) const {
    return {static_cast<uint32_t>(positions[row]), static_cast<uint32_t>(samples[row]), key0, key1};
  }
  __device__ __forceinline__ PhiloxColumn column_counter(uint32_t block, uint32_t head) const {
    return {block, site | head, key1};
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
