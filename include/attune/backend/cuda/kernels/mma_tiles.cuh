#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/common.cuh>

// Tiles of bfloat16 rows in shared memory, and their products on tensor cores. A warp multiplies 16 M rows
// with m16n8k16 instructions; four warps to a block. A product's accumulator c[m][n][r] of lane l holds row
// 16 m + 8 (r / 2) + l / 4 and column 8 n + 2 (l % 4) + r % 2 of a matrix of 16 M rows (PTX ISA, "Matrix
// fragments for mma.m16n8k16").
//
// What bounds these kernels is shared memory: a warp reads whole walked tiles, whatever the number of its own
// rows. With M = 2 each fragment that is read is multiplied twice.

namespace attune::cuda {

inline constexpr int mma_warps = 4, mma_threads = 32 * mma_warps;
template <int M>
inline constexpr int mma_rows = 16 * M* mma_warps;  ///< rows that a block owns

/// Which tile of which head and sequence a block works on. Blocks start in the order of x, then y, then z:
/// tiles come in the order of their work, so that no long block starts when the others end (under a causal
/// mask the longest take as long as all blocks of some multiprocessors), but only for as many heads at a time
/// as share the cache with what they read.
struct BlockOrder {
  unsigned heads, pairs;  ///< of heads and sequences

  BlockOrder(std::int64_t heads_, std::int64_t sequences)
      : heads(static_cast<unsigned>(heads_)), pairs(static_cast<unsigned>(heads_ * sequences)) {}

  struct Block {
    int tile, head;
    unsigned sequence;
    __device__ __forceinline__ int last_first() const { return static_cast<int>(gridDim.y) - 1 - tile; }
  };
  __device__ __forceinline__ Block block() const {
    const unsigned pair = blockIdx.z * gridDim.x + blockIdx.x;
    return {static_cast<int>(blockIdx.y), uniform(static_cast<int>(pair % heads)), uniform(pair / heads)};
  }
  /// Of the grid's last heads, some may not be there.
  __device__ __forceinline__ bool present() const { return blockIdx.z * gridDim.x + blockIdx.x < pairs; }

  /// A block for each `rows` rows of sequences of `length` at most; for each pair `bytes` are read.
  dim3 grid(std::int64_t length, std::int64_t rows, std::int64_t bytes) const {
    constexpr std::int64_t cache = std::int64_t{24} << 20, most_z = 65535;  // of 40 MiB (A100) or 50 (H100)
    const std::int64_t fitting = cache / std::max<std::int64_t>(bytes, 1);
    const std::int64_t together = std::clamp<std::int64_t>(fitting, ceil_div(pairs, most_z), pairs);
    return dim3(static_cast<unsigned>(together), static_cast<unsigned>(ceil_div(length, rows)),
                static_cast<unsigned>(ceil_div(pairs, together)));
  }
};

/// Elements from one row of a tile to the next: 16 bytes more than the columns, so that eight rows of 16
/// bytes lie in different banks.
template <int D>
inline constexpr int tile_stride = D + 8;
template <int D>
__device__ __host__ constexpr int tile_elements(int rows) {
  return rows * tile_stride<D>;
}

// In which order the rows of a matrix lie in a tile: row r of the tile is row order(r) of the matrix. The
// products do not care, and where a lane's elements of an accumulator are neighbours, it can run Philox for
// four of them at once.

struct InOrder {
  __device__ __forceinline__ unsigned operator()(unsigned r) const { return r; }
};
/// As columns of an accumulator: lane l gets of each 16 rows those from 4 (l % 4) on, in the elements
/// c[..][n][0, 1] and c[..][n + 1][0, 1], and again in [2, 3].
struct FourAColumn {
  __device__ __forceinline__ unsigned operator()(unsigned r) const {
    return r / 16 * 16 + r % 8 / 2 * 4 + r / 8 % 2 * 2 + r % 2;
  }
};
/// As rows of an accumulator: lane l gets the rows from 2 M (l / 4) on, in the elements [0][..][0, 1],
/// [0][..][2, 3], [1][..][0, 1], ...
template <int M>
struct NeighboursARow {
  __device__ __forceinline__ unsigned operator()(unsigned r) const {
    return r / (16 * M) * (16 * M) + r % 8 * (2 * M) + r % (16 * M) / 8;
  }
};

/// One head's columns of a sequence's rows: where tiles come from and go to.
template <class S>
struct HeadRows {
  S* first;
  uint32_t stride;  ///< in bytes, within 32 bits, so that a row's address is one instruction
  int count, size;  ///< rows, and the head's columns
  bool vectors;     ///< rows can be read by 16 bytes

