#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// The numbers 0 .. count-1 in the order of what they stand for; equals keep theirs. `less` compares two of
/// them.
std::vector<std::size_t> sorted_order(std::size_t count,
                                      const std::function<bool(std::size_t, std::size_t)>& less);

/// std::stable_sort for lists that are sorted once: the algorithm is compiled for numbers alone, not for
/// every type of item and comparison again.
template <class Item, class Less>
void sort_items(std::vector<Item>& items, const Less& less) {
  const std::vector<std::size_t> order =
      sorted_order(items.size(), [&](std::size_t a, std::size_t b) { return less(items[a], items[b]); });
  std::vector<Item> sorted;
  sorted.reserve(items.size());
  for (const std::size_t place : order) sorted.push_back(std::move(items[place]));
  items = std::move(sorted);
}

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/core/sort.inl.hpp>
#endif
