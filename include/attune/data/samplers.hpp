#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

/// Gives the order of the rows for every epoch (from 0): a function of the epoch alone, so that a position is
/// enough to resume.
template <class S>
concept Sampler = requires(const S& sampler, std::uint64_t epoch) {
  { sampler.indices(epoch) } -> std::same_as<std::vector<std::int64_t>>;
  { sampler.size() } -> std::same_as<std::int64_t>;
};

/// Gives whole batches of rows for every epoch; their number is the same in every epoch.
template <class S>
concept BatchSampler = requires(const S& sampler, std::uint64_t epoch) {
  { sampler.batches(epoch) } -> std::same_as<std::vector<std::vector<std::int64_t>>>;
  { sampler.size() } -> std::same_as<std::int64_t>;
};

/// Rows 0 .. size-1 in order.
class SequentialSampler {
 public:
  /// Throws ConfigError for a negative size.
  explicit SequentialSampler(std::int64_t size);
  std::vector<std::int64_t> indices(std::uint64_t epoch) const;
  std::int64_t size() const { return size_; }

 private:
  std::int64_t size_;
};

/// All rows in a new random order every epoch: a Fisher-Yates shuffle with the stream (seed, epoch), the same
/// on every platform.
class RandomSampler {
 public:
  /// Throws ConfigError for a negative size.
  explicit RandomSampler(std::int64_t size, std::uint64_t seed = 0);
  std::vector<std::int64_t> indices(std::uint64_t epoch) const;
  std::int64_t size() const { return size_; }
  std::uint64_t seed() const { return seed_; }

 private:
  std::int64_t size_;
  std::uint64_t seed_;
};

/// A random order in which rows of like length stand together, as `group_by_length` of Hugging Face's
/// trainer: the shuffled rows are cut into mega-batches of many batches, each mega-batch is sorted by falling
/// length, and the longest row of all comes first, so that a run that is short of memory fails at once.
class LengthGroupedSampler {
 public:
  /// `lengths` holds a length for each row (a dataset's lengths()), `batch_size` is the loader's.
  /// Throws ConfigError for batch_size < 1.
  LengthGroupedSampler(std::span<const std::int32_t> lengths, std::int64_t batch_size,
                       std::uint64_t seed = 0);
  std::vector<std::int64_t> indices(std::uint64_t epoch) const;
  std::int64_t size() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::uint64_t seed() const { return seed_; }

 private:
  std::vector<std::int32_t> lengths_;
  std::int64_t mega_batch_;
  std::uint64_t seed_;
};

/// Batches of as many rows as fit `max_tokens`. A random order is cut into batches once; every epoch takes
/// those batches in a new random order, so their number never changes.
class TokenBudgetBatchSampler {
 public:
  /// Throws ConfigError when a row alone is longer than `max_tokens`.
  TokenBudgetBatchSampler(std::span<const std::int32_t> lengths, std::int64_t max_tokens,
                          std::uint64_t seed = 0);
  std::vector<std::vector<std::int64_t>> batches(std::uint64_t epoch) const;
  /// The number of batches.
  std::int64_t size() const { return static_cast<std::int64_t>(batches_.size()); }
  std::uint64_t seed() const { return seed_; }

 private:
  std::vector<std::vector<std::int64_t>> batches_;
  std::uint64_t seed_;
};

namespace detail {
/// 0 .. size-1, shuffled by the stream (seed, stream).
std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t seed, std::uint64_t stream);
}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/samplers.inl.hpp>
#endif
