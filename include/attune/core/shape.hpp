#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include <attune/core/error.hpp>

namespace attune {

/// Up to eight extents (or strides), outermost first. Rank 0 is a scalar.
class Shape {
 public:
  static constexpr int max_rank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents) {
    if (extents.size() > static_cast<std::size_t>(max_rank))
      throw ShapeError("Shape: at most " + std::to_string(max_rank) + " dimensions, found " +
                       std::to_string(extents.size()));
    for (const std::int64_t extent : extents) extents_[static_cast<std::size_t>(rank_++)] = extent;
  }

  int rank() const { return rank_; }
  std::int64_t operator[](int dim) const { return extents_[static_cast<std::size_t>(dim)]; }
  std::int64_t& operator[](int dim) { return extents_[static_cast<std::size_t>(dim)]; }
  /// The last extent; 1 for a scalar.
  std::int64_t back() const { return rank_ == 0 ? 1 : (*this)[rank_ - 1]; }
  /// The number of elements.
  std::int64_t size() const {
    std::int64_t product = 1;
    for (const std::int64_t extent : *this) product *= extent;
    return product;
  }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }

  friend bool operator==(const Shape& a, const Shape& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

  /// Row-major strides, in elements.
  Shape contiguous_strides() const {
    Shape strides = *this;
    std::int64_t stride = 1;
    for (int dim = rank_ - 1; dim >= 0; --dim) {
      strides[dim] = stride;
      stride *= (*this)[dim];
    }
    return strides;
  }

  /// "[2, 3]"
  std::string to_string() const {
    std::string text = "[";
    for (int dim = 0; dim < rank_; ++dim) {
      if (dim > 0) text += ", ";
      text += std::to_string((*this)[dim]);
    }
    return text + "]";
  }

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

}  // namespace attune
