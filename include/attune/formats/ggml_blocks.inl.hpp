#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include <attune/formats/elements.hpp>
#include <attune/formats/ggml_blocks.hpp>

namespace attune::detail {

inline constexpr std::array<GgmlLayout, 34> ggml_layouts = {{
    {0, "F32", 1, 4, true},          {1, "F16", 1, 2, true},          {2, "Q4_0", 32, 18, true},
    {3, "Q4_1", 32, 20, true},       {6, "Q5_0", 32, 22, true},       {7, "Q5_1", 32, 24, true},
    {8, "Q8_0", 32, 34, true},       {9, "Q8_1", 32, 40, false},      {10, "Q2_K", 256, 84, false},
    {11, "Q3_K", 256, 110, false},   {12, "Q4_K", 256, 144, true},    {13, "Q5_K", 256, 176, true},
    {14, "Q6_K", 256, 210, true},    {15, "Q8_K", 256, 292, false},   {16, "IQ2_XXS", 256, 66, false},
    {17, "IQ2_XS", 256, 74, false},  {18, "IQ3_XXS", 256, 98, false}, {19, "IQ1_S", 256, 50, false},
    {20, "IQ4_NL", 32, 18, false},   {21, "IQ3_S", 256, 110, false},  {22, "IQ2_S", 256, 82, false},
    {23, "IQ4_XS", 256, 136, false}, {24, "I8", 1, 1, true},          {25, "I16", 1, 2, true},
    {26, "I32", 1, 4, true},         {27, "I64", 1, 8, true},         {28, "F64", 1, 8, true},
    {29, "IQ1_M", 256, 56, false},   {30, "BF16", 1, 2, true},        {34, "TQ1_0", 256, 54, false},
    {35, "TQ2_0", 256, 66, false},   {39, "MXFP4", 32, 17, false},    {40, "NVFP4", 64, 36, false},
    {41, "Q1_0", 128, 18, false},
}};

inline float load_half(const std::uint8_t* at) {
  float16 half;
  std::memcpy(&half.bits, at, sizeof(half.bits));
  return static_cast<float>(half);
}

/// Stores an element or a scale; what is too large would silently become infinity.
inline void store_half(float value, std::uint8_t* at, const char* what) {
  const float16 half(value);
  if ((half.bits & 0x7fffu) >= 0x7c00u)
    throw ConfigError(std::string("quantize_blocks: ") + what + " is at most 65504, found " +
                      std::to_string(value));
  std::memcpy(at, &half.bits, sizeof(half.bits));
}

// Blocks of 32. In the 4- and 5-bit types byte i holds element i below and element i + 16 above.

inline void dequantize_q4_0(const std::uint8_t* block, float* y) {
  const float d = load_half(block);
  for (int i = 0; i < 16; ++i) {
    y[i] = static_cast<float>((block[2 + i] & 0xf) - 8) * d;
    y[i + 16] = static_cast<float>((block[2 + i] >> 4) - 8) * d;
  }
}

inline void dequantize_q4_1(const std::uint8_t* block, float* y) {
  const float d = load_half(block), m = load_half(block + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = static_cast<float>(block[4 + i] & 0xf) * d + m;
    y[i + 16] = static_cast<float>(block[4 + i] >> 4) * d + m;
  }
}

/// The 5-bit integer of element i: its fifth bit is bit i of a word.
inline int five_bits(const std::uint8_t* high, const std::uint8_t* low, int i) {
  std::uint32_t word;
  std::memcpy(&word, high, sizeof(word));
  const int nibble = i < 16 ? low[i] & 0xf : low[i - 16] >> 4;
  return nibble | static_cast<int>((word >> i) & 1u) << 4;
}

inline void dequantize_q5_0(const std::uint8_t* block, float* y) {
  const float d = load_half(block);
  for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(five_bits(block + 2, block + 6, i) - 16) * d;
}

inline void dequantize_q5_1(const std::uint8_t* block, float* y) {
  const float d = load_half(block), m = load_half(block + 2);
  for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(five_bits(block + 4, block + 8, i)) * d + m;
}

inline void dequantize_q8_0(const std::uint8_t* block, float* y) {
  const float d = load_half(block);
  for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
}

// Blocks of 256, in groups of 32 (16 for Q6_K) with small integer scales of their own.

struct GroupScale {
  float scale, minimum;
};

/// The 6-bit scale and minimum of group g: eight of each in twelve bytes.
inline GroupScale group_scale(const std::uint8_t* packed, int g, float d, float dmin) {
  int scale, minimum;
  if (g < 4) {
    scale = packed[g] & 63;
    minimum = packed[g + 4] & 63;
  } else {
    scale = (packed[g + 4] & 0xf) | (packed[g - 4] >> 6) << 4;
    minimum = (packed[g + 4] >> 4) | (packed[g] >> 6) << 4;
  }
  return {d * static_cast<float>(scale), dmin * static_cast<float>(minimum)};
}

inline void dequantize_q4_k(const std::uint8_t* block, float* y) {
  const float d = load_half(block), dmin = load_half(block + 2);
  const std::uint8_t* low = block + 16;
  for (int g = 0; g < 8; ++g) {
    const GroupScale group = group_scale(block + 4, g, d, dmin);
    for (int i = 0; i < 32; ++i) {
      const int q = low[(g / 2) * 32 + i] >> (g % 2 * 4) & 0xf;
      y[g * 32 + i] = group.scale * static_cast<float>(q) - group.minimum;
    }
  }
}

inline void dequantize_q5_k(const std::uint8_t* block, float* y) {
  const float d = load_half(block), dmin = load_half(block + 2);
  const std::uint8_t* high = block + 16;
  const std::uint8_t* low = block + 48;
  for (int g = 0; g < 8; ++g) {
    const GroupScale group = group_scale(block + 4, g, d, dmin);
    for (int i = 0; i < 32; ++i) {
      const int q = (low[(g / 2) * 32 + i] >> (g % 2 * 4) & 0xf) | (high[i] >> g & 1) << 4;
      y[g * 32 + i] = group.scale * static_cast<float>(q) - group.minimum;
    }
  }
}

inline void dequantize_q6_k(const std::uint8_t* block, float* y) {
  const std::uint8_t* low = block;
  const std::uint8_t* high = block + 128;
  const std::uint8_t* scales = block + 192;
  const float d = load_half(block + 208);
  for (int g = 0; g < 8; ++g) {
    const int half = g / 4, part = g % 4;
    for (int i = 0; i < 32; ++i) {
      const int nibble = low[half * 64 + part % 2 * 32 + i] >> (part / 2 * 4) & 0xf;
      const int q = (nibble | (high[half * 32 + i] >> (2 * part) & 3) << 4) - 32;
      const auto scale = static_cast<float>(static_cast<std::int8_t>(scales[(g * 32 + i) / 16]));
      y[g * 32 + i] = d * scale * static_cast<float>(q);
    }
  }
}

inline float finite_reciprocal(float value) {
  const float reciprocal = value == 0 ? 0.0f : 1.0f / value;
  return std::isfinite(reciprocal) ? reciprocal : 0.0f;  // a denormal scale is zero in half precision
}

inline void quantize_q4_0(const float* x, std::uint8_t* block) {
  float largest = 0;  // of the elements, by magnitude, with its sign
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  const float d = largest / -8;
  const float inverse = finite_reciprocal(d);
  store_half(d, block, "the scale of Q4_0");
  const auto quantum = [&](float value) {
    const float scaled = value * inverse;
    return std::min(15, static_cast<int>(scaled + 8.5f));
  };
  for (int i = 0; i < 16; ++i)
    block[2 + i] = static_cast<std::uint8_t>(quantum(x[i]) | quantum(x[i + 16]) << 4);
}

inline void quantize_q8_0(const float* x, std::uint8_t* block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127;
  const float inverse = finite_reciprocal(d);
  store_half(d, block, "the scale of Q8_0");
  for (int i = 0; i < 32; ++i)
    block[2 + i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::round(x[i] * inverse)));
}

