#pragma once

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/data/packing.hpp>
#include <attune/data/rows.hpp>

namespace attune {

ATTUNE_INLINE std::vector<std::vector<std::int64_t>> pack_best_fit(std::span<const std::int32_t> lengths,
                                                                   std::int64_t capacity) {
  if (capacity < 1)
    throw ConfigError("pack_best_fit: the capacity must be at least 1, found " + std::to_string(capacity));
  std::vector<std::int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto length = [&](std::int64_t row) { return std::int64_t{lengths[static_cast<std::size_t>(row)]}; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return length(a) > length(b); });
  std::vector<std::vector<std::int64_t>> groups;
  std::set<std::pair<std::int64_t, std::size_t>> room;  // what is left in each group that has some
  for (const std::int64_t row : order) {
    const auto best = room.lower_bound({length(row), 0});
    std::int64_t left = capacity - length(row);
    std::size_t group = groups.size();
    if (best == room.end()) {
      groups.emplace_back();
    } else {
      left = best->first - length(row);
      group = best->second;
      room.erase(best);
    }
    groups[group].push_back(row);
    if (left > 0) room.emplace(left, group);
  }
  for (auto& group : groups) std::sort(group.begin(), group.end());
  return groups;
}

ATTUNE_INLINE PackedDataset::PackedDataset(CausalLmDataset dataset, std::int64_t capacity)
    : dataset_(std::move(dataset)), groups_(pack_best_fit(dataset_.lengths(), capacity)) {
  for (const auto& group : groups_) {
    std::int32_t length = 0;
    for (const std::int64_t row : group) length += dataset_.lengths()[static_cast<std::size_t>(row)];
    lengths_.push_back(length);
  }
}

ATTUNE_INLINE Batch PackedDataset::batch(std::span<const std::int64_t> groups, std::uint64_t epoch) const {
  std::vector<std::int64_t> rows;
  for (const std::int64_t group : groups) {
    detail::check_row("PackedDataset::batch", group, size());
    const auto& members = groups_[static_cast<std::size_t>(group)];
    rows.insert(rows.end(), members.begin(), members.end());
  }
  return dataset_.batch(rows, epoch);
}

}  // namespace attune
