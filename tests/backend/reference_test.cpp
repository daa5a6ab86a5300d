#include <doctest/doctest.h>
#include <attune/backend/reference/reference.hpp>

#include "suites/gradient_cases.hpp"
#include "suites/optimizer_suite.hpp"

using namespace attune;
using namespace attune::testing;

TEST_CASE("Reference: every backward is the derivative of its forward") {
  const Reference device;
  for (const GradientCase& gradient_case : gradient_cases(device)) check_gradient(gradient_case);
}

TEST_CASE("Reference: dropout reads the documented Philox words") {
  const std::vector<std::int32_t> samples{4, 9}, positions{100, 3};
  const DropoutView dropout{0.4f, {11, 12}, 21, samples.data(), positions.data()};
  std::vector<double> x(2 * 11, 1.0), y(x.size());
  Reference{}.dropout(MatrixView<double>{x.data(), 2, 11, 11}, dropout,
                      MatrixView<double>{y.data(), 2, 11, 11});
  for (std::uint32_t row = 0; row < 2; ++row)
    for (std::uint32_t column = 0; column < 11; ++column) {
      const Philox::Counter words = Philox::generate({column / 4, static_cast<std::uint32_t>(positions[row]),
                                                      static_cast<std::uint32_t>(samples[row]), 21u << 16},
                                                     {11, 12});
      const bool dropped = words[column % 4] < static_cast<std::uint32_t>(double{0.4f} * 4294967296.0);
      CHECK(y[row * 11 + column] == (dropped ? 0.0 : doctest::Approx(1.0 / 0.6)));
    }
}

TEST_CASE("Reference: dropout drops its share and keeps the mean") {
  constexpr std::int64_t rows = 200, cols = 500;
  std::vector<std::int32_t> samples(rows, 3), positions(rows);
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(i);
  std::vector<double> x(rows * cols, 1.0), y(x.size());
  double mean = 0.0;
  Reference{}.dropout(MatrixView<double>{x.data(), rows, cols, cols},
                      {0.1f, {1, 0}, 0, samples.data(), positions.data()},
                      MatrixView<double>{y.data(), rows, cols, cols});
  std::int64_t dropped = 0;
  for (const double value : y) {
    mean += value / double(rows * cols);
    dropped += value == 0.0;
  }
  // Binomial: 100000 draws at 0.1 have a standard deviation of 95.
  CHECK(std::abs(double(dropped) - 10000.0) < 4 * 95.0);
  CHECK(std::abs(mean - 1.0) < 4 * 95.0 / 90000.0);
}

TEST_CASE("Reference: gradient norm, clipping, and a step that is skipped") { check_clipping(Reference{}); }