  __device__ __forceinline__ HeadRows(const Rows<S>& all, int64_t begin, int count_, int head, int head_size)
      : first(all.row(begin) + int64_t{head} * head_size),
        stride(static_cast<uint32_t>(all.stride) * static_cast<uint32_t>(sizeof(S))),
        count(count_),
        size(head_size),
        vectors(all.aligned && head_size % 8 == 0) {}
  __device__ __forceinline__ S* at(int row, int d) const {
    using Bytes = std::conditional_t<std::is_const_v<S>, const unsigned char, unsigned char>;
    return reinterpret_cast<S*>(reinterpret_cast<Bytes*>(first + d) +
                                uint64_t{static_cast<uint32_t>(row)} * stride);
  }
};

/// Begins to copy rows begin .. begin + Count of a sequence, which has the first of them, to a tile. Rows
/// that it does not have are copies of its last, columns that the head does not have become zeros. Vectors
/// are copied asynchronously: the caller commits and waits.
template <int D, int Count, class Order>
__device__ __forceinline__ void load_mma_tile(bf16* tile, const HeadRows<const bf16>& from, int begin,
                                              Order order) {
  constexpr unsigned packs = D / 8, all = Count * packs;
  static_assert(all % mma_threads == 0);
  const unsigned thread = threadIdx.x % mma_threads;  // the compiler knows the range
  const int last = from.count - 1;
  const auto row_of = [&](unsigned r) {
    const int row = begin + static_cast<int>(order(r));
    return row < last ? row : last;
  };
  if (from.vectors) {
#pragma unroll
    for (unsigned turn = 0; turn < all; turn += mma_threads) {
      // Where a turn is whole rows, a thread keeps to its columns, and most of the addresses are constants.
      constexpr bool whole = mma_threads % packs == 0;
      const unsigned i = turn + thread, r = whole ? turn / packs + thread / packs : i / packs,
                     d = (whole ? thread : i) % packs * 8;
      const bool present = static_cast<int>(d) < from.size;
      port::cp_async16(tile + r * tile_stride<D> + d, from.at(row_of(r), static_cast<int>(d)), present);
    }
    return;
  }
#pragma unroll 1
  for (unsigned i = thread; i < all; i += mma_threads) {
    const unsigned r = i / packs;
    const int d = static_cast<int>(i % packs) * 8;
    const Pack<bf16> values =
        d < from.size ? load_pack<bf16>(from.at(row_of(r), d), from.size - d, false) : Pack<bf16>{};
    store_pack(tile + r * tile_stride<D> + d, values, 8, true);
  }
}

/// Stores this warp's 16 M rows of a tile as rows begin .. of a sequence, as far as it has them.
template <int D, int M, class Order>
__device__ __forceinline__ void store_mma_rows(const bf16* warp_tile, const HeadRows<bf16>& to, int begin,
                                               Order order) {
  constexpr unsigned packs = D / 8;
  using Eight = Vector<bf16>;
#pragma unroll
  for (unsigned turn = 0; turn < 16 * M * packs; turn += 32) {
    const unsigned i = turn + threadIdx.x % 32, r = i / packs;
    const int d = static_cast<int>(i % packs) * 8, row = begin + static_cast<int>(order(r));
    if (row >= to.count || d >= to.size) continue;
    const bf16* source = warp_tile + r * tile_stride<D> + d;
    if (to.vectors)
      *reinterpret_cast<Eight*>(port::aligned16(to.at(row, d))) =
          *reinterpret_cast<const Eight*>(port::aligned16(source));
    else
#pragma unroll 1
      for (int k = 0; k < 8 && d + k < to.size; ++k) to.at(row, d)[k] = source[k];
  }
}

__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// An accumulator rounded to bfloat16: packed[m][n][h] holds the elements [m][n][2 h], in its lower half, and
/// [m][n][2 h + 1].
template <int M, int N>
__device__ __forceinline__ void pack(const float (&values)[M][N][4], uint32_t (&packed)[M][N][2]) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int h = 0; h < 2; ++h) packed[m][n][h] = pack_pair(values[m][n][2 * h], values[m][n][2 * h + 1]);
}

