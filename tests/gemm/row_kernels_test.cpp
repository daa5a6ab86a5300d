#include <doctest/doctest.h>
#include <attune/backend/cpu/gemm.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "instruction_sets.hpp"

// The kernels over rows against loops in double, in every instruction set and for every remainder of the
// lanes. Bounds are roundings (2^-24, and 2^-8 for what is stored in bfloat16) times the size of what is
// added.

using namespace attune;

namespace {

constexpr double rounding = 0x1p-24;
constexpr std::int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 100, 384};

template <class T>
constexpr double stored = std::is_same_v<T, float> ? rounding : 0x1p-8;

/// Numbers, and one more behind them that must stay.
template <class T = float>
struct Row {
  explicit Row(std::int64_t count, double low = -2, double high = 2, std::uint64_t seed = 1)
      : values(static_cast<std::size_t>(count) + 1) {
    RandomStream random(seed + static_cast<std::uint64_t>(count) * 64);
    for (T& value : values) value = T(static_cast<float>(low + (high - low) * random.uniform()));
    values.back() = T(77.0f);
  }
  T* data() { return values.data(); }
  double operator[](std::int64_t i) const { return double(float(values[static_cast<std::size_t>(i)])); }
  bool intact() const { return float(values.back()) == 77.0f; }
  std::vector<T> values;
};

/// Factors of a dropout with 1/4.
Row<> factor_row(std::int64_t count) {
  Row<> row(count, 0, 1, 9);
  for (std::size_t i = 0; i + 1 < row.values.size(); ++i)
    row.values[i] = row.values[i] < 0.25f ? 0.0f : 4.0f / 3.0f;
  return row;
}

template <class F>
void for_each_set(const F& f) {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    CAPTURE(std::string(cpu::name_of(isa)));
    for (const std::int64_t n : lengths) {
      CAPTURE(n);
      f(cpu::kernels(), n);
    }
  }
}

template <class T>
void check_norm(const cpu::Kernels& set, std::int64_t n, bool centered, bool with_residual) {
  Row<T> x(n), residual(n, -2, 2, 2), s(n, 0, 0), y(n, 0, 0);
  Row<> factors = factor_row(n), weight(n, 0.5, 1.5, 3), bias(n, -1, 1, 4), buffer(n);
  cpu::NormRow<T> row;
  row.x = x.data();
  if (with_residual) {
    row.residual = residual.data();
    row.factors = factors.data();
  }
  row.weight = weight.data();
  row.bias = centered ? bias.data() : nullptr;
  row.eps = 1e-3f;
  row.centered = centered;
  row.s = s.data();
  row.y = y.data();
  row.buffer = buffer.data();
  set.elements<T>().norm(row, n);
  double mean = 0, variance = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double sum = with_residual ? residual[i] + x[i] * factors[i] : x[i];
    CHECK(std::fabs(s[i] - sum) <= 2 * stored<T> * std::fabs(sum) + 4 * rounding);
    mean += centered ? s[i] / double(n) : 0;
  }
  for (std::int64_t i = 0; i < n; ++i) variance += (s[i] - mean) * (s[i] - mean) / double(n);
  const double rstd = 1 / std::sqrt(variance + double(row.eps));
  const double roundings = double(n) / 4 + 16;  // the fewest lanes are four
  CHECK(std::fabs(double(row.mean) - mean) <= 5 * roundings * rounding);
  CHECK(std::fabs(double(row.rstd) - rstd) <= 16 * roundings * rounding * rstd * (1 + rstd));
  for (std::int64_t i = 0; i < n; ++i) {
    const double normalized = (s[i] - mean) * double(row.rstd) * weight[i];
    const double expected = normalized + (centered ? bias[i] : 0);
    CHECK(std::fabs(y[i] - expected) <=
          stored<T> * std::fabs(expected) + 16 * roundings * rounding * (1 + double(row.rstd)));
  }
  CHECK((s.intact() && y.intact()));
}

