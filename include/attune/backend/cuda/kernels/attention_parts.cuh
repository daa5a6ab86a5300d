#pragma once

#include <attune/backend/cuda/kernels/attention_shape.cuh>

// Tiles of the attention kernels that compute in float. A block of 16 x 16 threads owns a tile of rows
// (queries, or keys in the backward of keys and values) and walks over tiles of rows of the other kind.
// Thread (x, y) has the owned rows from y mine on and the walked rows x, x + 16, ... while scores are made;
// while rows are summed, it has the same owned rows and the columns from x width on. So every number that is
// read from shared memory is used several times, and all 16 threads of an owned row are in one warp.

namespace attune::cuda {

inline constexpr int attention_side = 16, attention_threads = attention_side * attention_side;
inline constexpr int attention_blocks = 2;  ///< on a multiprocessor at once: 128 registers a thread

template <int Owned, int Walked, int Width, int Groups>
struct AttentionTiles {
  static constexpr int owned = Owned, walked = Walked;                                   ///< rows
  static constexpr int mine = Owned / attention_side, theirs = Walked / attention_side;  ///< a thread's rows
  static constexpr int width = Width, groups = Groups, columns = Width * Groups;         ///< and columns
  static constexpr int weight_stride = Walked + 4;
};

/// The stride of tiles, in floats: an odd number of 16 bytes, so that the 16 bytes of eight rows lie in
/// different banks. Rows are filled up with zeros to a multiple of eight.
__device__ __host__ __forceinline__ int padded_stride(int head_size) { return (head_size + 7) / 8 * 8 + 4; }

__device__ __forceinline__ int thread_x() { return static_cast<int>(threadIdx.x) % attention_side; }
__device__ __forceinline__ int thread_y() { return static_cast<int>(threadIdx.x) / attention_side; }

/// Over the 16 threads that share owned rows, in each of them.
__device__ __forceinline__ float side_sum(float value) {
#pragma unroll
  for (int offset = attention_side / 2; offset > 0; offset >>= 1) value += port::shfl_xor(value, offset);
  return value;
}
__device__ __forceinline__ float side_max(float value) {
#pragma unroll
  for (int offset = attention_side / 2; offset > 0; offset >>= 1)
    value = fmaxf(value, port::shfl_xor(value, offset));
  return value;
}

/// Copies rows begin .. begin + Count (zeros from `end` on) of a head's columns to shared memory.
template <int Count, class S>
__device__ __forceinline__ void load_tile(float* tile, int stride, const Rows<const S>& from, int64_t begin,
                                          int64_t end, int64_t column, int head_size) {
  constexpr int pack = pack_size<S>;
  const int packs = (head_size + pack - 1) / pack;
  const bool aligned = from.aligned && head_size % pack == 0;
#pragma unroll 2  // more cost registers
  for (int i = static_cast<int>(threadIdx.x); i < Count * packs; i += attention_threads) {
    const int row = i / packs, d = (i - row * packs) * pack;
    Pack<S> values{};
    if (begin + row < end) values = load_pack(from.row(begin + row) + column + d, head_size - d, aligned);
    store_packs<pack>(tile + row * stride + d, values.v, pack, true);
  }
}

/// dots[r][c] = this thread's owned row r times its walked row c.
template <class Tiles>
__device__ __forceinline__ void dot_rows(const float* owned, const float* walked, int stride, int head_size,
                                         float (&dots)[Tiles::mine][Tiles::theirs]) {
  owned += thread_y() * Tiles::mine * stride;
  walked += thread_x() * stride;
#pragma unroll
  for (int r = 0; r < Tiles::mine; ++r)
#pragma unroll
    for (int c = 0; c < Tiles::theirs; ++c) dots[r][c] = 0.0f;
#pragma unroll 1
  for (int d = 0; d < head_size; d += 4) {
    Pack<float> a[Tiles::mine], b[Tiles::theirs];
#pragma unroll
    for (int r = 0; r < Tiles::mine; ++r) a[r] = load_pack(owned + r * stride + d, 4, true);
#pragma unroll
    for (int c = 0; c < Tiles::theirs; ++c)
      b[c] = load_pack(walked + c * attention_side * stride + d, 4, true);
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int r = 0; r < Tiles::mine; ++r)
#pragma unroll
        for (int c = 0; c < Tiles::theirs; ++c) dots[r][c] += a[r].v[k] * b[c].v[k];
  }
}

/// The column of this thread's group.
template <class Tiles>
__device__ __forceinline__ int group_column(int group) {
  return (group * attention_side + thread_x()) * Tiles::width;
}

