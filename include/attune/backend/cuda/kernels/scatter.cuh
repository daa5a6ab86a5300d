#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/common.cuh>

// Rows added to the rows of a table that their numbers name (the gradients of embeddings): the same bits each
// time, without atomics, at a cost that does not depend on how often a number occurs. The rows are put in
// order by number. Tiles of that order are then added up by a warp each: most runs of equal numbers lie
// within a tile; of the others every tile leaves its part, and a last kernel adds the parts in order.

namespace attune::cuda {

/// Rows are ordered by comparing each with each, so that many come in portions.
inline constexpr std::int64_t most_ordered = 8192;
inline constexpr int order_warps = 8, order_tile = 2048;

/// By id, with rows that are passed over behind all others.
__device__ __forceinline__ uint32_t order_key(int32_t id) {
  return id < 0 ? 0x7fffffffu : static_cast<uint32_t>(id);
}

/// order[place] = row, by id and then by row. A block finds the places of 32 rows, each warp among a part of
/// the others. A template only so that several units may hold it.
template <int Warps>
__global__ void __launch_bounds__(32 * Warps) order_by_id(const int32_t* ids, int32_t* order, int count) {
  ATTUNE_SHARED(uint4, keys, order_tile / 4);
  ATTUNE_SHARED(int, places, Warps * 32);
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int first = static_cast<int>(blockIdx.x) * 32, row = first + lane;
  const uint32_t mine = order_key(row < count ? ids[row] : -1);
  int place = 0;
  for (int begin = 0; begin < count; begin += order_tile) {
    port::sync_block();  // the last keys have been read
    for (int i = warp * 32 + lane; i < order_tile; i += 32 * Warps)
      reinterpret_cast<uint32_t*>(keys)[i] = begin + i < count ? order_key(ids[begin + i]) : ~0u;
    port::sync_block();
    for (int at = warp * 32; at < order_tile && begin + at < count; at += 32 * Warps) {
      const uint4* group = keys + at / 4;
      // Equal keys count where they lie before.
      const uint32_t limit = begin + at < first ? mine + 1 : mine;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint4 four = group[i];
        place += (four.x < limit) + (four.y < limit) + (four.z < limit) + (four.w < limit);
      }
      if (begin + at == first)
        for (int i = 0; i < 32; ++i) place += i < lane && reinterpret_cast<const uint32_t*>(group)[i] == mine;
    }
  }
  places[warp * 32 + lane] = place;
  port::sync_block();
  if (warp == 0 && row < count) {
#pragma unroll
    for (int other = 1; other < Warps; ++other) place += places[other * 32 + lane];
    order[place] = row;
  }
}

inline constexpr int scatter_tile = 16, scatter_batch = 8, scatter_warps = 4;

/// Where the sums of runs go that cross the border of a tile: for each tile the part of the run that came in,
/// and of the one that goes on.
struct RunParts {
  float* data;
  int64_t cols;
  __device__ __forceinline__ float* came_in(int tile) const { return data + int64_t{2} * tile * cols; }
  __device__ __forceinline__ float* goes_on(int tile) const { return came_in(tile) + cols; }
  __device__ __forceinline__ bool aligned() const { return cols % pack_size<float> == 0; }
};

/// to (+)= sum, of the first `count` numbers.
template <int Size>
__device__ __forceinline__ void add_to(float* to, float (&sum)[Size], int64_t count, bool aligned, bool add) {
  if (add) {
    float before[Size];
    load_packs(to, count, aligned, before);
#pragma unroll
    for (int k = 0; k < Size; ++k) sum[k] += before[k];
  }
  store_packs(to, sum, count, aligned);
}

/// Adds the runs within a tile to `sums`, and leaves the parts of the others. A warp a tile and 32 packs of
/// columns. Grid: (tiles / scatter_warps, columns).
template <class S>
__global__ void __launch_bounds__(32 * scatter_warps)
    add_ordered_rows(Rows<const S> rows, const int32_t* ids, const int32_t* order, Rows<float> sums,
                     RunParts parts, int count, bool add) {
  constexpr int pack = pack_size<S>;
  const int tile = static_cast<int>(blockIdx.x) * scatter_warps + static_cast<int>(threadIdx.y);
  const int begin = tile * scatter_tile, lane = static_cast<int>(threadIdx.x);
  if (begin >= count) return;
  const int length = begin + scatter_tile < count ? scatter_tile : count - begin;
  // Lane i knows place i - 1 of the tile: also those before and behind it.
  const int place = begin + lane - 1;
  const bool known = place >= 0 && place < count && lane < scatter_tile + 2;
  const int my_row = known ? order[place] : 0;
  const int32_t my_id = known ? ids[my_row] : -1;
  const int64_t cols = parts.cols, column = (int64_t{blockIdx.y} * 32 + lane) * pack;
  const bool mine = column < cols;

  // `whole`: every load is of a whole pack. A constant, so that the loads of a batch need no branches.
  const auto add_tile = [&](auto whole) {
    const int64_t there = whole.value ? pack : mine ? cols - column : cols;
    const bool vectors = whole.value || rows.aligned;
    const int32_t id_before = port::shfl(my_id, 0);
    float sum[pack] = {};
    bool first_run = true;
#pragma unroll 1
    for (int batch = 0; batch < length; batch += scatter_batch) {
      Pack<S> packs[scatter_batch];
#pragma unroll
      for (int i = 0; i < scatter_batch; ++i) {
        // Lanes and places past the end read something that is not used.
        const int row = port::shfl(my_row, batch + i < length ? batch + i + 1 : length);
        packs[i] = load_pack(rows.row(row) + (mine ? column : 0), there, vectors);
      }
#pragma unroll
      for (int i = 0; i < scatter_batch; ++i) {
        const int32_t id = port::shfl(my_id, batch + i + 1);
        const int32_t next = port::shfl(my_id, batch + i + 2);
        if (batch + i >= length || id < 0) continue;
#pragma unroll
        for (int k = 0; k < pack; ++k) sum[k] += packs[i].v[k];
        const bool last = batch + i + 1 == length;
        if (id == next && !last) continue;
        const bool came_in = first_run && id == id_before, stays = !came_in && id != next;
        float* to = stays ? sums.row(id) : came_in ? parts.came_in(tile) : parts.goes_on(tile);
        if (mine)
          add_to(to + column, sum, cols - column, stays ? sums.aligned : parts.aligned(), stays && add);
        first_run = false;
#pragma unroll
        for (int k = 0; k < pack; ++k) sum[k] = 0.0f;
      }
    }
  };
  if (rows.aligned && cols % pack == 0)
    add_tile(std::true_type());
  else
    add_tile(std::false_type());
}

