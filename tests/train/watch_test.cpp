// Audit, early stopping, snapshots and averages.

#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/train/audit.hpp>
#include <attune/train/early_stopping.hpp>
#include <attune/train/ema.hpp>
#include <attune/train/weights.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "train/tiny.hpp"

using namespace attune;
using namespace train_test;

namespace {

const std::vector<std::int64_t> some_rows{0, 2, 3, 4, 5};

template <class T, class B, class O>
void train_step(const TinyModel<T, B>& model, O& optimizer) {
  optimizer.zero_grad();
  model.loss(TinyDataset{}.batch(some_rows, 0)).backward();
  optimizer.step();
}

}  // namespace

TEST_CASE_TEMPLATE("audit: the parameter that got no finite gradient is named", B, Reference, Cpu) {
  TinyModel<float, B> model{B{}};
  auto parameters = model.parameters();
  // The loss never sees this one.
  const Parameter<float, B> stray(model.device, {3});
  stray.assign(std::vector<float>{1, 2, 3});
  model.loss(TinyDataset{}.batch(some_rows, 0)).backward();
  CHECK(audit_gradients(parameters).passed());
  CHECK_NOTHROW(require_gradients(parameters));

  parameters.items.push_back({"stray.bias", stray.state(), 0, 3});
  CHECK(audit_gradients(parameters).missing == std::vector<std::string>{"stray.bias"});
  CHECK_THROWS_WITH_AS(require_gradients(parameters), doctest::Contains("no gradient reached stray.bias;"),
                       TrainingError);
  set_trainable(parameters.items.back(), false);
  CHECK_NOTHROW(require_gradients(parameters));

  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Gradient<float, B> gradient(model.head.rows(2, 4));
    std::vector<float> values(24, 0.5f);
    values[23] = broken;
    gradient.target().copy_from(values);
    CHECK(audit_gradients(parameters).not_finite == std::vector<std::string>{"head.upper"});
    CHECK_THROWS_WITH_AS(require_gradients(parameters), doctest::Contains("not finite in head.upper"),
                         TrainingError);
  }

  // A fused part that was left out shows as a gradient of exactly 0, which is told and no error.
  model.head.zero_grad();
  Gradient<float, B>(model.head.rows(0, 2)).write([](const Detached<float, B>& out) {
    out.copy_from(std::vector<float>(24, 1.0f));
  });
  std::string told;
  set_log_sink([&](LogLevel, std::string_view text) { told = text; });
  require_gradients(parameters);
  set_log_sink({});
  CHECK(told.find("exactly 0 in head.upper") != told.npos);
}

TEST_CASE("audit: double parameters, and long lists are cut") {
  const TinyModel<double, Reference> model{Reference{}};
  CHECK(audit_gradients(model.parameters()).missing.size() == 5);
  auto many = model.parameters();
  for (int i = 0; i < 2; ++i) many.items.push_back(NamedParameter<Reference>(many.items[0]));
  CHECK_THROWS_WITH_AS(require_gradients(many), doctest::Contains("and 2 more"), TrainingError);
  model.loss(TinyDataset{}.batch(some_rows, 0)).backward();
  CHECK(audit_gradients(model.parameters()).passed());
  CHECK(audit_gradients(model.parameters()).zero.empty());
  model.hidden_bias.grad().copy_from(std::vector<double>(12, std::nan("")));
  CHECK(audit_gradients(model.parameters()).not_finite == std::vector<std::string>{"layer.0.bias"});
}

