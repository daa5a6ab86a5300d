#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <attune/data/data_loader.hpp>

using attune::Batch;
using attune::DataLoader;
using attune::DataLoaderState;

namespace {

/// A row's token is the row's number, its label the epoch.
struct CountingDataset {
  std::int64_t rows = 10;
  std::int64_t fails_at = -1;
  std::chrono::microseconds delay{0};
  mutable std::atomic<int> made{0};

  std::int64_t size() const { return rows; }
  Batch batch(std::span<const std::int64_t> chosen, std::uint64_t epoch) const {
    if (delay.count() > 0) std::this_thread::sleep_for(delay);
    Batch batch;
    for (const std::int64_t row : chosen) {
      if (row == fails_at) throw attune::FormatError("rows.tsv", row, "broken row");
      batch.input_ids.push_back(static_cast<std::int32_t>(row));
      batch.labels.push_back(static_cast<std::int32_t>(epoch));
      batch.segments.append(1);
      batch.rows.push_back(row);
    }
    ++made;
    return batch;
  }
};

/// What a loop saw: the rows of each batch, after the epoch.
using Seen = std::vector<std::vector<std::int64_t>>;

std::vector<std::int64_t> seen_of(const Batch& batch) {
  std::vector<std::int64_t> seen{batch.labels.at(0)};
  seen.insert(seen.end(), batch.rows.begin(), batch.rows.end());
  return seen;
}

Seen run_epoch(DataLoader& loader) {
  Seen seen;
  for (const auto& batch : loader) seen.push_back(seen_of(batch));
  return seen;
}

}  // namespace

TEST_CASE("a loop is an epoch; the next loop is the next epoch") {
  const CountingDataset dataset;
  for (const std::int64_t prefetch : {0, 1, 2, 100}) {
    DataLoader loader(dataset, attune::SequentialSampler(10), {.batch_size = 4, .prefetch = prefetch});
    CHECK(loader.size() == 3);
    CHECK(run_epoch(loader) == Seen{{0, 0, 1, 2, 3}, {0, 4, 5, 6, 7}, {0, 8, 9}});
    CHECK(run_epoch(loader) == Seen{{1, 0, 1, 2, 3}, {1, 4, 5, 6, 7}, {1, 8, 9}});
  }
}

TEST_CASE("drop_last, whole batches and the batch sizes that are refused") {
  const CountingDataset dataset;
  DataLoader loader(dataset, attune::SequentialSampler(10), {.batch_size = 4, .drop_last = true});
  CHECK(loader.size() == 2);
  CHECK(run_epoch(loader) == Seen{{0, 0, 1, 2, 3}, {0, 4, 5, 6, 7}});
  DataLoader exact(dataset, attune::SequentialSampler(10), {.batch_size = 5, .drop_last = true});
  CHECK(exact.size() == 2);
  DataLoader huge(dataset, attune::SequentialSampler(10),
                  {.batch_size = std::numeric_limits<std::int64_t>::max()});
  CHECK(run_epoch(huge) == Seen{{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}});
  const auto make = [&](const attune::DataLoaderOptions& options) {
    DataLoader refused(dataset, attune::SequentialSampler(10), options);
  };
  CHECK_THROWS_AS(make({.batch_size = 0}), attune::ConfigError);
  CHECK_THROWS_AS(make({.batch_size = 1, .prefetch = -1}), attune::ConfigError);
  CHECK_THROWS_AS(make({.batch_size = 11, .drop_last = true}), attune::ConfigError);
}

TEST_CASE("no rows, no batches") {
  const CountingDataset dataset{.rows = 0};
  DataLoader loader(dataset, attune::RandomSampler(0), {.batch_size = 4});
  CHECK(loader.size() == 0);
  CHECK(run_epoch(loader).empty());
}

TEST_CASE("the batches do not depend on prefetch, nor on who is faster") {
  const CountingDataset quick{.rows = 57};
  const CountingDataset slow{.rows = 57, .delay = std::chrono::microseconds(300)};
  DataLoader reference(quick, attune::RandomSampler(57, 42), {.batch_size = 4, .prefetch = 0});
  DataLoader ahead(slow, attune::RandomSampler(57, 42), {.batch_size = 4, .prefetch = 3});
  for (int epoch = 0; epoch < 3; ++epoch) CHECK(run_epoch(reference) == run_epoch(ahead));
}

