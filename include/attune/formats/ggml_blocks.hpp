#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <attune/core/dtype.hpp>
#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/formats/ggml_type.hpp>

namespace attune {

/// What is known of a type that a file names.
struct GgmlLayout {
  std::uint32_t type;           ///< ggml's number
  std::string_view name;        ///< ggml's name: "Q4_K"
  std::int32_t block_elements;  ///< 1 for plain types
  std::int32_t block_bytes;
  /// Whether the type is one of GgmlType: its elements can be read. The others are known by size alone.
  bool readable;
};

/// nullptr for a number that is no type.
const GgmlLayout* find_ggml_layout(std::uint32_t type);
const GgmlLayout& ggml_layout(GgmlType type);
/// The type of that name ("Q8_0", in any case), or nothing.
std::optional<GgmlType> find_ggml_type(std::string_view name);
/// Whether elements of the type come in blocks.
inline bool is_quantized(GgmlType type) { return ggml_layout(type).block_elements > 1; }
/// The element type of a plain type; nothing for a quantised one.
std::optional<DType> plain_dtype(GgmlType type);

/// The elements of whole blocks as float, equal to ggml's reference (dequantize_row_*) bit for bit; plain
/// floating-point types are converted. Blocks are read on the calling thread. Throws ShapeError when the
/// sizes do not fit, ConfigError for integers. Source: ggml/src/ggml-quants.c
void dequantize_blocks(GgmlType type, std::span<const std::byte> blocks, std::span<float> elements);

/// Writes F32, F16, BF16, Q8_0 or Q4_0 as ggml's reference (quantize_row_*_ref) does, on the calling thread.
/// Throws ShapeError when the sizes do not fit (quantised types take whole blocks), ConfigError for another
/// type, an element that is not finite, or one that F16 or the half-precision scale of Q8_0 and Q4_0 cannot
/// hold.
void quantize_blocks(GgmlType type, std::span<const float> elements, std::span<std::byte> blocks);
/// Whether quantize_blocks writes the type.
bool can_quantize(GgmlType type);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/ggml_blocks.inl.hpp>
#endif