TEST_CASE("early stopping: patience, min_delta, direction, NaN") {
  EarlyStopping rising({.patience = 2});
  CHECK(rising.update(0.5));
  CHECK_FALSE(rising.update(0.5));  // equal is no improvement
  CHECK_FALSE(rising.should_stop());
  CHECK(rising.update(0.6));
  CHECK_FALSE(rising.update(std::nan("")));
  CHECK_FALSE(rising.update(0.55));
  CHECK(rising.should_stop());
  CHECK(rising.best() == 0.6);
  CHECK(rising.best_evaluation() == 3);

  EarlyStopping falling({.patience = 1, .min_delta = 0.1, .higher_is_better = false});
  CHECK_FALSE(falling.update(std::nan("")));  // a first NaN is not the best
  CHECK(falling.should_stop());
  CHECK(falling.update(-1.0));
  CHECK_FALSE(falling.update(-1.05));
  CHECK(falling.should_stop());
  CHECK(falling.update(-1.2));
  CHECK_FALSE(falling.should_stop());

  EarlyStopping copy({.patience = 2});
  copy.load_state(rising.state());
  CHECK(copy.should_stop());
  CHECK_THROWS_AS(copy.load_state({0.5, 1, 2}), ConfigError);
  CHECK_THROWS_AS(EarlyStopping({.patience = 0}), ConfigError);
  CHECK_THROWS_AS(EarlyStopping({.min_delta = -1.0}), ConfigError);
}

TEST_CASE_TEMPLATE("snapshot: the best weights come back, rounded copies too", B, Reference, Cpu) {
  const TinyModel<bfloat16, B> model{B{}};
  WeightSnapshot best(model.parameters());
  CHECK_FALSE(best.saved());
  CHECK_THROWS_AS(best.restore(), TrainingError);
  AdamW optimizer(model.parameters(), {.lr = 0.1});  // the masters move after the snapshot was made
  train_step(model, optimizer);
  best.save();
  const auto saved = model.weights();
  const auto head = model.head.value().to_vector();
  train_step(model, optimizer);
  best.save();  // a second time into the same memory
  CHECK(model.weights() != saved);
  const auto newer = model.weights();
  train_step(model, optimizer);
  const auto version = model.head.state()->value.version();
  best.restore();
  CHECK(model.weights() == newer);
  CHECK(model.head.state()->value.version() > version);
  const std::vector<bfloat16> rounded = model.head.value().to_vector();
  const std::vector<float> master = model.head.master().to_vector();
  for (std::size_t i = 0; i < master.size(); ++i) CHECK(rounded[i].bits == bfloat16(master[i]).bits);
  CHECK_THROWS_AS(WeightSnapshot(TinyModel<double, Reference>{Reference{}}.parameters()), GraphError);
}

TEST_CASE_TEMPLATE("EMA: the formula, and swapping in and out", B, Reference, Cpu) {
  const TinyModel<bfloat16, B> model{B{}};
  for (const bool warmup : {false, true}) {
    CAPTURE(warmup);
    AdamW optimizer(model.parameters(), {.lr = 0.05});
    Ema ema(model.parameters(), {.decay = 0.9, .warmup = warmup});
    std::vector<double> expected;
    for (const float weight : model.weights()) expected.push_back(double{weight});
    for (int n = 0; n < 4; ++n) {
      train_step(model, optimizer);
      ema.update();
      const double decay = warmup ? std::min(0.9, (1.0 + n) / (10.0 + n)) : 0.9;
      const std::vector<float> weights = model.weights();
      for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] = decay * expected[i] + (1.0 - decay) * double{weights[i]};
    }
    CHECK(ema.updates() == 4);
    const std::vector<float> before = model.weights();
    const std::vector<bfloat16> head = model.head.value().to_vector();
    {
      const EmaGuard averaged(ema);
      CHECK(ema.swapped());
      CHECK_THROWS_AS(ema.update(), TrainingError);
      const std::vector<float> weights = model.weights();
      CHECK(weights != before);
      for (std::size_t i = 0; i < expected.size(); ++i)
        REQUIRE(std::abs(double{weights[i]} - expected[i]) <= 2e-7);
      const std::vector<float> master = model.head.master().to_vector();
      const std::vector<bfloat16> rounded = model.head.value().to_vector();
      for (std::size_t i = 0; i < master.size(); ++i) CHECK(rounded[i].bits == bfloat16(master[i]).bits);
    }
    CHECK_FALSE(ema.swapped());
    CHECK(model.weights() == before);
    const std::vector<bfloat16> after = model.head.value().to_vector();
    for (std::size_t i = 0; i < head.size(); ++i) CHECK(after[i].bits == head[i].bits);
  }
  CHECK_THROWS_AS(Ema(model.parameters(), {.decay = 1.0}), ConfigError);
  CHECK_THROWS_AS(Ema(ParameterList<B>{}), ConfigError);
}