template <class Function>
void for_each_block(const GgmlLayout& layout, std::size_t count, Function&& function) {
  for (std::size_t block = 0; block < count; ++block)
    function(block * static_cast<std::size_t>(layout.block_bytes),
             block * static_cast<std::size_t>(layout.block_elements));
}

inline void check_block_sizes(const char* who, const GgmlLayout& layout, std::size_t elements,
                              std::size_t bytes) {
  const auto block_elements = static_cast<std::size_t>(layout.block_elements);
  if (elements % block_elements == 0 &&
      bytes == elements / block_elements * static_cast<std::size_t>(layout.block_bytes))
    return;
  throw ShapeError(std::string(who) + ": " + std::string(layout.name) + " keeps " +
                   std::to_string(block_elements) + " elements in " + std::to_string(layout.block_bytes) +
                   " bytes, found " + std::to_string(elements) + " elements and " + std::to_string(bytes) +
                   " bytes");
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE const GgmlLayout* find_ggml_layout(std::uint32_t type) {
  const auto place =
      std::lower_bound(detail::ggml_layouts.begin(), detail::ggml_layouts.end(), type,
                       [](const GgmlLayout& layout, std::uint32_t t) { return layout.type < t; });
  return place == detail::ggml_layouts.end() || place->type != type ? nullptr : &*place;
}

ATTUNE_INLINE const GgmlLayout& ggml_layout(GgmlType type) {
  const GgmlLayout* layout = find_ggml_layout(static_cast<std::uint32_t>(type));
  if (layout == nullptr || !layout->readable)
    throw ConfigError("GgmlType: " + std::to_string(static_cast<std::uint32_t>(type)) +
                      " is none of its values");
  return *layout;
}

ATTUNE_INLINE std::optional<GgmlType> find_ggml_type(std::string_view name) {
  std::string upper(name);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  for (const GgmlLayout& layout : detail::ggml_layouts)
    if (layout.readable && layout.name == upper) return static_cast<GgmlType>(layout.type);
  return std::nullopt;
}

ATTUNE_INLINE std::optional<DType> plain_dtype(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
      return DType::f32;
    case GgmlType::f16:
      return DType::f16;
    case GgmlType::bf16:
      return DType::bf16;
    case GgmlType::f64:
      return DType::f64;
    case GgmlType::i8:
      return DType::i8;
    case GgmlType::i16:
      return DType::i16;
    case GgmlType::i32:
      return DType::i32;
    case GgmlType::i64:
      return DType::i64;
    default:
      return std::nullopt;
  }
}