template <class T>
void check_norm_backward(const cpu::Kernels& set, std::int64_t n, bool centered) {
  Row<T> dy(n), s(n, -2, 2, 2), ds(n, 0, 0), dx(n, 0, 0);
  Row<> factors = factor_row(n), weight(n, 0.5, 1.5, 3), weight_sum(n, -1, 1, 5), bias_sum(n, -1, 1, 6);
  const Row<> weight_before = weight_sum, bias_before = bias_sum;
  cpu::NormBackwardRow<T> row;
  row.dy = dy.data();
  row.s = s.data();
  row.weight = weight.data();
  row.mean = centered ? 0.25f : 0.0f;
  row.rstd = 0.75f;
  row.centered = centered;
  row.ds = ds.data();
  row.factors = factors.data();
  row.dx = dx.data();
  row.weight_sum = weight_sum.data();
  row.bias_sum = centered ? bias_sum.data() : nullptr;
  set.elements<T>().norm_backward(row, n);
  const auto h = [&](std::int64_t i) { return (s[i] - double(row.mean)) * double(row.rstd); };
  double g_mean = 0, gh_mean = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (centered) g_mean += dy[i] * weight[i] / double(n);
    gh_mean += dy[i] * weight[i] * h(i) / double(n);
  }
  const double error = 64 * (double(n) / 4 + 16) * rounding;
  for (std::int64_t i = 0; i < n; ++i) {
    const double expected = double(row.rstd) * (dy[i] * weight[i] - g_mean - h(i) * gh_mean);
    CHECK(std::fabs(ds[i] - expected) <= stored<T> * std::fabs(expected) + error);
    CHECK(std::fabs(dx[i] - ds[i] * factors[i]) <= stored<T> * std::fabs(ds[i] * factors[i]) + 4 * rounding);
    CHECK(std::fabs(weight_sum[i] - (weight_before[i] + dy[i] * h(i))) <= 16 * rounding);
    CHECK(std::fabs(bias_sum[i] - (bias_before[i] + (centered ? dy[i] : 0))) <= 4 * rounding);
  }
  CHECK((ds.intact() && dx.intact() && weight_sum.intact() && bias_sum.intact()));
}

template <class T>
void check_elementwise(const cpu::Kernels& set, std::int64_t n) {
  const auto& elements = set.elements<T>();
  Row<T> a(n), b(n, 1, 2, 2), c(n, 0, 0), scaled(n, 0, 0), dropped(n, 0, 0), added = b, mixed = b,
                                                                             fresh(n, 0, 0);
  Row<> x(n, -2, 2, 3), factors = factor_row(n), sums(n, -1, 1, 4);
  const Row<> sums_before = sums;
  fresh.values[0] = T(__builtin_nanf(""));  // what is not read may hold anything
  elements.scale_to(x.data(), 0.3f, scaled.data(), n);
  elements.apply_factors(a.data(), factors.data(), dropped.data(), n);
  elements.add(a.data(), added.data(), n);
  elements.add_to_floats(a.data(), sums.data(), n);
  elements.axpby(0.5f, a.data(), 2.0f, mixed.data(), n);
  elements.axpby(0.5f, a.data(), 0.0f, fresh.data(), n);
  const auto near = [](double found, double expected, double size) {
    return std::fabs(found - expected) <= stored<T> * std::fabs(expected) + 2 * rounding * size;
  };
  for (std::int64_t i = 0; i < n; ++i) {
    CHECK(near(scaled[i], x[i] * double(0.3f), 1));
    CHECK(near(dropped[i], a[i] * factors[i], 1));
    CHECK(near(added[i], b[i] + a[i], 4));
    CHECK(std::fabs(sums[i] - (sums_before[i] + a[i])) <= 4 * rounding);
    CHECK(near(mixed[i], 0.5 * a[i] + 2 * b[i], 8));
    CHECK(near(fresh[i], 0.5 * a[i], 1));
  }
  for (const Binary op : {Binary::add, Binary::subtract, Binary::multiply, Binary::divide}) {
    elements.combine(op, a.data(), b.data(), c.data(), n);
    for (std::int64_t i = 0; i < n; ++i) {
      const double expected = op == Binary::add        ? a[i] + b[i]
                              : op == Binary::subtract ? a[i] - b[i]
                              : op == Binary::multiply ? a[i] * b[i]
                                                       : a[i] / b[i];
      CHECK(near(c[i], expected, 4));
    }
  }
  CHECK((scaled.intact() && dropped.intact() && added.intact() && sums.intact() && mixed.intact() &&
         c.intact()));
  a.values[0] = T(__builtin_inff());
  factors.values[0] = 0.0f;
  elements.apply_factors(a.data(), factors.data(), a.data(), n);
  CHECK(a[0] == 0.0);  // an infinity is dropped as well
}

}  // namespace

