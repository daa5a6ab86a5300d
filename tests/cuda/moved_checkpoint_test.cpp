// Training checkpoints move between the CPU and the CUDA backend.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <vector>

#include "tested_device.hpp"
#include "train/tiny_run.hpp"
#include "training_runs.hpp"

using namespace attune;
using namespace attune::testing;
using train_test::TinyRun;

namespace {

/// A run that stops on From and goes on, on To, with dropout, accumulation, clipping and a schedule: the
/// checkpoint's bits are there, and what follows is what would have followed.
template <class From, class To>
void check_moved() {
  constexpr std::size_t stop = 4, last = 8;
  const train_test::TemporaryDirectory whole, place;
  const auto expected = TinyRun<float, From>(whole.path(), 0).train(last);
  TinyRun<float, From>(place.path(), 0).train(stop);

  TinyRun<float, To> moved(place.path(), 0);
  const auto loaded = moved.resume();
  REQUIRE(loaded.has_value());
  CHECK(loaded->step == stop);
  CHECK(moved.model.weights() == expected[stop - 1]);
  const auto rest = moved.train(last);
  REQUIRE(rest.size() == last - stop);
  for (std::size_t step = 0; step < rest.size(); ++step) {
    CAPTURE(step);
    CHECK(relative_error(rest[step], expected[stop + step]) < 1e-5);
  }
}

}  // namespace

TEST_CASE("Cuda: a training checkpoint of the CPU goes on") {
  tested_device();
  check_moved<Cpu, Cuda>();
}
TEST_CASE("Cuda: the CPU goes on from a training checkpoint") {
  tested_device();
  check_moved<Cuda, Cpu>();
}