/// sums[r][..] += sum over the walked rows of weights[r][row] times this thread's columns of that row.
/// `weights` [owned][weight_stride] lie in shared memory; those of a warp's rows were written by this warp.
template <class Tiles>
__device__ __forceinline__ void add_weighted(const float* weights, const float* walked, int stride,
                                             int head_size, float (&sums)[Tiles::mine][Tiles::columns]) {
  weights += thread_y() * Tiles::mine * Tiles::weight_stride;
#pragma unroll 1
  for (int first = 0; first < Tiles::walked; first += 4) {
    Pack<float> factors[Tiles::mine];
#pragma unroll
    for (int r = 0; r < Tiles::mine; ++r)
      factors[r] = load_pack(weights + r * Tiles::weight_stride + first, 4, true);
#pragma unroll
    for (int group = 0; group < Tiles::groups; ++group) {
      const int d = group_column<Tiles>(group);
      if (d >= head_size) continue;
#pragma unroll
      for (int row = 0; row < 4; ++row) {
        float values[Tiles::width];
        const float* from = walked + (first + row) * stride + d;
        if constexpr (Tiles::width == 4) {
          load_packs<4>(from, 4, true, values);
        } else {
#pragma unroll
          for (int k = 0; k < Tiles::width; ++k) values[k] = from[k];
        }
#pragma unroll
        for (int r = 0; r < Tiles::mine; ++r)
#pragma unroll
          for (int k = 0; k < Tiles::width; ++k)
            sums[r][group * Tiles::width + k] += factors[r].v[row] * values[k];
      }
    }
  }
}

/// Stores this thread's part of owned row r.
template <class Tiles, class S>
__device__ __forceinline__ void store_columns(S* row, int head_size, const float (&sums)[Tiles::columns],
                                              float factor) {
#pragma unroll
  for (int group = 0; group < Tiles::groups; ++group)
#pragma unroll
    for (int k = 0; k < Tiles::width; ++k) {
      const int d = group_column<Tiles>(group) + k;
      if (d < head_size) row[d] = from_float<S>(sums[group * Tiles::width + k] * factor);
    }
}

/// Which weights of a tile dropout keeps: a bit for each of four keys in a row, [queries][keys / 4]. Of the
/// four numbers that are drawn at once all are used.
template <int Queries, int Keys>
__device__ __forceinline__ void draw_kept(uint8_t* kept, const AttentionShape& shape, int64_t first_query,
                                          int64_t query_end, int64_t first_key, int64_t key_end, int head) {
  for (int i = static_cast<int>(threadIdx.x); i < Queries * Keys / 4; i += attention_threads) {
    const int64_t query = first_query + i / (Keys / 4), key = first_key + i % (Keys / 4) * 4;
    if (query >= query_end) continue;
    Words words{};
    uint32_t bits = 0, drawn = ~0u;
#pragma unroll 1
    for (int k = 0; k < 4 && key + k < key_end; ++k) {
      const auto position = static_cast<uint32_t>(shape.key_positions[key + k]);
      if (position / 4 != drawn) {
        drawn = position / 4;
        words = shape.dropout.words(query, drawn, static_cast<uint32_t>(head + 1));
      }
      const uint32_t low = position & 1 ? words.v[1] : words.v[0],
                     high = position & 1 ? words.v[3] : words.v[2];
      if ((position & 2 ? high : low) >= shape.dropout.threshold) bits |= 1u << k;
    }
    kept[i] = static_cast<uint8_t>(bits);
  }
}

/// What dropout multiplies the weight of a tile's query and key with.
template <int Keys>
__device__ __forceinline__ float kept_factor(const uint8_t* kept, const AttentionShape& shape, int query,
                                             int key) {
  if (!shape.dropout.on) return 1.0f;
  return kept[query * (Keys / 4) + key / 4] >> (key % 4) & 1 ? shape.dropout.scale : 0.0f;
}

/// Which keys of a tile that begins at key `first` query i of the sequence sees.
struct VisibleKeys {
  int low = 0, high = 0;

  __device__ __forceinline__ VisibleKeys(const AttentionShape& shape, const SequenceRows& rows, int64_t i,
                                         int64_t first) {
    if (i >= rows.query_count) return;
    low = static_cast<int>(shape.first_key(i, rows.key_count) - first);
    high = static_cast<int>(shape.last_key(i, rows.key_count) - first);
  }
  __device__ __forceinline__ bool operator()(int key) const { return key >= low && key < high; }
};

/// The keys that a tile of queries walks over, from a multiple of four on, as dropout draws them.
struct KeyRange {
  int begin, end;

  __device__ __forceinline__ KeyRange(const AttentionShape& shape, const SequenceRows& rows, int64_t query,
                                      int64_t count) {
    const int64_t last = (query + count < rows.query_count ? query + count : rows.query_count) - 1;
    begin = static_cast<int>(shape.first_key(query, rows.key_count) / 4 * 4);
    end = static_cast<int>(shape.last_key(last, rows.key_count));
  }
};

/// Bytes of shared memory for `owned` and `walked` tiles of rows, the weights, and dropout's bits.
template <class Tiles>
std::size_t attention_shared_bytes(std::int64_t head_size, int owned, int walked) {
  const auto stride = static_cast<std::size_t>(padded_stride(static_cast<int>(head_size)));
  return sizeof(float) * (static_cast<std::size_t>(owned * Tiles::owned + walked * Tiles::walked) * stride +
                          std::size_t{Tiles::owned} * Tiles::weight_stride) +
         std::size_t{Tiles::owned} * Tiles::walked / 4;
}

}  // namespace attune::cuda