ATTUNE_INLINE bool can_quantize(GgmlType type) {
  return type == GgmlType::f32 || type == GgmlType::f16 || type == GgmlType::bf16 || type == GgmlType::q8_0 ||
         type == GgmlType::q4_0;
}

ATTUNE_INLINE void dequantize_blocks(GgmlType type, std::span<const std::byte> blocks,
                                     std::span<float> elements) {
  const GgmlLayout& layout = ggml_layout(type);
  detail::check_block_sizes("dequantize_blocks", layout, elements.size(), blocks.size());
  if (const auto plain = plain_dtype(type))
    return convert_elements<float>(*plain, blocks, elements, "dequantize_blocks");
  const auto* from = reinterpret_cast<const std::uint8_t*>(blocks.data());
  const std::size_t count = elements.size() / static_cast<std::size_t>(layout.block_elements);
  const auto run = [&](auto&& one_block) {
    detail::for_each_block(layout, count, [&](std::size_t byte, std::size_t element) {
      one_block(from + byte, elements.data() + element);
    });
  };
  switch (type) {
    case GgmlType::q4_0:
      return run(detail::dequantize_q4_0);
    case GgmlType::q4_1:
      return run(detail::dequantize_q4_1);
    case GgmlType::q5_0:
      return run(detail::dequantize_q5_0);
    case GgmlType::q5_1:
      return run(detail::dequantize_q5_1);
    case GgmlType::q8_0:
      return run(detail::dequantize_q8_0);
    case GgmlType::q4_k:
      return run(detail::dequantize_q4_k);
    case GgmlType::q5_k:
      return run(detail::dequantize_q5_k);
    default:
      return run(detail::dequantize_q6_k);
  }
}

ATTUNE_INLINE void quantize_blocks(GgmlType type, std::span<const float> elements,
                                   std::span<std::byte> blocks) {
  const GgmlLayout& layout = ggml_layout(type);
  if (!can_quantize(type))
    throw ConfigError("quantize_blocks: expected F32, F16, BF16, Q8_0 or Q4_0, found " +
                      std::string(layout.name));
  detail::check_block_sizes("quantize_blocks", layout, elements.size(), blocks.size());
  for (const float element : elements)
    if (!std::isfinite(element)) throw ConfigError("quantize_blocks: found an element that is not finite");
  auto* to = reinterpret_cast<std::uint8_t*>(blocks.data());
  const std::size_t count = elements.size() / static_cast<std::size_t>(layout.block_elements);
  if (type == GgmlType::f32) {
    if (!elements.empty()) std::memcpy(to, elements.data(), blocks.size());
    return;
  }
  detail::for_each_block(layout, count, [&](std::size_t byte, std::size_t element) {
    const float* x = elements.data() + element;
    if (type == GgmlType::q4_0) {
      detail::quantize_q4_0(x, to + byte);
    } else if (type == GgmlType::q8_0) {
      detail::quantize_q8_0(x, to + byte);
    } else if (type == GgmlType::f16) {
      detail::store_half(*x, to + byte, "an element of F16");
    } else {
      const std::uint16_t bits = bfloat16(*x).bits;
      std::memcpy(to + byte, &bits, sizeof(bits));
    }
  });
}

}  // namespace attune