TEST_CASE("the background thread runs at most prefetch batches ahead, besides the one it has in the making") {
  const CountingDataset dataset{.rows = 100};
  DataLoader loader(dataset, attune::SequentialSampler(100), {.batch_size = 1, .prefetch = 3});
  int taken = 0;
  for (const auto& batch : loader) {
    static_cast<void>(batch);
    ++taken;
    if (taken % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(dataset.made <= taken + 3 + 1);
  }
  CHECK(taken == 100);
}

TEST_CASE("a run resumed at any step sees exactly the batches of the run that never stopped") {
  const CountingDataset dataset{.rows = 23};
  const auto make = [&] { return DataLoader(dataset, attune::RandomSampler(23, 5), {.batch_size = 4}); };
  constexpr int epochs = 3;

  // The steps of three epochs, and the position after each step.
  Seen all;
  std::vector<DataLoaderState> states;
  DataLoader straight = make();
  states.push_back(straight.state());
  for (int epoch = 0; epoch < epochs; ++epoch)
    for (const auto& batch : straight) {
      all.push_back(seen_of(batch));
      states.push_back(straight.state());
    }
  REQUIRE(all.size() == 18);

  for (std::size_t step = 0; step < states.size(); ++step) {
    CAPTURE(step);
    // Through integers, as a checkpoint stores it.
    const auto integers = states[step].to_integers();
    const DataLoaderState state = DataLoaderState::from_integers(integers);
    CHECK(state == states[step]);
    DataLoader resumed = make();
    resumed.load_state(state);
    CHECK(resumed.state() == state);
    Seen rest;
    for (auto epoch = state.epoch; epoch < epochs; ++epoch)
      for (const auto& batch : resumed) {
        rest.push_back(seen_of(batch));
        CHECK(resumed.state() == states[step + rest.size()]);
      }
    CHECK(rest == Seen(all.begin() + static_cast<std::ptrdiff_t>(step), all.end()));
  }
}

TEST_CASE("the state in the last batch is the end of that epoch; after the loop it is the next one's begin") {
  const CountingDataset dataset;
  DataLoader loader(dataset, attune::SequentialSampler(10), {.batch_size = 5});
  CHECK(loader.state() == DataLoaderState{0, 0, 0, 2, 10});
  DataLoaderState last;
  for (const auto& batch : loader) {
    static_cast<void>(batch);
    last = loader.state();
  }
  CHECK(last == DataLoaderState{0, 2, 0, 2, 10});
  CHECK(loader.state() == DataLoaderState{1, 0, 0, 2, 10});
  loader.load_state(last);
  CHECK(run_epoch(loader).empty());
  CHECK(run_epoch(loader) == Seen{{1, 0, 1, 2, 3, 4}, {1, 5, 6, 7, 8, 9}});
}

TEST_CASE("a loop that is left early: the next loop is the next epoch, unless a state is loaded") {
  const CountingDataset dataset;
  DataLoader loader(dataset, attune::SequentialSampler(10), {.batch_size = 5});
  DataLoaderState state;
  for (const auto& batch : loader) {
    static_cast<void>(batch);
    state = loader.state();
    break;
  }
  CHECK(loader.state() == DataLoaderState{0, 1, 0, 2, 10});
  CHECK(run_epoch(loader) == Seen{{1, 0, 1, 2, 3, 4}, {1, 5, 6, 7, 8, 9}});
  loader.load_state(state);
  CHECK(run_epoch(loader) == Seen{{0, 5, 6, 7, 8, 9}});
}

TEST_CASE("a state of another run is refused") {
  const CountingDataset dataset;
  DataLoader loader(dataset, attune::RandomSampler(10, 1), {.batch_size = 5});
  const DataLoaderState good = loader.state();
  const auto refused = [&](DataLoaderState state) {
    CHECK_THROWS_AS(loader.load_state(state), attune::ConfigError);
  };
  refused({good.epoch, good.batch, 2, good.batches, good.rows});
  refused({good.epoch, good.batch, good.seed, 3, good.rows});
  refused({good.epoch, good.batch, good.seed, good.batches, 11});
  refused({good.epoch, 3, good.seed, good.batches, good.rows});
  CHECK_THROWS_AS(DataLoaderState::from_integers(std::vector<std::uint64_t>{1, 2, 3}), attune::ConfigError);
  CHECK(loader.state() == good);
}

TEST_CASE("what the dataset throws comes out where its batch would have come, and the loader can go on") {
  const CountingDataset dataset{.fails_at = 7};
  for (const std::int64_t prefetch : {0, 1, 8}) {
    DataLoader loader(dataset, attune::SequentialSampler(10), {.batch_size = 2, .prefetch = prefetch});
    for (int epoch = 0; epoch < 2; ++epoch) {
      std::vector<std::int64_t> rows;
      try {
        for (const auto& batch : loader) rows.insert(rows.end(), batch.rows.begin(), batch.rows.end());
        FAIL("no exception");
      } catch (const attune::FormatError& error) {
        CHECK(error.offset == 7);
      }
      CHECK(rows == std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});
    }
  }
}

