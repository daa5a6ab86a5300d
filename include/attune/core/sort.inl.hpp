#pragma once

#include <algorithm>

#include <attune/core/sort.hpp>

namespace attune::detail {

ATTUNE_INLINE std::vector<std::size_t> sorted_order(
    std::size_t count, const std::function<bool(std::size_t, std::size_t)>& less) {
  std::vector<std::size_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return less(a, b) || (a < b && !less(b, a)); });
  return order;
}

}  // namespace attune::detail
