// Products through cuBLASLt: plans that serve many numbers of rows, epilogues, TF32.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include <attune/backend/cuda/gemm.hpp>
#include <attune/core/random.hpp>
#include <attune/tensor/detached.hpp>

#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

std::vector<float> random_values(std::int64_t count, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(2.0f * random.uniform() - 1.0f);
  return values;
}

/// The first rows of a matrix that has more, which are NaN.
struct Padded {
  Detached<float, Cuda> all;
  MatrixView<float> rows;

  Padded(const Cuda& device, std::int64_t count, std::int64_t capacity, std::int64_t cols,
         std::uint64_t seed) {
    std::vector<float> values = random_values(capacity * cols, seed);
    for (std::int64_t i = count * cols; i < capacity * cols; ++i)
      values[static_cast<std::size_t>(i)] = std::numeric_limits<float>::quiet_NaN();
    all = Detached<float, Cuda>::from_values(device, {capacity, cols}, values);
    rows = {all.data(), count, cols, cols};
  }
  /// Whether exactly the first rows are numbers.
  bool is_whole() const {
    const std::vector<float> values = all.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i)
      if (std::isnan(values[i]) != (static_cast<std::int64_t>(i) >= rows.rows * rows.cols)) return false;
    return true;
  }
};

/// The largest relative error of 70 dot products of 256 numbers.
double product_error(const Cuda& device) {
  constexpr std::int64_t n = 7, m = 10, k = 256;
  const auto x = random_values(n * k, 1), w = random_values(m * k, 2);
  const auto on_device = [&](const std::vector<float>& values, std::int64_t rows) {
    return Detached<float, Cuda>::from_values(device, {rows, k}, values);
  };
  const auto a = on_device(x, n), b = on_device(w, m);
  const Detached<float, Cuda> c(device, {n, m});
  device.matmul(a.matrix(), b.matrix(), c.matrix(), {.transpose_b = true});
  const std::vector<float> found = c.to_vector();
  double worst = 0.0;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < m; ++j) {
      double sum = 0.0, size = 0.0;
      for (std::int64_t t = 0; t < k; ++t) {
        const double term =
            double{x[static_cast<std::size_t>(i * k + t)]} * double{w[static_cast<std::size_t>(j * k + t)]};
        sum += term;
        size += std::abs(term);
      }
      worst = std::max(worst, std::abs(double{found[static_cast<std::size_t>(i * m + j)]} - sum) / size);
    }
  return worst;
}

}  // namespace

TEST_CASE("Cuda: an algorithm is searched for a bucket of rows; what lies behind the rows is not touched") {
  const Cuda device = tested_device();
  constexpr std::int64_t features = 24, outputs = 16, most = 100;
  const cuda::GemmCounters before = cuda::gemm_counters();
  for (std::int64_t n = 1; n <= most; ++n) {
    CAPTURE(n);
    const Padded x(device, n, most + 15, features, 3), dy(device, n, most + 15, outputs, 4),
        y(device, 0, most + 15, outputs, 5), dx(device, 0, most + 15, features, 6);
    const auto w =
        Detached<float, Cuda>::from_values(device, {outputs, features}, random_values(outputs * features, 7));
    const Detached<float, Cuda> dw(device, {outputs, features});
    const auto first_rows = [&](const Padded& padded) {
      return MatrixView<float>{padded.all.data(), n, padded.rows.cols, padded.rows.cols};
    };
    device.linear(x.rows, w.matrix(), std::span<const float>(), Unary::identity, {}, first_rows(y));
    device.matmul(dy.rows, w.matrix(), first_rows(dx), {});
    device.matmul(dy.rows, x.rows, dw.matrix(), {.transpose_a = true});  // sums over the rows
    const Padded* outputs_of[] = {&y, &dx};
    for (const Padded* output : outputs_of) {
      Padded filled = *output;
      filled.rows.rows = n;
      CHECK(filled.is_whole());
    }
    double sum = 0.0;
    for (const float value : dw.to_vector()) sum += double{value};
    CHECK(std::isfinite(sum));
  }
  const cuda::GemmCounters after = cuda::gemm_counters();
  std::set<std::int64_t> used;
  for (std::int64_t n = 1; n <= most; ++n) used.insert(cuda::gemm_bucket(n));
  const auto buckets = static_cast<std::int64_t>(used.size());
  const auto searches = static_cast<std::int64_t>(after.searches - before.searches);
  const auto refused = static_cast<std::int64_t>(after.refused - before.refused);
  CHECK(after.products - before.products == 3 * most);
  CHECK(searches <= 3 * buckets + refused);
  CHECK(searches < 3 * most);
  CHECK(after.checks > before.checks);

  // The same again costs no search.
  const Padded x(device, 77, 80, features, 3);
  const auto w = Detached<float, Cuda>::full(device, {outputs, features}, 1.0);
  const Detached<float, Cuda> y(device, {77, outputs});
  device.linear(x.rows, w.matrix(), std::span<const float>(), Unary::identity, {}, y.matrix());
  CHECK(cuda::gemm_counters().searches == after.searches);
  device.synchronize();
}

TEST_CASE("Cuda: buckets are exact up to 15 rows and at most an eighth too large") {
  std::int64_t last = 0;
  for (std::int64_t rows = 1; rows < 5000; ++rows) {
    const std::int64_t bucket = cuda::gemm_bucket(rows);
    CHECK(bucket >= rows);
    CHECK(bucket * 8 <= rows * 9);
    CHECK(bucket >= last);
    CHECK(cuda::gemm_bucket(bucket) == bucket);
    if (rows < 16) CHECK(bucket == rows);
    last = bucket;
  }
  CHECK(cuda::gemm_bucket(4097) == 4608);
}

TEST_CASE("Cuda: TF32 is off unless asked for, and shows in the error of products then") {
  const Cuda device = tested_device();
  CHECK(!cuda::tf32_allowed());
  CHECK(product_error(device) < 1e-6);
  cuda::tf32_allowed() = true;
  const double error = product_error(device);
  cuda::tf32_allowed() = false;
  CHECK(error > 2e-6);
  CHECK(error < 1e-3);
  CHECK(product_error(device) < 1e-6);
}
