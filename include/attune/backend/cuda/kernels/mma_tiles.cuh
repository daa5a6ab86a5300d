#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Tiles of bfloat16 rows in shared memory, and their products on tensor cores. A warp multiplies 16 rows with
// m16n8k16 instructions; four warps to a block. A product's accumulator c[n][r] of lane l holds row
// l / 4 + 8 (r / 2) and column 8 n + 2 (l % 4) + r % 2 of a 16-row matrix (PTX ISA, "Matrix fragments for
// mma.m16n8k16").

namespace attune::cuda {

inline constexpr int mma_warps = 4, mma_threads = 32 * mma_warps;
/// Blocks of a multiprocessor for which the compiler leaves room: for more of them it would spill registers.
inline constexpr int mma_blocks = 2;
inline constexpr int mma_rows = 16 * mma_warps;  ///< rows that a block owns

/// Elements from one row of a tile to the next: 16 bytes more than the columns, so that eight rows of 16
/// bytes lie in different banks.
template <int D>
inline constexpr int tile_stride = D + 8;
template <int D>
__device__ __host__ constexpr int tile_elements(int rows) {
  return rows * tile_stride<D>;
}

/// One head's columns of a matrix of rows: where tiles come from and go to.
template <class S>
struct HeadRows {
  Rows<S> rows;
  int64_t column;
  int size;      ///< the head's columns
  bool vectors;  ///< rows can be read by 16 bytes

  __device__ __forceinline__ HeadRows(const Rows<S>& all, int head, int head_size)
      : rows(all),
        column(int64_t{head} * head_size),
        size(head_size),
        vectors(all.aligned && head_size % 8 == 0) {}
  __device__ __forceinline__ S* at(int64_t row, int d) const { return rows.row(row) + column + d; }
};

/// Begins to copy rows begin .. begin + Count to a tile. Rows from `end` on and columns that the head does
/// not have become zeros. Vectors are copied asynchronously: the caller commits and waits.
template <int D, int Count>
__device__ __forceinline__ void load_mma_tile(bf16* tile, const HeadRows<const bf16>& from, int64_t begin,
                                              int64_t end) {
  constexpr int packs = D / 8;
  for (int i = static_cast<int>(threadIdx.x); i < Count * packs; i += mma_threads) {
    const int r = i / packs, d = i % packs * 8;
    bf16* to = tile + r * tile_stride<D> + d;
    const int64_t row = begin + r;
    if (row >= end || d >= from.size)
      store_pack(to, Pack<bf16>{}, 8, true);
    else if (from.vectors)
      port::cp_async16(to, from.at(row, d));
    else
      store_pack(to, load_pack<bf16>(from.at(row, d), from.size - d, false), 8, true);
  }
}

/// Stores this warp's 16 rows of a tile as rows begin .. of a matrix, as far as `end`.
template <int D>
__device__ __forceinline__ void store_mma_rows(const bf16* warp_tile, const HeadRows<bf16>& to, int64_t begin,
                                               int64_t end) {
  constexpr int packs = D / 8;
  for (int i = static_cast<int>(threadIdx.x % 32); i < 16 * packs; i += 32) {
    const int r = i / packs, d = i % packs * 8;
    if (begin + r < end && d < to.size)
      store_pack(to.at(begin + r, d), load_pack<bf16>(warp_tile + r * tile_stride<D> + d, 8, true),
                 to.size - d, to.vectors);
  }
}

__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// c = 16 rows of a (from warp_a on) times 8 N rows of b, along D columns.
template <int D, int N>
__device__ __forceinline__ void multiply_rows(const bf16* warp_a, const bf16* b, float (&c)[N][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bf16* mine_a = warp_a + lane % 16 * tile_stride<D> + lane / 16 * 8;
  const bf16* mine_b = b + (lane % 8 + lane / 16 * 8) * tile_stride<D> + lane / 8 % 2 * 8;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (float& sum : c[n]) sum = 0.0f;
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    uint32_t rows[4];
    port::ldmatrix_x4(rows, mine_a + k);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t columns[4];
      port::ldmatrix_x4(columns, mine_b + n * 8 * tile_stride<D> + k);
      const uint32_t first[2] = {columns[0], columns[1]}, second[2] = {columns[2], columns[3]};
      port::mma_m16n8k16(c[n], rows, first, c[n]);
      port::mma_m16n8k16(c[n + 1], rows, second, c[n + 1]);
    }
  }
}

/// sums += weights (16 x 8 N, rounded) times the 8 N rows of a tile: D columns.
template <int D, int N>
__device__ __forceinline__ void add_weighted_rows(const float (&weights)[N][4], const bf16* tile,
                                                  float (&sums)[D / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bf16* mine = tile + lane % 16 * tile_stride<D> + lane / 16 * 8;
#pragma unroll
  for (int n = 0; n < N; n += 2) {
    // Two accumulators side by side are the left operand of a product along their 16 columns.
    const uint32_t left[4] = {
        pack_pair(weights[n][0], weights[n][1]), pack_pair(weights[n][2], weights[n][3]),
        pack_pair(weights[n + 1][0], weights[n + 1][1]), pack_pair(weights[n + 1][2], weights[n + 1][3])};
#pragma unroll
    for (int d = 0; d < D / 8; d += 2) {
      uint32_t right[4];
      port::ldmatrix_x4_transposed(right, mine + n * 8 * tile_stride<D> + d * 8);
      const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
      port::mma_m16n8k16(sums[d], left, first, sums[d]);
      port::mma_m16n8k16(sums[d + 1], left, second, sums[d + 1]);
    }
  }
}

/// Writes sums times `upper` (rows 0 .. 7) or `lower` (rows 8 .. 15) into this warp's 16 rows of a tile,
/// which no other warp uses, and from there to a matrix.
template <int D>
__device__ __forceinline__ void store_sums(const float (&sums)[D / 8][4], float upper, float lower,
                                           bf16* warp_tile, const HeadRows<bf16>& to, int64_t begin,
                                           int64_t end) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  bf16* mine = warp_tile + lane / 4 * tile_stride<D> + lane % 4 * 2;
  port::sync_warp();  // the rows have been read
#pragma unroll
  for (int d = 0; d < D / 8; ++d) {
    *reinterpret_cast<uint32_t*>(mine + d * 8) = pack_pair(sums[d][0] * upper, sums[d][1] * upper);
    *reinterpret_cast<uint32_t*>(mine + 8 * tile_stride<D> + d * 8) =
        pack_pair(sums[d][2] * lower, sums[d][3] * lower);
  }
  port::sync_warp();
  store_mma_rows<D>(warp_tile, to, begin, end);
}

/// Over the four lanes that share a row of an accumulator.
__device__ __forceinline__ float row_sum(float value) {
  value += port::shfl_xor(value, 1);
  value += port::shfl_xor(value, 2);
  return value;
}
__device__ __forceinline__ float row_max(float value) {
  value = fmaxf(value, port::shfl_xor(value, 1));
  value = fmaxf(value, port::shfl_xor(value, 2));
  return value;
}

}  // namespace attune::cuda
