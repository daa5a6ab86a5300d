#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <attune/core/block_type.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/random.hpp>
#include <attune/core/shape.hpp>

namespace attune {

/// A row-major matrix that somebody else owns: element (r, c) is data[r * stride + c].
/// A stride of 0 repeats one row. `data` may be null where an operand is optional.
template <class T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  T* row(std::int64_t r) const { return data + r * stride; }
  explicit operator bool() const { return data != nullptr; }
  /// Columns begin .. end.
  MatrixView columns(std::int64_t begin, std::int64_t end) const {
    return {data + begin, rows, end - begin, stride};
  }
  operator MatrixView<const T>() const requires(!std::is_const_v<T>) { return {data, rows, cols, stride}; }
};

/// A row-major matrix in quantised blocks, rows one after another; cols is a multiple of 32.
struct BlockView {
  const std::byte* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  BlockType type = BlockType::q8_0;

  std::int64_t row_bytes() const { return cols / block_elements * block_bytes(type); }
  /// The block that holds element (row, col).
  const std::byte* block(std::int64_t row, std::int64_t col) const {
    return data + row * row_bytes() + col / block_elements * block_bytes(type);
  }
  explicit operator bool() const { return data != nullptr; }
};

/// An array of any rank and strides (in elements; 0 repeats).
template <class T>
struct StridedView {
  T* data = nullptr;
  Shape shape;
  Shape strides;

  operator StridedView<const T>() const requires(!std::is_const_v<T>) { return {data, shape, strides}; }
};

/// Segments on a device: see Segments. All pointers are device pointers.
struct SegmentsView {
  const std::int32_t* offsets = nullptr;    ///< count + 1
  std::int64_t count = 0;                   ///< B
  std::int64_t tokens = 0;                  ///< N
  std::int32_t max_length = 0;              ///< L
  const std::int32_t* positions = nullptr;  ///< N
};

/// Which elements of a matrix (or of an attention matrix) dropout zeroes, from counters alone.
///
/// Element (row, column) of a matrix reads word column % 4 of
///   Philox(counter = {column / 4, positions[row], samples[row], site << 16}, key),
/// and weight (query row, key row, head h) of an attention reads word p % 4, p = positions[key row], of
///   Philox(counter = {p / 4, positions[query row], samples[query row], site << 16 | (h + 1)}, key).
/// The element is zeroed when its word is below threshold(); survivors are multiplied by scale().
struct DropoutView {
  float probability = 0.0f;                 ///< in [0, 1); 0 switches dropout off and nothing else is read
  Philox::Key key{};                        ///< from the seed and the optimizer step
  std::uint32_t site = 0;                   ///< the dropout's number in its model, < 65536
  const std::int32_t* samples = nullptr;    ///< for each row, its sample's number in the optimizer step
  const std::int32_t* positions = nullptr;  ///< for each row, its token's position

  explicit operator bool() const { return probability > 0.0f; }
  std::uint32_t threshold() const {
    return static_cast<std::uint32_t>(static_cast<double>(probability) * 0x1p32);
  }
  float scale() const { return 1.0f / (1.0f - probability); }
};

}  // namespace attune
