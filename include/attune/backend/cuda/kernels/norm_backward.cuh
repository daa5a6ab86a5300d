#pragma once

#include <attune/backend/cuda/kernels/column_sums.cuh>
#include <attune/backend/cuda/kernels/philox.cuh>
#include <attune/backend/cuda/kernels/row_groups.cuh>

// The backward of layer_norm and rms_norm for rows of up to 1024 columns that lie in whole packs: the input's
// gradient and parts of the parameters' by one reading of the rows, which stay in registers.

namespace attune::cuda {

inline constexpr int norm_warps = 8;

template <class S, bool Centered>
struct NormBackward {
  static constexpr int sums = Centered ? 2 : 1;  ///< the gradients of the weight, and of the bias
  Rows<const S> dy, s, weight;
  const float *mean, *rstd;  ///< mean is null unless Centered
  Rows<S> ds;
  Dropout dropout;
  Rows<S> dx;  ///< may be null
  ColumnTargets<sums> targets;
};

/// A warp a row, and every norm_warps-th row of rows_per_block. Sums over these rows go to partial
/// [sums][blocks][cols], or to the targets if there is one block.
template <class S, bool Centered>
__global__ void __launch_bounds__(32 * norm_warps, sizeof(S) == 2 ? 2 : 1)
    norm_backward_kernel(NormBackward<S, Centered> f, float* partial, int rows, int cols,
                         int rows_per_block) {
  constexpr int pack = pack_size<S>, width = 32 * pack, packs = static_cast<int>(short_row) / width;
  constexpr int sums = f.sums;
  ATTUNE_SHARED(float, shared, sums* norm_warps* width);
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int first = lane * pack;
  const int begin = static_cast<int>(blockIdx.x) * rows_per_block;
  const int end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
  float totals[sums][packs][pack] = {};
  for (int row = begin + warp; row < end; row += norm_warps) {
    const S *dy_row = f.dy.row(row) + first, *s_row = f.s.row(row) + first;
    uint4 dy[packs], s[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (first >= cols - p * width) continue;
      dy[p] = *reinterpret_cast<const uint4*>(port::aligned16(dy_row + p * width));
      s[p] = *reinterpret_cast<const uint4*>(port::aligned16(s_row + p * width));
    }
    const float m = Centered ? f.mean[row] : 0.0f, r = f.rstd[row];
    float sum = 0.0f, sum_normalized = 0.0f;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (first >= cols - p * width) continue;
      const Pack<S> w = load_pack(f.weight.data + (first + p * width), pack, true), d = pack_of<S>(dy[p]),
                    v = pack_of<S>(s[p]);
#pragma unroll
      for (int k = 0; k < pack; ++k) {
        const float normalized = (v.v[k] - m) * r, g = d.v[k] * w.v[k];
        totals[0][p][k] += d.v[k] * normalized;
        if constexpr (Centered) {
          totals[1][p][k] += d.v[k];
          sum += g;
        }
        sum_normalized += g * normalized;
      }
      port::forget(dy[p]);
      port::forget(s[p]);
    }
    if constexpr (Centered) sum = warp_sum(sum) / static_cast<float>(cols);
    sum_normalized = warp_sum(sum_normalized) / static_cast<float>(cols);
    S* ds_row = f.ds.row(row) + first;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (first >= cols - p * width) continue;
      const Pack<S> w = load_pack(f.weight.data + (first + p * width), pack, true), d = pack_of<S>(dy[p]),
                    v = pack_of<S>(s[p]);
      Pack<S> out;
#pragma unroll
      for (int k = 0; k < pack; ++k)
        out.v[k] = rounded<S>(r * (d.v[k] * w.v[k] - sum - (v.v[k] - m) * r * sum_normalized));
      dy[p] = words_of(out);
      port::store_global16(port::aligned16(ds_row + p * width), dy[p]);
    }
    if (!f.dx) continue;
    S* dx_row = f.dx.row(row) + first;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (first >= cols - p * width) continue;
      Pack<S> out = pack_of<S>(dy[p]);
      // What follows from these would be kept over all rows, and registers are few.
      Dropout dropout = f.dropout;
      uint32_t block = threadIdx.x * (pack / 4) + p * (width / 4);
      port::forget(dropout.key0);
      port::forget(dropout.key1);
      port::forget(block);
      dropout.apply_from(out, row, block);
      store_global_pack(dx_row + p * width, out, pack, true);
    }
  }

  if (f.targets.none()) return;
  const int thread = warp * 32 + lane;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (p * width >= cols) break;
    port::sync_block();  // the last totals have been read
#pragma unroll
    for (int k = 0; k < sums; ++k)
#pragma unroll
      for (int at = 0; at < pack; at += pack_size<float>) {
        Pack<float> four;
#pragma unroll
        for (int e = 0; e < pack_size<float>; ++e) four.v[e] = totals[k][p][at + e];
        store_pack(shared + (k * norm_warps + warp) * width + lane * pack + at, four, pack_size<float>, true);
      }
    port::sync_block();
    for (int i = thread; i < width && p * width + i < cols; i += 32 * norm_warps)
#pragma unroll
      for (int k = 0; k < sums; ++k) {
        float total = 0.0f;
#pragma unroll
        for (int other = 0; other < norm_warps; ++other)
          total += shared[(k * norm_warps + other) * width + i];
        if (gridDim.x == 1)
          f.targets.store(k, p * width + i, total);
        else
          partial[(int64_t{k} * gridDim.x + blockIdx.x) * cols + p * width + i] = total;
      }
  }
}

/// False, and nothing is done, unless the rows are short and lie in whole packs.
template <class S, bool Centered>
bool norm_backward(Context& context, const NormBackward<S, Centered>& f, std::int64_t rows,
                   std::int64_t cols) {
  constexpr int sums = NormBackward<S, Centered>::sums;
  if (cols == 0 || cols > short_row || cols % pack_size<S> != 0 || !f.dy.aligned || !f.s.aligned ||
      !f.weight.aligned || !f.ds.aligned || (f.dx.data != nullptr && !f.dx.aligned))
    return false;
  // Short blocks keep many loads in flight, few blocks are few parts to add.
  constexpr std::int64_t shortest = 2 * norm_warps, most_blocks = 256;
  const std::int64_t rows_per_block =
      shortest * std::max<std::int64_t>(1, ceil_div(ceil_div(rows, shortest), most_blocks));
  const std::int64_t blocks = std::max<std::int64_t>(1, ceil_div(rows, rows_per_block));
  const bool parts = blocks > 1 && !f.targets.none();
  const Workspace<float> partial(context, static_cast<std::size_t>(parts ? sums * blocks * cols : 0));
  check(ATTUNE_LAUNCH(launch_config(context, static_cast<unsigned>(blocks), dim3(32, norm_warps)),
                      (norm_backward_kernel<S, Centered>), f, partial.data(), static_cast<int>(rows),
                      static_cast<int>(cols), static_cast<int>(rows_per_block)),
        "norm's backward");
  if (parts) launch_column_totals(context, partial.data(), f.targets, blocks, cols);
  return true;
}

}  // namespace attune::cuda
