#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include <attune/core/dtype.hpp>

namespace attune {

/// How a quantised matrix keeps its rows, under ggml's names: in blocks of 32 elements. d and m are IEEE
/// halves at the beginning of a block, in this order; q are integers. In the 4-bit types byte i of the rest
/// holds element i below and element i + 16 above.
enum class BlockType : std::uint8_t {
  q8_0,  ///< d, 32 signed bytes q: q d
  q4_0,  ///< d, 16 bytes: (q - 8) d
  q4_1,  ///< d, m, 16 bytes: q d + m
};

inline constexpr std::int64_t block_elements = 32;

constexpr std::int64_t block_bytes(BlockType type) {
  return type == BlockType::q8_0 ? 34 : type == BlockType::q4_0 ? 18 : 20;
}

/// ggml's name, as GGUF files have it.
constexpr std::string_view name_of(BlockType type) {
  return type == BlockType::q8_0 ? "Q8_0" : type == BlockType::q4_0 ? "Q4_0" : "Q4_1";
}

/// The type of that name, or nothing.
constexpr std::optional<BlockType> find_block_type(std::string_view name) {
  for (const BlockType type : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1})
    if (name_of(type) == name) return type;
  return std::nullopt;
}

/// Element i of a quantised block, in float as ggml defines it.
inline float block_element(BlockType type, const std::byte* block, int i) {
  const auto half = [&](int at) {
    float16 value;
    std::memcpy(&value.bits, block + at, sizeof value.bits);
    return static_cast<float>(value);
  };
  const auto byte = [&](int at) { return std::to_integer<int>(block[at]); };
  const float d = half(0);
  if (type == BlockType::q8_0) return static_cast<float>(static_cast<std::int8_t>(byte(2 + i))) * d;
  const int low = type == BlockType::q4_0 ? 2 : 4;  // where the integers begin
  const int q = i < 16 ? byte(low + i) & 15 : byte(low + i - 16) >> 4;
  if (type == BlockType::q4_0) return static_cast<float>(q - 8) * d;
  return static_cast<float>(q) * d + half(2);
}

}  // namespace attune
