#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/data/samplers.hpp>

namespace attune {

/// What a DataLoader can load: `batch` makes a Batch of the given rows, from any thread; the same rows and
/// epoch always give the same batch.
template <class D>
concept Dataset = requires(const D& dataset, std::span<const std::int64_t> rows, std::uint64_t epoch) {
  { dataset.size() } -> std::convertible_to<std::int64_t>;
  { dataset.batch(rows, epoch) } -> std::same_as<Batch>;
};

struct DataLoaderOptions {
  std::int64_t batch_size = 1;  ///< rows in a batch; the default is PyTorch's
  bool drop_last = false;       ///< leaves out the last batch when it is not full
  std::int64_t prefetch = 2;    ///< batches made ahead on a background thread; 0 makes them in the caller
};

/// The options when a batch sampler decides what a batch is.
struct BatchedLoaderOptions {
  std::int64_t prefetch = 2;  ///< as in DataLoaderOptions
};

/// The position of a DataLoader. The last three say what it belongs to.
struct DataLoaderState {
  std::uint64_t epoch = 0;    ///< the pass over the data that is under way or comes next, from 0
  std::uint64_t batch = 0;    ///< how many of its batches have been given
  std::uint64_t seed = 0;     ///< the sampler's seed, 0 when it has none
  std::uint64_t batches = 0;  ///< batches in an epoch
  std::uint64_t rows = 0;     ///< rows in the dataset

  /// The members in the order above, for a checkpoint's JSON.
  std::array<std::uint64_t, 5> to_integers() const { return {epoch, batch, seed, batches, rows}; }
  /// Throws ConfigError unless there are five.
  static DataLoaderState from_integers(std::span<const std::uint64_t> integers);
  friend bool operator==(const DataLoaderState&, const DataLoaderState&) = default;
};

namespace detail {

struct LoaderSource {
  std::function<Batch(std::span<const std::int64_t>, std::uint64_t epoch)> batch;
  std::int64_t rows = 0;  // of the dataset
  std::function<std::vector<std::vector<std::int64_t>>(std::uint64_t epoch)> plan;
  std::int64_t batches = 0;
  std::uint64_t seed = 0;
  std::int64_t prefetch = 0;
};

class LoaderRun;  // the position and the background thread

/// Checks the options; the number of batches that `rows` give. Throws ConfigError.
std::int64_t batch_count(std::int64_t rows, const DataLoaderOptions& options);
/// Cuts an order into batches.
std::vector<std::vector<std::int64_t>> cut_batches(const std::vector<std::int64_t>& order,
                                                   const DataLoaderOptions& options);

}  // namespace detail

/// Gives the batches of a dataset, epoch after epoch, made ahead on a background thread:
///
///     for (const auto& batch : loader) ...   // one epoch
///
/// Each loop over it is the next epoch, also after a loop that was left early. What a dataset throws is
/// thrown where its batch would have come. The dataset must outlive the loader; the loader may be moved and
/// be destroyed at any time. A batch is valid until the iterator moves on. One thread may use a loader at a
/// time.
class DataLoader {
 public:
  /// Throws ConfigError for batch_size < 1, prefetch < 0, or when drop_last leaves no batch.
  template <Dataset D, Sampler S>
  DataLoader(const D& dataset, S sampler, const DataLoaderOptions& options = {})
      : DataLoader(source(dataset, seed_of(sampler), detail::batch_count(sampler.size(), options),
                          options.prefetch, [sampler, options](std::uint64_t epoch) {
                            return detail::cut_batches(sampler.indices(epoch), options);
                          })) {}

  /// Batches as a batch sampler makes them, such as TokenBudgetBatchSampler.
  template <Dataset D, BatchSampler S>
  DataLoader(const D& dataset, S sampler, const BatchedLoaderOptions& options = {})
      : DataLoader(source(dataset, seed_of(sampler), sampler.size(), options.prefetch,
                          [sampler](std::uint64_t epoch) { return sampler.batches(epoch); })) {}

  // A temporary dataset would be gone before the first batch.
  template <Dataset D, Sampler S>
  DataLoader(const D&& dataset, S sampler, const DataLoaderOptions& options = {}) = delete;
  template <Dataset D, BatchSampler S>
  DataLoader(const D&& dataset, S sampler, const BatchedLoaderOptions& options = {}) = delete;

  DataLoader(DataLoader&&) noexcept;
  DataLoader& operator=(DataLoader&&) noexcept;
  ~DataLoader();

  /// Batches in an epoch.
  std::int64_t size() const;

  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = Batch;
    using difference_type = std::ptrdiff_t;

    const Batch& operator*() const;
    const Batch* operator->() const { return &**this; }
    Iterator& operator++();
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& iterator, std::default_sentinel_t) { return iterator.at_end(); }

   private:
    friend class DataLoader;
    explicit Iterator(detail::LoaderRun* run) : run_(run) {}
    bool at_end() const;
    detail::LoaderRun* run_;
  };

  /// Begins the next epoch, or goes on in the epoch that load_state() named; waits for its first batch.
  Iterator begin();
  std::default_sentinel_t end() const { return std::default_sentinel; }

  /// The position after the batch in hand. In the last batch of an epoch (and until the loop ends) it is that
  /// epoch's end: resumed there, the first loop gives no batch, so that what follows the loop is done as
  /// well.
  DataLoaderState state() const;
  /// The next loop goes on at this position, with exactly the batches of the run that never stopped.
  /// Throws ConfigError when the state is of another seed, dataset size or number of batches.
  void load_state(const DataLoaderState& state);

 private:
  template <class D, class Plan>
  static detail::LoaderSource source(const D& dataset, std::uint64_t seed, std::int64_t batches,
                                     std::int64_t prefetch, Plan plan) {
    return {[&dataset](std::span<const std::int64_t> rows, std::uint64_t epoch) {
              return dataset.batch(rows, epoch);
            },
            static_cast<std::int64_t>(dataset.size()),
            std::move(plan),
            batches,
            seed,
            prefetch};
  }
  template <class S>
  static std::uint64_t seed_of(const S& sampler) {
    if constexpr (requires { sampler.seed(); })
      return sampler.seed();
    else
      return 0;
  }
  explicit DataLoader(detail::LoaderSource source);

  std::unique_ptr<detail::LoaderRun> run_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/data_loader.inl.hpp>
#endif