inline constexpr int join_warps = 8;

/// Adds the parts of a run that begins in this block's tile and goes on: each warp some that follow each
/// other. Grid: (tiles, columns / 32 packs).
template <int Warps>
__global__ void __launch_bounds__(32 * Warps)
    join_runs(const int32_t* ids, const int32_t* order, Rows<float> sums, RunParts parts, int count,
              bool add) {
  constexpr int pack = pack_size<float>;
  ATTUNE_SHARED(float, shared, Warps * 32 * pack);
  const auto id_at = [&](int place) { return ids[order[place]]; };
  const int tile = static_cast<int>(blockIdx.x), begin = tile * scatter_tile, end = begin + scatter_tile;
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int32_t id = end < count ? id_at(end) : -1;
  if (id >= 0 && id_at(end - 1) == id && (begin == 0 || id_at(begin - 1) != id)) {
    int tiles = 1;
    for (bool all = true; all; tiles += 32) {
      const int start = (tile + tiles + lane) * scatter_tile;
      const unsigned found = port::ballot(start < count && id_at(start) == id);
      all = found == ~0u;
      if (!all) tiles += port::lowest_bit(~found) - 32;
    }
    const int64_t column = (int64_t{blockIdx.y} * 32 + lane) * pack, there = parts.cols - column;
    const int each = (tiles + Warps - 1) / Warps,
              last = (warp + 1) * each < tiles ? (warp + 1) * each : tiles;
    Pack<float> sum{};
    if (there > 0)
#pragma unroll 4
      for (int i = warp * each; i < last; ++i) {
        const float* part = i == 0 ? parts.goes_on(tile) : parts.came_in(tile + i);
        const Pack<float> found = load_pack(part + column, there, parts.aligned());
#pragma unroll
        for (int k = 0; k < pack; ++k) sum.v[k] += found.v[k];
      }
    store_pack(shared + (warp * 32 + lane) * pack, sum, pack, true);
    port::sync_block();
    if (warp == 0 && there > 0) {
      for (int other = 1; other < Warps; ++other) {
        const Pack<float> found = load_pack<float>(shared + (other * 32 + lane) * pack, pack, true);
#pragma unroll
        for (int k = 0; k < pack; ++k) sum.v[k] += found.v[k];
      }
      add_to(sums.row(id) + column, sum.v, there, sums.aligned, add);
    }
  }
}

/// sums[ids[i]] += rows[i], or where `add` is false and the id occurs, sums[ids[i]] = their sum.
template <class S>
void scatter_rows(Context& context, const Rows<const S>& rows, std::int64_t cols,
                  std::span<const std::int32_t> ids, const Rows<float>& sums, bool add) {
  const auto all = static_cast<std::int64_t>(ids.size());
  for (std::int64_t first = 0; first < all; first += most_ordered) {
    const int count = static_cast<int>(std::min(all - first, most_ordered));
    const std::int32_t* these = ids.data() + first;
    const Rows<const S> from{rows.data + first * rows.stride, rows.stride, rows.aligned};
    const std::int64_t tiles = ceil_div(count, scatter_tile);
    const Workspace<std::int32_t> order(context, static_cast<std::size_t>(count));
    const Workspace<float> data(context, static_cast<std::size_t>(tiles > 1 ? 2 * tiles * cols : 0));
    const RunParts parts{data.data(), cols};
    const auto launch = [&](std::int64_t x, std::int64_t y, int warps) {
      return launch_config(context, dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)),
                           dim3(32, warps));
    };
    check(ATTUNE_LAUNCH(launch(ceil_div(count, 32), 1, order_warps), order_by_id<order_warps>, these,
                        order.data(), count),
          "rows by id");
    check(ATTUNE_LAUNCH(
              launch(ceil_div(tiles, scatter_warps), ceil_div(cols, 32 * pack_size<S>), scatter_warps),
              add_ordered_rows<S>, from, these, order.data(), sums, parts, count, add),
          "scatter_add_rows");
    if (tiles > 1)
      check(ATTUNE_LAUNCH(launch(tiles, ceil_div(cols, 32 * pack_size<float>), join_warps),
                          join_runs<join_warps>, these, order.data(), sums, parts, count, add),
            "scatter_add_rows");
    add = true;
  }
}

}  // namespace attune::cuda
