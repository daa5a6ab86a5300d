#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/train/accumulate.hpp>

#include <cmath>
#include <vector>

#include "train/tiny.hpp"

using namespace attune;
using namespace train_test;

namespace {

std::vector<std::int64_t> range(std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> rows;
  for (std::int64_t row = begin; row < end; ++row) rows.push_back(row);
  return rows;
}

/// The gradients of all parameters after `f`, one after the other.
template <class B, class F>
std::vector<double> gradients(const TinyModel<double, B>& model, const F& f) {
  model.run->samples = 0;
  for (const auto& parameter : model.parameters()) parameter.state->has_grad = false;
  f();
  std::vector<double> all;
  for (const auto& parameter : {model.words, model.hidden, model.hidden_bias, model.head}) {
    const std::vector<double> values = parameter.grad().to_vector();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace

TEST_CASE("accumulated micro-batches give the gradient of the big batch, dropout masks included") {
  // In double the two agree to rounding, so nothing but the weights and masks can be responsible.
  const TinyModel<double, Reference> model{Reference{}};
  const TinyDataset dataset;
  for (const bool class_weighted : {false, true}) {
    CAPTURE(class_weighted);
    CrossEntropyLossOptions options;
    if (class_weighted) options.class_weights = {1.0f, 3.0f, 0.5f, 0.0f};
    double big_loss = 0.0, summed_loss = 0.0;
    const auto big = gradients(model, [&] {
      const auto loss = model.loss(dataset.batch(range(0, 17), 0), options);
      big_loss = loss.item();
      loss.backward();
    });
    const auto small = gradients(model, [&] {
      // Unequal sizes, and one micro-batch (row 1 alone) in which no row counts.
      const auto step = micro_batches({dataset.batch(range(0, 1), 0), dataset.batch(range(1, 2), 0),
                                       dataset.batch(range(2, 9), 0), dataset.batch(range(9, 17), 0)},
                                      options.class_weights);
      REQUIRE(step.size() == 4);
      CHECK(step[1].weight == 0.0);
      double total = 0.0;
      for (const MicroBatch& micro : step) {
        const auto loss = model.loss(micro.batch, options);
        if (micro.weight > 0.0) summed_loss += micro.weight * loss.item();
        backward(loss, micro.weight);
        total += micro.weight;
      }
      CHECK(total == doctest::Approx(1.0).epsilon(1e-15));
    });
    CHECK(summed_loss == doctest::Approx(big_loss).epsilon(1e-7));  // a loss divides by a float count
    REQUIRE(big.size() == small.size());
    double worst = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < big.size(); ++i) {
      worst = std::max(worst, std::abs(big[i] - small[i]));
      largest = std::max(largest, std::abs(big[i]));
    }
    CHECK(worst < 1e-13);
    CHECK(largest > 1e-3);
  }
}

TEST_CASE("the unweighted mean of micro-batches is not the big batch: the weights matter") {
  const TinyModel<double, Reference> model{Reference{}};
  const TinyDataset dataset;
  const auto big = gradients(model, [&] { model.loss(dataset.batch(range(0, 17), 0)).backward(); });
  const auto naive = gradients(model, [&] {
    backward(model.loss(dataset.batch(range(0, 3), 0)), 0.5);
    backward(model.loss(dataset.batch(range(3, 17), 0)), 0.5);
  });
  double worst = 0.0;
  for (std::size_t i = 0; i < big.size(); ++i) worst = std::max(worst, std::abs(big[i] - naive[i]));
  CHECK(worst > 1e-3);
}

TEST_CASE("counted_rows: labels, class weights, targets, or sequences") {
  Batch batch;
  batch.segments.append(2);
  batch.segments.append(1);
  CHECK(counted_rows(batch) == 2.0);
  batch.targets = {1, 0, 1, 1, 0, 0};
  CHECK(counted_rows(batch) == 6.0);
  batch.labels = {1, ignore_index, 2};
  CHECK(counted_rows(batch) == 2.0);
  const std::vector<float> weights{1.0f, 0.5f, 4.0f};
  CHECK(counted_rows(batch, weights) == 4.5);
  batch.labels[0] = 3;
  CHECK_THROWS_AS(counted_rows(batch, weights), ConfigError);
  CHECK(micro_batches({}).empty());
}

TEST_CASE(
    "accumulate(loader, n): every batch once, the last step shorter, and the loader's state is the step's") {
  const TinyDataset dataset;
  const DataLoaderOptions options{.batch_size = 4};
  const auto rows_of = [](const std::vector<MicroBatch>& step) {
    std::vector<std::int64_t> rows;
    for (const MicroBatch& micro : step)
      rows.insert(rows.end(), micro.batch.rows.begin(), micro.batch.rows.end());
    return rows;
  };
  for (const std::int64_t steps : {1, 3, 5, 10, 11}) {
    CAPTURE(steps);
    DataLoader plain(dataset, RandomSampler(dataset.size(), 9), options);
    std::vector<std::int64_t> expected;
    for (const Batch& batch : plain) expected.insert(expected.end(), batch.rows.begin(), batch.rows.end());

    DataLoader loader(dataset, RandomSampler(dataset.size(), 9), options);
    auto accumulated = accumulate(loader, steps);
    CHECK(accumulated.size() == (10 + steps - 1) / steps);
    std::vector<std::int64_t> found;
    std::vector<DataLoaderState> states;
    std::vector<std::vector<std::int64_t>> each;
    for (const auto& step : accumulated) {
      each.push_back(rows_of(step));
      found.insert(found.end(), each.back().begin(), each.back().end());
      states.push_back(loader.state());
    }
    CHECK(found == expected);
    CHECK(static_cast<std::int64_t>(each.size()) == accumulated.size());
    for (std::size_t at = 0; at + 1 < states.size(); ++at) {
      DataLoader resumed(dataset, RandomSampler(dataset.size(), 9), options);
      resumed.load_state(states[at]);
      std::vector<std::vector<std::int64_t>> rest;
      for (const auto& step : accumulate(resumed, steps)) rest.push_back(rows_of(step));
      CHECK(rest == std::vector<std::vector<std::int64_t>>(each.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                                           each.end()));
    }
  }
  DataLoader loader(dataset, SequentialSampler(dataset.size()), options);
  CHECK_THROWS_AS(accumulate(loader, 0), ConfigError);
}