/// c = 16 M rows of a (from warp_a on) times 8 N rows of b, along D columns.
template <int D, int M, int N>
__device__ __forceinline__ void multiply_rows(const bf16* warp_a, const bf16* b, float (&c)[M][N][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bf16* mine_a = warp_a + lane % 16 * tile_stride<D> + lane / 16 * 8;
  const bf16* mine_b = b + (lane % 8 + lane / 16 * 8) * tile_stride<D> + lane / 8 % 2 * 8;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (float& sum : c[m][n]) sum = 0.0f;
#pragma unroll 4
  for (int k = 0; k < D; k += 16) {
    uint32_t rows[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) port::ldmatrix_x4(rows[m], mine_a + m * 16 * tile_stride<D> + k);
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      uint32_t columns[4];
      port::ldmatrix_x4(columns, mine_b + n * 8 * tile_stride<D> + k);
      const uint32_t first[2] = {columns[0], columns[1]}, second[2] = {columns[2], columns[3]};
#pragma unroll
      for (int m = 0; m < M; ++m) {
        port::mma_m16n8k16(c[m][n], rows[m], first, c[m][n]);
        port::mma_m16n8k16(c[m][n + 1], rows[m], second, c[m][n + 1]);
      }
    }
  }
}

/// sums += weights (16 M x 8 N, packed) times the 8 N rows of a tile: D columns.
template <int D, int M, int N>
__device__ __forceinline__ void add_weighted_rows(const uint32_t (&weights)[M][N][2], const bf16* tile,
                                                  float (&sums)[M][D / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bf16* mine = tile + lane % 16 * tile_stride<D> + lane / 16 * 8;
#pragma unroll
  for (int n = 0; n < N; n += 2) {
    // Two accumulators side by side are the left operand of a product along their 16 columns.
    uint32_t left[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int i = 0; i < 4; ++i) left[m][i] = weights[m][n + i / 2][i % 2];
#pragma unroll
    for (int d = 0; d < D / 8; d += 2) {
      uint32_t right[4];
      port::ldmatrix_x4_transposed(right, mine + n * 8 * tile_stride<D> + d * 8);
      const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
#pragma unroll
      for (int m = 0; m < M; ++m) {
        port::mma_m16n8k16(sums[m][d], left[m], first, sums[m][d]);
        port::mma_m16n8k16(sums[m][d + 1], left[m], second, sums[m][d + 1]);
      }
    }
  }
}

/// Writes sums, rows 16 m + 8 h .. 16 m + 8 h + 7 times factors[m][h], into this warp's rows of a tile,
/// which no other warp uses, and from there to a matrix.
template <int D, int M, class Order>
__device__ __forceinline__ void store_sums(const float (&sums)[M][D / 8][4], const float (&factors)[M][2],
                                           bf16* warp_tile, const HeadRows<bf16>& to, int begin,
                                           Order order) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  bf16* mine = warp_tile + lane / 4 * tile_stride<D> + lane % 4 * 2;
  port::sync_warp();  // the rows have been read
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int d = 0; d < D / 8; ++d)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        *reinterpret_cast<uint32_t*>(mine + (16 * m + 8 * h) * tile_stride<D> + d * 8) =
            pack_pair(sums[m][d][2 * h] * factors[m][h], sums[m][d][2 * h + 1] * factors[m][h]);
  port::sync_warp();
  store_mma_rows<D, M>(warp_tile, to, begin, order);
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
