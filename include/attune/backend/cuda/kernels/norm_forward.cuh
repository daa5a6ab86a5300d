#pragma once

#include <attune/backend/cuda/kernels/philox.cuh>
#include <attune/backend/cuda/kernels/row_groups.cuh>

// layer_norm and rms_norm of rows of up to 1024 columns that lie in whole packs, which stay in registers.

namespace attune::cuda {

template <class S, bool Centered>
struct NormForward {
  Rows<const S> x, residual;  ///< residual may be null
  Dropout dropout;
  Rows<const S> weight, bias;  ///< bias may be null
  float eps;
  Rows<S> s;  ///< may be null
  Rows<S> y;
  float *mean, *rstd;  ///< mean is null unless Centered
};

/// A warp a row.
template <class S, bool Centered>
__global__ void __launch_bounds__(32 * row_warps)
    norm_forward_kernel(NormForward<S, Centered> f, int64_t rows, int cols) {
  constexpr int pack = pack_size<S>, width = 32 * pack, packs = static_cast<int>(short_row) / width;
  const int64_t row = int64_t{blockIdx.x} * row_warps + threadIdx.y;
  if (row >= rows) return;
  const int first = static_cast<int>(threadIdx.x) * pack;
  uint4 words[packs], others[packs];
#pragma unroll
  for (int p = 0; p < packs; ++p)
    if (first < cols - p * width)
      words[p] = *reinterpret_cast<const uint4*>(port::aligned16(f.x.row(row) + first + p * width));
  if (f.residual) {
#pragma unroll
    for (int p = 0; p < packs; ++p)
      if (first < cols - p * width)
        others[p] = *reinterpret_cast<const uint4*>(port::aligned16(f.residual.row(row) + first + p * width));
  }
  Pack<S> values[packs];
  float sum = 0.0f;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (first >= cols - p * width) continue;
    Pack<S>& value = values[p];
    value = pack_of<S>(words[p]);
    if (f.residual) {
      f.dropout.apply(value, row, first + p * width);
      const Pack<S> other = pack_of<S>(others[p]);
#pragma unroll
      for (int k = 0; k < pack; ++k) value.v[k] = rounded<S>(other.v[k] + value.v[k]);
    }
    if (f.s) store_global_pack(f.s.row(row) + first + p * width, value, pack, true);
    if constexpr (Centered)
#pragma unroll
      for (int k = 0; k < pack; ++k) sum += value.v[k];
  }
  float average = 0.0f, squares = 0.0f;
  if constexpr (Centered) average = warp_sum(sum) / static_cast<float>(cols);
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (first >= cols - p * width) continue;
#pragma unroll
    for (int k = 0; k < pack; ++k) squares += (values[p].v[k] - average) * (values[p].v[k] - average);
  }
  const float inverse = port::rsqrt(warp_sum(squares) / static_cast<float>(cols) + f.eps);
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (first >= cols - p * width) continue;
    const Pack<S> factor = load_pack(f.weight.data + first + p * width, pack, true);
    Pack<S> shift{}, y;
    if (f.bias) shift = load_pack(f.bias.data + first + p * width, pack, true);
#pragma unroll
    for (int k = 0; k < pack; ++k) {
      y.v[k] = (values[p].v[k] - average) * inverse * factor.v[k];
      if constexpr (Centered) y.v[k] += shift.v[k];
    }
    store_global_pack(f.y.row(row) + first + p * width, y, pack, true);
  }
  if (threadIdx.x == 0) {
    if constexpr (Centered) f.mean[row] = average;
    f.rstd[row] = inverse;
  }
}

/// False, and nothing is done, unless the rows are short and lie in whole packs.
template <class S, bool Centered>
bool norm_forward(const Context& context, const NormForward<S, Centered>& f, std::int64_t rows,
                  std::int64_t cols) {
  const auto whole = [](const auto& matrix) { return matrix.data == nullptr || matrix.aligned; };
  if (rows == 0 || cols > short_row || cols % pack_size<S> != 0 || !whole(f.x) || !whole(f.residual) ||
      !whole(f.weight) || !whole(f.bias) || !whole(f.s) || !whole(f.y))
    return false;
  check(ATTUNE_LAUNCH(
            launch_config(context, static_cast<unsigned>(ceil_div(rows, row_warps)), dim3(32, row_warps)),
            (norm_forward_kernel<S, Centered>), f, rows, static_cast<int>(cols)),
        "norm");
  return true;
}

}  // namespace attune::cuda
