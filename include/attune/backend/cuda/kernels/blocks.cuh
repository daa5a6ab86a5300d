#pragma once

#include <algorithm>
#include <cstring>

#include <attune/backend/cuda/kernels/common.cuh>
#include <attune/backend/cuda/matmul.hpp>
#include <attune/core/block_type.hpp>

// Products with a matrix in quantised blocks: see BlockOps in backend.hpp. A part of the matrix at a time
// becomes elements in workspace, of which a plain product makes columns of the result, so that no sum is ever
// cut.

namespace attune::cuda {

/// The float of an IEEE half's bits.
__device__ __forceinline__ float half_to_float(uint32_t bits) {
  const uint32_t exponent = bits >> 10 & 31, sign = (bits & 0x8000) << 16;
  // 2^112 moves the exponent's bias from 15 to 127, for halves below 2^-14 as well.
  const uint32_t shifted = (bits & 0x7fff) << 13, word = exponent == 31 ? shifted | 0x7f800000 : shifted;
  float value;
  memcpy(&value, &word, sizeof value);
  if (exponent < 31) value *= 0x1p112f;
  return sign ? -value : value;
}

/// tile[row][column] = element (first_row + row, first_column + column) of the matrix in blocks.
template <class S>
struct BlockElements {
  const uint16_t* words;
  int64_t row_bytes, first_row, first_column;  // a column where a block begins
  BlockType type;
  Rows<S> tile;

  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    const int64_t at = first_column + column;
    const int bytes = type == BlockType::q8_0 ? 34 : type == BlockType::q4_0 ? 18 : 20;
    const uint16_t* block = words + ((first_row + row) * row_bytes + at / block_elements * bytes) / 2;
    const int i = static_cast<int>(at % block_elements);  // a pack lies within a block, at an even place
    const float d = half_to_float(block[0]);
    Pack<S> pack;
#pragma unroll
    for (int k = 0; k < Pack<S>::size; k += 2) {
      const int j = i + k;
      if (type == BlockType::q8_0) {
        const uint32_t pair = block[1 + j / 2];
        pack.v[k] = static_cast<float>(static_cast<int8_t>(pair & 255)) * d;
        pack.v[k + 1] = static_cast<float>(static_cast<int8_t>(pair >> 8)) * d;
      } else {
        const uint32_t pair = block[(type == BlockType::q4_0 ? 1 : 2) + j % 16 / 2] >> (j < 16 ? 0 : 4);
        const float low = static_cast<float>(pair & 15), high = static_cast<float>(pair >> 8 & 15);
        if (type == BlockType::q4_0) {
          pack.v[k] = (low - 8.0f) * d;
          pack.v[k + 1] = (high - 8.0f) * d;
        } else {
          const float m = half_to_float(block[1]);
          pack.v[k] = low * d + m;
          pack.v[k + 1] = high * d + m;
        }
      }
    }
    store_pack(tile.row(row) + column, pack, count, tile.aligned);
  }
};

/// f(first, end, elements) for parts of the matrix that fit block_tile_bytes(): rows first .. end, or
/// columns.
template <class T, class F>
void over_block_tiles(Context& context, const BlockView& matrix, bool by_rows, const F& f) {
  const std::int64_t size = by_rows ? matrix.rows : matrix.cols, other = by_rows ? matrix.cols : matrix.rows;
  const auto budget = static_cast<std::int64_t>(block_tile_bytes() / sizeof(T));
  const std::int64_t step =
      std::max(budget / std::max<std::int64_t>(other, 1) / block_elements * block_elements, block_elements);
  const Workspace<T> elements(context, static_cast<std::size_t>(std::min(size, step) * other));
  for (std::int64_t first = 0; first < size; first += step) {
    const std::int64_t end = std::min(size, first + step), rows = by_rows ? end - first : matrix.rows,
                       cols = by_rows ? matrix.cols : end - first;
    const MatrixView<T> tile{elements.data(), rows, cols, cols};
    launch_over_rows<Scalar<T>>(
        context, rows, cols,
        BlockElements<Scalar<T>>{reinterpret_cast<const uint16_t*>(matrix.data), matrix.row_bytes(),
                                 by_rows ? first : 0, by_rows ? 0 : first, matrix.type, rows_of(tile)});
    f(first, end, MatrixView<const T>(tile));
  }
}

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, BlockView b, MatrixView<T> c, MatmulOptions options) const {
  over_block_tiles<T>(context_of(*this), b, options.transpose_b,
                      [&](std::int64_t first, std::int64_t end, MatrixView<const T> tile) {
                        matmul(a, tile, c.columns(first, end), options);
                      });
}

template <class T>
void Matmul<T>::linear(MatrixView<const T> x, BlockView weight, std::span<const T> bias, Unary activation,
                       MatrixView<T> pre_activation, MatrixView<T> y) const {
  over_block_tiles<T>(
      context_of(*this), weight, true, [&](std::int64_t first, std::int64_t end, MatrixView<const T> tile) {
        const auto begin = static_cast<std::size_t>(first);
        linear(x, tile, bias.empty() ? bias : bias.subspan(begin, static_cast<std::size_t>(end - first)),
               activation, pre_activation ? pre_activation.columns(first, end) : pre_activation,
               y.columns(first, end));
      });
}

}  // namespace attune::cuda
