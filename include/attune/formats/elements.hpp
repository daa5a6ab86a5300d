#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include <attune/core/dtype.hpp>
#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/core/shape.hpp>

namespace attune {

/// The number of elements of a shape that came from a file; nothing when an extent is negative or when the
/// product, in any order and times 16 bytes, would not fit in 63 bits. What passes is safe for Shape::size()
/// and its strides.
inline std::optional<std::int64_t> checked_element_count(const Shape& shape) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 16;
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      empty = true;
      continue;
    }
    if (product > most / extent) return std::nullopt;
    product *= extent;
  }
  return empty ? 0 : product;
}

/// Whether elements of this type hold real numbers that weights are made of.
constexpr bool is_floating(DType type) {
  return type == DType::f32 || type == DType::f64 || type == DType::f16 || type == DType::bf16;
}

namespace detail {

template <class From, class To>
void convert_run(const std::byte* from, To* to, std::int64_t count) {
  parallel_chunks(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    if constexpr (std::is_same_v<From, To>) {
      std::memcpy(to + begin, from + begin * static_cast<std::int64_t>(sizeof(From)),
                  static_cast<std::size_t>(end - begin) * sizeof(From));
    } else {
      // Every step but the last is exact; a double goes to bfloat16 by way of float, as in PyTorch.
      using Step =
          std::conditional_t<std::is_same_v<From, double> && std::is_same_v<To, double>, double, float>;
      for (std::int64_t i = begin; i < end; ++i) {
        From value;  // files need not be aligned
        std::memcpy(&value, from + i * static_cast<std::int64_t>(sizeof(From)), sizeof(From));
        to[i] = static_cast<To>(static_cast<Step>(value));
      }
    }
  });
}

}  // namespace detail

/// Converts stored F16, BF16, F32 or F64 elements to `float`, `double` or `bfloat16`, rounding to nearest
/// even. `name` is for messages. Throws ConfigError for other types, ShapeError when the sizes differ.
template <class T>
void convert_elements(DType from, std::span<const std::byte> bytes, std::span<T> to,
                      const std::string& name) {
  if (!is_floating(from))
    throw ConfigError(name + ": expected a floating-point type, found " + std::string(name_of(from)));
  if (bytes.size() != to.size() * size_of(from))
    throw ShapeError(name + ": expected " + std::to_string(to.size()) + " elements of " +
                     std::string(name_of(from)) + ", found " + std::to_string(bytes.size()) + " bytes");
  const auto count = static_cast<std::int64_t>(to.size());
  switch (from) {
    case DType::f32:
      return detail::convert_run<float>(bytes.data(), to.data(), count);
    case DType::f64:
      return detail::convert_run<double>(bytes.data(), to.data(), count);
    case DType::f16:
      return detail::convert_run<float16>(bytes.data(), to.data(), count);
    default:
      return detail::convert_run<bfloat16>(bytes.data(), to.data(), count);
  }
}

}  // namespace attune
