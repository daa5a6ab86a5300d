#pragma once

#include <attune/autograd/backward.hpp>
#include <attune/backend/reference/reference.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace attune::testing {

/// The reference backend, counting the bytes that are in use.
struct Counted : Reference {
  static inline std::size_t current = 0, peak = 0;

  void* allocate(std::size_t bytes) const {
    current += bytes;
    peak = std::max(peak, current);
    return Reference::allocate(bytes);
  }
  void deallocate(void* data, std::size_t bytes) const noexcept {
    current -= bytes;
    Reference::deallocate(data, bytes);
  }
};

template <class B = Reference>
Tensor<double, B> leaf(const Shape& shape, const std::vector<double>& values) {
  return Tensor<double, B>::from_values(B(), shape, values).set_requires_grad();
}

}  // namespace attune::testing