TEST_CASE("rows outside the dataset and wrong numbers of batches are refused") {
  const CountingDataset dataset;
  DataLoader loader(dataset, attune::SequentialSampler(11), {.batch_size = 2});
  CHECK_THROWS_AS(loader.begin(), attune::ConfigError);
  struct Liar {
    std::vector<std::int64_t> indices(std::uint64_t) const { return {0, 1, 2}; }
    std::int64_t size() const { return 10; }
  };
  DataLoader lying(dataset, Liar(), {.batch_size = 2});
  CHECK_THROWS_AS(lying.begin(), attune::ConfigError);
}

TEST_CASE("batch samplers") {
  const CountingDataset dataset{.rows = 6};
  const std::vector<std::int32_t> lengths{5, 1, 4, 2, 3, 5};
  const attune::TokenBudgetBatchSampler sampler(lengths, 6, 3);
  DataLoader loader(dataset, sampler, {.prefetch = 1});
  CHECK(loader.size() == sampler.size());
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    Seen expected = sampler.batches(epoch);
    for (auto& batch : expected) batch.insert(batch.begin(), static_cast<std::int64_t>(epoch));
    CHECK(run_epoch(loader) == expected);
  }
  CHECK(loader.state().seed == 3);
  DataLoader plain(dataset, sampler);
  CHECK(plain.size() == sampler.size());
}

TEST_CASE("a loader may be destroyed, moved, restarted or repositioned at any moment") {
  const CountingDataset dataset{.rows = 40, .delay = std::chrono::microseconds(50)};
  const auto make = [&](std::int64_t prefetch) {
    return DataLoader(dataset, attune::RandomSampler(40, 1), {.batch_size = 1, .prefetch = prefetch});
  };
  for (int round = 0; round < 150; ++round) {
    DataLoader loader = make(1 + round % 4);
    if (round % 7 == 0) continue;  // never begun
    int left = round % 11;
    for (const auto& batch : loader) {
      CHECK(batch.size() == 1);
      if (left-- == 0) break;
    }
    if (round % 3 == 0) loader.load_state({2, 39, 1, 40, 40});
    if (round % 5 == 0) loader.begin();
    DataLoader moved = std::move(loader);
    if (round % 2 == 0) moved.begin();
    moved = make(2);
  }
  for (int round = 0; round < 50; ++round) {  // an exception waits in the queue while the loader goes
    const CountingDataset failing{.fails_at = round % 10};
    DataLoader loader(failing, attune::SequentialSampler(10), {.batch_size = 1, .prefetch = 4});
    try {
      loader.begin();
    } catch (const attune::FormatError&) {
    }
  }
}

TEST_CASE("a temporary dataset does not compile") {
  using attune::RandomSampler;
  CHECK(
      std::is_constructible_v<DataLoader, const CountingDataset&, RandomSampler, attune::DataLoaderOptions>);
  CHECK_FALSE(std::is_constructible_v<DataLoader, CountingDataset, RandomSampler, attune::DataLoaderOptions>);
  CHECK_FALSE(std::is_constructible_v<DataLoader, CountingDataset, RandomSampler>);
  CHECK_FALSE(std::is_copy_constructible_v<DataLoader>);
}
