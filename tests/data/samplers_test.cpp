#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include <attune/core/random.hpp>
#include <attune/data/samplers.hpp>
#include <attune/data/split.hpp>

using Order = std::vector<std::int64_t>;

namespace {

bool is_permutation_of_rows(Order order, std::int64_t size) {
  Order rows(static_cast<std::size_t>(size));
  std::iota(rows.begin(), rows.end(), 0);
  std::sort(order.begin(), order.end());
  return order == rows;
}

std::vector<std::int32_t> some_lengths(std::int64_t rows) {
  attune::RandomStream random(5);
  std::vector<std::int32_t> lengths;
  for (std::int64_t row = 0; row < rows; ++row)
    lengths.push_back(3 + static_cast<std::int32_t>(random.below(60)));
  return lengths;
}

}  // namespace

TEST_CASE("SequentialSampler") {
  const attune::SequentialSampler sampler(4);
  CHECK(sampler.indices(0) == Order{0, 1, 2, 3});
  CHECK(sampler.indices(7) == Order{0, 1, 2, 3});
  CHECK(attune::SequentialSampler(0).indices(0).empty());
  CHECK_THROWS_AS(attune::SequentialSampler(-1), attune::ConfigError);
}

TEST_CASE("RandomSampler: a new permutation for every epoch and seed, the same again") {
  const attune::RandomSampler sampler(1000, 42);
  std::set<Order> seen;
  for (std::uint64_t epoch = 0; epoch < 5; ++epoch) {
    const Order order = sampler.indices(epoch);
    CHECK(is_permutation_of_rows(order, 1000));
    CHECK(order == attune::RandomSampler(1000, 42).indices(epoch));
    seen.insert(order);
  }
  seen.insert(attune::RandomSampler(1000, 43).indices(0));
  CHECK(seen.size() == 6);
  CHECK(attune::RandomSampler(0, 1).indices(0).empty());
  CHECK(attune::RandomSampler(1, 1).indices(0) == Order{0});
  CHECK_THROWS_AS(attune::RandomSampler(-1), attune::ConfigError);
}

TEST_CASE("RandomSampler: all permutations are equally likely") {
  std::map<Order, int> counts;
  constexpr int draws = 24000;
  const attune::RandomSampler sampler(4, 7);
  for (std::uint64_t epoch = 0; epoch < draws; ++epoch) ++counts[sampler.indices(epoch)];
  CHECK(counts.size() == 24);
  double chi_square = 0;
  for (const auto& [order, count] : counts) chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  CHECK(chi_square < 49.7);  // 0.1 % of a chi-square with 23 degrees of freedom lies above
}

TEST_CASE("LengthGroupedSampler: a permutation, sorted inside mega-batches, longest row first") {
  constexpr std::int64_t rows = 1003, batch_size = 8;
  const auto lengths = some_lengths(rows);
  const attune::LengthGroupedSampler sampler(lengths, batch_size, 3);
  const auto length = [&](std::int64_t row) { return lengths[static_cast<std::size_t>(row)]; };
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    const Order order = sampler.indices(epoch);
    CHECK(is_permutation_of_rows(order, rows));
    CHECK(length(order[0]) == *std::max_element(lengths.begin(), lengths.end()));
    // Padding that batches of this order would need, against a plain shuffle.
    const auto padding = [&](const Order& some) {
      std::int64_t wasted = 0;
      for (std::size_t begin = 0; begin < some.size(); begin += batch_size) {
        const std::size_t end = std::min(begin + batch_size, some.size());
        std::int32_t longest = 0;
        for (std::size_t at = begin; at < end; ++at) longest = std::max(longest, length(some[at]));
        for (std::size_t at = begin; at < end; ++at) wasted += longest - length(some[at]);
      }
      return wasted;
    };
    CHECK(padding(order) * 4 < padding(attune::RandomSampler(rows, 3).indices(epoch)));
  }
  CHECK(sampler.indices(0) != sampler.indices(1));
  CHECK(sampler.indices(1) == attune::LengthGroupedSampler(lengths, batch_size, 3).indices(1));
  CHECK(attune::LengthGroupedSampler(std::vector<std::int32_t>{}, 4).indices(0).empty());
  CHECK_THROWS_AS(attune::LengthGroupedSampler(lengths, 0), attune::ConfigError);
}

