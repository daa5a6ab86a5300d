#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include <attune/data/data_loader.hpp>
#include <attune/data/prefetcher.inl.hpp>

namespace attune {

ATTUNE_INLINE DataLoaderState DataLoaderState::from_integers(std::span<const std::uint64_t> integers) {
  if (integers.size() != 5)
    throw ConfigError("DataLoaderState: expected 5 integers, found " + std::to_string(integers.size()));
  return {integers[0], integers[1], integers[2], integers[3], integers[4]};
}

namespace detail {

ATTUNE_INLINE std::int64_t batch_count(std::int64_t rows, const DataLoaderOptions& options) {
  if (options.batch_size < 1)
    throw ConfigError("DataLoader: batch_size must be at least 1, found " +
                      std::to_string(options.batch_size));
  const std::int64_t full = rows / options.batch_size;
  if (options.drop_last) {
    if (full == 0 && rows > 0)
      throw ConfigError("DataLoader: batch_size " + std::to_string(options.batch_size) +
                        " with drop_last leaves no batch of " + std::to_string(rows) + " rows");
    return full;
  }
  return full + (rows % options.batch_size != 0 ? 1 : 0);
}

ATTUNE_INLINE std::vector<std::vector<std::int64_t>> cut_batches(const std::vector<std::int64_t>& order,
                                                                 const DataLoaderOptions& options) {
  const auto rows = static_cast<std::int64_t>(order.size());
  std::vector<std::vector<std::int64_t>> batches(static_cast<std::size_t>(batch_count(rows, options)));
  for (std::size_t batch = 0; batch < batches.size(); ++batch) {
    const std::int64_t begin = static_cast<std::int64_t>(batch) * options.batch_size;
    // Not begin + batch_size: that may overflow.
    const std::int64_t length = std::min(options.batch_size, rows - begin);
    batches[batch].assign(order.begin() + begin, order.begin() + begin + length);
  }
  return batches;
}

class LoaderRun {
 public:
  explicit LoaderRun(LoaderSource source) : source_(std::move(source)) {
    if (source_.prefetch < 0)
      throw ConfigError("DataLoader: prefetch must not be negative, found " +
                        std::to_string(source_.prefetch));
  }

  std::int64_t size() const { return source_.batches; }

  void start() {
    prefetcher_.reset();
    batch_.reset();
    if (under_way_) {  // the last loop was left early
      ++epoch_;
      given_ = 0;
      under_way_ = false;
    }
    plan_ = source_.plan(epoch_);
    check_plan();
    prefetcher_.emplace(
        [this, epoch = epoch_](std::int64_t index) {
          return source_.batch(plan_[static_cast<std::size_t>(index)], epoch);
        },
        given_, size(), source_.prefetch);
    under_way_ = true;
    advance();
  }

  void advance() {
    batch_.reset();
    if (!prefetcher_) return;
    try {
      batch_ = prefetcher_->next();
    } catch (...) {
      prefetcher_.reset();
      throw;
    }
    if (batch_) {
      ++given_;
      return;
    }
    prefetcher_.reset();
    under_way_ = false;
    ++epoch_;
    given_ = 0;
  }

  const std::optional<Batch>& batch() const { return batch_; }

  DataLoaderState state() const {
    return {epoch_, static_cast<std::uint64_t>(given_), source_.seed, static_cast<std::uint64_t>(size()),
            static_cast<std::uint64_t>(source_.rows)};
  }

  void load(const DataLoaderState& state) {
    const DataLoaderState own = this->state();
    require("seed", own.seed, state.seed);
    require("number of batches", own.batches, state.batches);
    require("number of rows", own.rows, state.rows);
    if (state.batch > state.batches)
      throw ConfigError("DataLoader::load_state: batch " + std::to_string(state.batch) + " of " +
                        std::to_string(state.batches));
    prefetcher_.reset();
    batch_.reset();
    under_way_ = false;
    epoch_ = state.epoch;
    given_ = static_cast<std::int64_t>(state.batch);
  }

 private:
  static void require(const char* what, std::uint64_t own, std::uint64_t found) {
    if (own != found)
      throw ConfigError(std::string("DataLoader::load_state: the state is of another run: expected ") + what +
                        " " + std::to_string(own) + ", found " + std::to_string(found));
  }

  void check_plan() const {
    if (static_cast<std::int64_t>(plan_.size()) != size())
      throw ConfigError("DataLoader: expected " + std::to_string(size()) +
                        " batches from the sampler, found " + std::to_string(plan_.size()));
    for (const auto& batch : plan_)
      for (const std::int64_t row : batch)
        if (row < 0 || row >= source_.rows)
          throw ConfigError("DataLoader: the sampler gave row " + std::to_string(row) +
                            ", but the dataset has " + std::to_string(source_.rows) + " rows");
  }

  LoaderSource source_;
  std::uint64_t epoch_ = 0;
  std::int64_t given_ = 0;  // batches of this epoch that the consumer got
  bool under_way_ = false;  // a loop has begun this epoch and not ended it
  std::vector<std::vector<std::int64_t>> plan_;
  std::optional<Batch> batch_;
  std::optional<Prefetcher> prefetcher_;  // last: its thread reads the above
};

}  // namespace detail

ATTUNE_INLINE DataLoader::DataLoader(detail::LoaderSource source)
    : run_(std::make_unique<detail::LoaderRun>(std::move(source))) {}
ATTUNE_INLINE DataLoader::DataLoader(DataLoader&&) noexcept = default;
ATTUNE_INLINE DataLoader& DataLoader::operator=(DataLoader&&) noexcept = default;
ATTUNE_INLINE DataLoader::~DataLoader() = default;

ATTUNE_INLINE std::int64_t DataLoader::size() const { return run_->size(); }
ATTUNE_INLINE DataLoader::Iterator DataLoader::begin() {
  run_->start();
  return Iterator(run_.get());
}
ATTUNE_INLINE DataLoaderState DataLoader::state() const { return run_->state(); }
ATTUNE_INLINE void DataLoader::load_state(const DataLoaderState& state) { run_->load(state); }

ATTUNE_INLINE const Batch& DataLoader::Iterator::operator*() const { return *run_->batch(); }
ATTUNE_INLINE DataLoader::Iterator& DataLoader::Iterator::operator++() {
  run_->advance();
  return *this;
}
ATTUNE_INLINE bool DataLoader::Iterator::at_end() const { return !run_->batch(); }

}  // namespace attune
