#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/inline.hpp>
#include <attune/data/causal_lm.hpp>

namespace attune {

/// Puts sequences of the given lengths into as few groups of at most `capacity` tokens as best-fit decreasing
/// finds: the longest first, each where the least room is left. A longer sequence stands alone. Groups come
/// in the order in which they were begun, members by their numbers. Throws ConfigError for a capacity
/// below 1.
std::vector<std::vector<std::int64_t>> pack_best_fit(std::span<const std::int32_t> lengths,
                                                     std::int64_t capacity);

/// A dataset whose rows are groups of another's: each row of a group is a sequence of its own, with positions
/// from 0 and no attention to the others, so that the loss and the gradients are those of the rows one by one
/// while batches have much the same number of tokens. A value that is cheap to copy.
class PackedDataset {
 public:
  /// Groups of at most `capacity` tokens.
  PackedDataset(CausalLmDataset dataset, std::int64_t capacity);

  std::int64_t size() const { return static_cast<std::int64_t>(groups_.size()); }
  /// The sequences of the given groups; Batch::rows are rows of the dataset that was packed. Throws as its
  /// batch().
  Batch batch(std::span<const std::int64_t> groups, std::uint64_t epoch = 0) const;
  /// Tokens of each group.
  const std::vector<std::int32_t>& lengths() const { return lengths_; }
  const std::vector<std::vector<std::int64_t>>& groups() const { return groups_; }
  std::int64_t trained_tokens() const { return dataset_.trained_tokens(); }

 private:
  CausalLmDataset dataset_;
  std::vector<std::vector<std::int64_t>> groups_;
  std::vector<std::int32_t> lengths_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/packing.inl.hpp>
#endif