TEST_CASE(
    "TokenBudgetBatchSampler: every row once, no batch above the budget, a constant number of batches") {
  const auto lengths = some_lengths(500);
  const attune::TokenBudgetBatchSampler sampler(lengths, 256, 11);
  std::vector<std::vector<Order>> epochs;
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    const auto batches = sampler.batches(epoch);
    CHECK(static_cast<std::int64_t>(batches.size()) == sampler.size());
    Order all;
    std::int64_t tokens = 0;
    for (const Order& batch : batches) {
      REQUIRE_FALSE(batch.empty());
      std::int64_t in_batch = 0;
      for (const std::int64_t row : batch) in_batch += lengths[static_cast<std::size_t>(row)];
      CHECK(in_batch <= 256);
      tokens += in_batch;
      all.insert(all.end(), batch.begin(), batch.end());
    }
    CHECK(is_permutation_of_rows(all, 500));
    CHECK(static_cast<double>(tokens) >
          0.8 * 256 * static_cast<double>(sampler.size()));  // they are well filled
    epochs.push_back(batches);
  }
  CHECK(epochs[0] != epochs[1]);
  CHECK(epochs[1] == attune::TokenBudgetBatchSampler(lengths, 256, 11).batches(1));
  CHECK_THROWS_WITH_AS(attune::TokenBudgetBatchSampler(std::vector<std::int32_t>{5, 9}, 8),
                       "TokenBudgetBatchSampler: max_tokens is 8, but row 1 alone has 9 tokens",
                       attune::ConfigError);
}

TEST_CASE("random_split and every_kth_split: two disjoint sorted parts that make the whole") {
  for (const double fraction : {0.001, 0.2, 0.5, 0.999}) {
    const attune::Split split = attune::random_split(101, fraction, 9);
    Order all = split.train;
    all.insert(all.end(), split.validation.begin(), split.validation.end());
    CHECK(is_permutation_of_rows(all, 101));
    CHECK(std::is_sorted(split.train.begin(), split.train.end()));
    CHECK(std::is_sorted(split.validation.begin(), split.validation.end()));
  }
  CHECK(attune::random_split(101, 0.2, 9).validation.size() == 20);
  CHECK(attune::random_split(101, 0.0001).validation.size() == 1);
  CHECK(attune::random_split(101, 0.9999).train.size() == 1);
  CHECK(attune::random_split(101, 0.2, 9).validation == attune::random_split(101, 0.2, 9).validation);
  CHECK(attune::random_split(101, 0.2, 9).validation != attune::random_split(101, 0.2, 10).validation);
  for (const double wrong : {0.0, 1.0, -0.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(attune::random_split(10, wrong), attune::ConfigError);
  CHECK_THROWS_AS(attune::random_split(1, 0.5), attune::ConfigError);

  const attune::Split fifth = attune::every_kth_split(12, 5);
  CHECK(fifth.validation == Order{4, 9});
  CHECK(fifth.train == Order{0, 1, 2, 3, 5, 6, 7, 8, 10, 11});
  CHECK_THROWS_AS(attune::every_kth_split(12, 1), attune::ConfigError);
  CHECK_THROWS_AS(attune::every_kth_split(12, 13), attune::ConfigError);
}

TEST_CASE("balanced class weights are scikit-learn's") {
  // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 0, 1, 1, 2, 0])
  const std::vector<std::int32_t> labels{0, 0, 0, 0, 1, 1, 2, 0, -100};
  const auto weights = attune::balanced_class_weights(labels, 3);
  CHECK(weights[0] == doctest::Approx(0.53333333).epsilon(1e-6));
  CHECK(weights[1] == doctest::Approx(1.33333333).epsilon(1e-6));
  CHECK(weights[2] == doctest::Approx(2.66666667).epsilon(1e-6));
  CHECK_THROWS_AS(attune::balanced_class_weights(labels, 2), attune::ConfigError);
  CHECK_THROWS_AS(attune::balanced_class_weights(labels, 4), attune::ConfigError);
  CHECK_THROWS_AS(attune::balanced_class_weights(labels, 0), attune::ConfigError);
}

TEST_CASE("length-grouped: a batch size that is larger than any dataset") {
  const std::vector<std::int32_t> lengths{3, 1, 2};
  const attune::LengthGroupedSampler sampler(lengths, std::numeric_limits<std::int64_t>::max(), 1);
  CHECK(sampler.indices(0) == std::vector<std::int64_t>{0, 2, 1});
}