TEST_CASE("row kernels: norms and their backward") {
  for_each_set([](const cpu::Kernels& set, std::int64_t n) {
    for (const bool centered : {false, true}) {
      for (const bool residual : {false, true}) {
        check_norm<float>(set, n, centered, residual);
        check_norm<bfloat16>(set, n, centered, residual);
      }
      check_norm_backward<float>(set, n, centered);
      check_norm_backward<bfloat16>(set, n, centered);
    }
  });
}

TEST_CASE("row kernels: elementwise") {
  for_each_set([](const cpu::Kernels& set, std::int64_t n) {
    check_elementwise<float>(set, n);
    check_elementwise<bfloat16>(set, n);
  });
}

TEST_CASE("row kernels: largest element, sums of exponentials and of squares") {
  for_each_set([](const cpu::Kernels& set, std::int64_t n) {
    Row<> x(n, -3, 3), y(n, 0, 0);
    double largest = x[0], sum = 0, squares = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      largest = std::max(largest, x[i]);
      sum += std::exp(x[i] - 1);
      squares += x[i] * x[i];
    }
    const double roundings = double(n) / 4 + 16;
    CHECK(double(set.rows.largest(x.data(), n)) == largest);
    CHECK(std::fabs(double(set.rows.sum_exp_minus(x.data(), 1.0f, n)) - sum) <= roundings * rounding * sum);
    CHECK(std::fabs(set.rows.sum_of_squares(x.data(), n) - squares) <= 1e-13 * squares);
    set.rows.scaled_exp(x.data(), 1.0f, 0.7f, -0.2f, y.data(), n);
    for (std::int64_t i = 0; i < n; ++i)
      CHECK(std::fabs(y[i] - (double(0.7f) * std::exp(x[i] - 1) - double(0.2f))) <=
            6 * rounding * std::exp(x[i]));
    CHECK(y.intact());
    x.values[0] = 3e30f;  // its square is no float
    CHECK(std::isfinite(set.rows.sum_of_squares(x.data(), n)));
  });
}

TEST_CASE("row kernels: attention weights and their backward") {
  for_each_set([](const cpu::Kernels& set, std::int64_t n) {
    for (const bool dropout : {false, true}) {
      Row<> x(n, -3, 3), weights = x, grads(n, -1, 1, 2), factors = factor_row(n);
      const Row<> upstream = grads;
      const auto factor = [&](std::int64_t i) { return dropout ? factors[i] : 1.0; };
      float top = 0, total = 0;
      set.rows.attention_weights(weights.data(), dropout ? factors.data() : nullptr, n, &top, &total);
      double largest = x[0], sum = 0;
      for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, x[i]);
      for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
      const double error = (double(n) / 4 + 16) * rounding;
      CHECK(double(top) == largest);
      CHECK(std::fabs(double(total) - sum) <= error * sum);
      for (std::int64_t i = 0; i < n; ++i) {
        const double expected = std::exp(x[i] - largest) * factor(i);
        CHECK(std::fabs(weights[i] - expected) <= (7 + largest - x[i]) * rounding * expected);
      }
      const auto lse = static_cast<float>(largest + std::log(sum));
      weights = x;
      set.rows.attention_weights_backward(weights.data(), grads.data(), dropout ? factors.data() : nullptr,
                                          lse, n);
      double delta = 0;
      for (std::int64_t i = 0; i < n; ++i) delta += std::exp(x[i] - double(lse)) * upstream[i] * factor(i);
      for (std::int64_t i = 0; i < n; ++i) {
        const double p = std::exp(x[i] - double(lse));
        // The shifted score is rounded, and exp has two units in the last place.
        CHECK(std::fabs(weights[i] - p * factor(i)) <=
              (7 + std::fabs(x[i] - double(lse))) * rounding * p * factor(i));
        CHECK(std::fabs(grads[i] - p * (upstream[i] * factor(i) - delta)) <= 8 * error * p);
      }
      CHECK((weights.intact() && grads.intact()));
    }
    // Scores far below zero, as they are where lse is.
    Row<> low(n, -400, -399), grads(n);
    set.rows.attention_weights_backward(low.data(), grads.data(), nullptr, -398.0f, n);
    for (std::int64_t i = 0; i < n; ++i) CHECK(std::isfinite(grads[i]));
  });
}

