#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

#include <attune/core/random.hpp>
#include <attune/data/samplers.hpp>

namespace attune {

namespace detail {

ATTUNE_INLINE std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t seed,
                                                    std::uint64_t stream) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  RandomStream random(seed, stream);
  for (std::size_t left = order.size(); left > 1; --left)
    std::swap(order[left - 1], order[static_cast<std::size_t>(random.below(left))]);
  return order;
}

inline std::int64_t checked_rows(const char* who, std::int64_t size) {
  if (size < 0)
    throw ConfigError(std::string(who) + ": size must not be negative, found " + std::to_string(size));
  return size;
}

}  // namespace detail

ATTUNE_INLINE SequentialSampler::SequentialSampler(std::int64_t size)
    : size_(detail::checked_rows("SequentialSampler", size)) {}

ATTUNE_INLINE std::vector<std::int64_t> SequentialSampler::indices(std::uint64_t) const {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size_));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

ATTUNE_INLINE RandomSampler::RandomSampler(std::int64_t size, std::uint64_t seed)
    : size_(detail::checked_rows("RandomSampler", size)), seed_(seed) {}

ATTUNE_INLINE std::vector<std::int64_t> RandomSampler::indices(std::uint64_t epoch) const {
  return detail::permutation(size_, seed_, epoch);
}

ATTUNE_INLINE LengthGroupedSampler::LengthGroupedSampler(std::span<const std::int32_t> lengths,
                                                         std::int64_t batch_size, std::uint64_t seed)
    : lengths_(lengths.begin(), lengths.end()), seed_(seed) {
  if (batch_size < 1)
    throw ConfigError("LengthGroupedSampler: batch_size must be at least 1, found " +
                      std::to_string(batch_size));
  batch_size =
      std::min(batch_size, std::max<std::int64_t>(size(), 1));  // the products below may not overflow
  // Hugging Face's rule: 50 batches, but at least 4 mega-batches in the data.
  const std::int64_t batches = std::clamp(size() / (batch_size * 4), std::int64_t{1}, std::int64_t{50});
  mega_batch_ = batches * batch_size;
}

ATTUNE_INLINE std::vector<std::int64_t> LengthGroupedSampler::indices(std::uint64_t epoch) const {
  std::vector<std::int64_t> order = detail::permutation(size(), seed_, epoch);
  const auto length = [&](std::int64_t row) { return lengths_[static_cast<std::size_t>(row)]; };
  for (std::int64_t begin = 0; begin < size(); begin += mega_batch_)
    std::stable_sort(order.begin() + begin, order.begin() + std::min(begin + mega_batch_, size()),
                     [&](std::int64_t a, std::int64_t b) { return length(a) > length(b); });
  if (!order.empty()) {
    const auto longest = std::max_element(
        order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return length(a) < length(b); });
    std::swap(order.front(), *longest);
  }
  return order;
}

ATTUNE_INLINE TokenBudgetBatchSampler::TokenBudgetBatchSampler(std::span<const std::int32_t> lengths,
                                                               std::int64_t max_tokens, std::uint64_t seed)
    : seed_(seed) {
  std::int64_t tokens = 0;
  for (const std::int64_t row :
       detail::permutation(static_cast<std::int64_t>(lengths.size()), seed, /*stream=*/0)) {
    const std::int64_t length = lengths[static_cast<std::size_t>(row)];
    if (length > max_tokens)
      throw ConfigError("TokenBudgetBatchSampler: max_tokens is " + std::to_string(max_tokens) +
                        ", but row " + std::to_string(row) + " alone has " + std::to_string(length) +
                        " tokens");
    if (batches_.empty() || tokens + length > max_tokens) {
      batches_.emplace_back();
      tokens = 0;
    }
    batches_.back().push_back(row);
    tokens += length;
  }
}

ATTUNE_INLINE std::vector<std::vector<std::int64_t>> TokenBudgetBatchSampler::batches(
    std::uint64_t epoch) const {
  std::vector<std::vector<std::int64_t>> shuffled;
  shuffled.reserve(batches_.size());
  for (const std::int64_t batch : detail::permutation(size(), seed_, epoch + 1))
    shuffled.push_back(batches_[static_cast<std::size_t>(batch)]);
  return shuffled;
}

}  // namespace attune
