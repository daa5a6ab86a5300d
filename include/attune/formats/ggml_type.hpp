#pragma once

#include <cstdint>

namespace attune {

/// How ggml stores elements, under ggml's numbers. The quantised types keep a row in blocks of 32 or 256
/// elements that share scales.
enum class GgmlType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  bf16 = 30
};

}  // namespace attune