TEST_CASE("row kernels: optimizer passes") {
  for_each_set([](const cpu::Kernels& set, std::int64_t n) {
    Row<> p(n), g(n, -1, 1, 2), m(n, -1, 1, 3), v(n, 0, 1, 4);
    Row<bfloat16> rounded(n);
    const Row<> p0 = p, m0 = m, v0 = v;
    const cpu::AdamWNumbers adamw{0.5f, 0.99f, 0.9f, 0.1f, 0.999f, 0.001f, 0.01f, 1.25f, 1e-6f};
    set.rows.adamw(adamw, {p.data(), g.data(), m.data(), v.data(), rounded.data()}, n);
    for (std::int64_t i = 0; i < n; ++i) {
      const double gradient = 0.5 * g[i];
      const double first = double(adamw.beta1) * m0[i] + double(adamw.rest1) * gradient;
      const double second = double(adamw.beta2) * v0[i] + double(adamw.rest2) * gradient * gradient;
      CHECK(std::fabs(m[i] - first) <= 4 * rounding);
      CHECK(std::fabs(v[i] - second) <= 4 * rounding * second);
      const double step = double(adamw.step) * first / (std::sqrt(second) * 1.25 + 1e-6);
      CHECK(std::fabs(p[i] - (double(adamw.keep) * p0[i] - step)) <=
            4 * rounding * (2 + 4 * std::fabs(step)));
      CHECK(float(rounded.values[static_cast<std::size_t>(i)]) ==
            float(bfloat16(p.values[static_cast<std::size_t>(i)])));
    }
    CHECK((p.intact() && m.intact() && v.intact() && rounded.intact()));

    // Null is zero, to the last bit.
    for (const bool moments : {true, false}) {
      Row<> zeros(n, 0, 0), first = moments ? m : zeros, second = moments ? v : zeros;
      Row<> plain = p0, first_plain = first, second_plain = second;
      Row<bfloat16> rounded_plain(n);
      p = p0;
      set.rows.adamw(
          adamw, {plain.data(), zeros.data(), first_plain.data(), second_plain.data(), rounded_plain.data()},
          n);
      set.rows.adamw(adamw,
                     {p.data(), nullptr, moments ? first.data() : nullptr, moments ? second.data() : nullptr,
                      rounded.data()},
                     n);
      CHECK((p.values == plain.values && first.values == first_plain.values &&
             second.values == second_plain.values));
      CHECK(std::memcmp(rounded.data(), rounded_plain.data(), rounded.values.size() * 2) == 0);
    }

    for (const bool nesterov : {false, true})
      for (const bool is_first : {false, true})
        for (const bool with_moment : {false, true}) {
          Row<> weights = p0, moment = m0;
          if (is_first) moment.values[0] = __builtin_nanf("");  // not read
          const cpu::SgdNumbers sgd{0.5f, 0.1f, 0.01f, 0.9f, 0.9f, 0.75f, nesterov, is_first};
          set.rows.sgd(
              sgd, {weights.data(), g.data(), with_moment ? moment.data() : nullptr, nullptr, nullptr}, n);
          for (std::int64_t i = 0; i < n; ++i) {
            double gradient = 0.5 * g[i] + double(0.1f) * p0[i];
            if (with_moment) {
              const double next = 0.75 * gradient + (is_first ? 0 : double(0.9f) * m0[i]);
              CHECK(std::fabs(moment[i] - next) <= 8 * rounding);
              gradient = nesterov ? gradient + double(0.9f) * next : next;
            }
            CHECK(std::fabs(weights[i] - (p0[i] - double(0.01f) * gradient)) <= 4 * rounding);
          }
          CHECK(weights.intact());
        }
  });
}
