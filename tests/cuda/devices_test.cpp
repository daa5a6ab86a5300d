// Two GPUs in one process, by ordinal.
#include <doctest/doctest.h>
#include <attune/optim/adamw.hpp>

#include <cstdint>
#include <vector>

#include "tested_device.hpp"
#include "train/tiny.hpp"

using namespace attune;
using namespace attune::testing;
using train_test::TinyModel;

namespace {

/// The machine has two devices while this lives.
class TwoDevices {
 public:
  TwoDevices() { cuda_emulation::config().devices = 2; }
  ~TwoDevices() { cuda_emulation::config().devices = 1; }
};

}  // namespace

TEST_CASE("Cuda: models train on two devices in turn, each in its own memory") {
  const Cuda first = tested_device();
  const TwoDevices two;
  const Cuda second(1);
  CHECK(second.name() == "cuda:1");
  CHECK(!(first == second));
  second.context().memory().set_caching(false);
  const std::size_t before = first.memory_stats().current;
  {
    const TinyModel<float, Cuda> a(first), b(second);
    CHECK(first.memory_stats().current - before == second.memory_stats().current);
    AdamW optimizer_a(a.parameters(), {.lr = 1e-2}), optimizer_b(b.parameters(), {.lr = 1e-2});
    for (std::int64_t step = 0; step < 2; ++step) {
      const Batch batch = train_test::TinyDataset{}.batch(std::vector<std::int64_t>{step, step + 7}, 0);
      optimizer_a.zero_grad();
      optimizer_b.zero_grad();
      auto loss_a = a.loss(batch), loss_b = b.loss(batch);
      loss_b.backward();
      loss_a.backward();
      optimizer_a.step();
      optimizer_b.step();
      CHECK(loss_a.item() == loss_b.item());
    }
    CHECK(a.weights() == b.weights());
    // An optimizer's parameters lie on one device.
    const TinyModel<float, Cuda> c(first), d(second);
    ParameterList<Cuda> mixed = c.parameters();
    mixed.items.push_back(d.parameters().items.front());
    CHECK_THROWS_AS(AdamW(mixed, {.lr = 1e-2}), ConfigError);
  }
  CHECK(first.memory_stats().current == before);
  CHECK(second.memory_stats().current == 0);
  CHECK_THROWS_WITH_AS(Cuda(2), doctest::Contains("no device 2, the last is 1"), DeviceError);
}

TEST_CASE("Cuda: work of one device on arrays of the other is found") {
  const Cuda first = tested_device();
  const TwoDevices two;
  const Cuda second(1);
  const auto x = Detached<float, Cuda>::full(first, {5}, 1.0);
  second.axpby(1.0f, x.span(), 1.0f, x.span());
  CHECK_THROWS_WITH_AS(second.synchronize(), doctest::Contains("memory of another device"),
                       cuda_emulation::Error);
}
