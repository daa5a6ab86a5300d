#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/parallel.hpp>
#include <attune/core/random.hpp>

#include "instruction_sets.hpp"

namespace {

using attune::bfloat16;
using attune::Unary;
namespace cpu = attune::cpu;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The distance between the floats around |x|.
double ulp(double x) {
  int exponent;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - 24, -149));
}

double in_ulps(double found, double expected) {
  if (std::isnan(expected)) return std::isnan(found) ? 0 : infinity;
  // Past the largest float, infinity is right.
  if (std::fabs(expected) >= 0x1.ffffffp+127)
    return std::isinf(found) && (found > 0) == (expected > 0) ? 0 : infinity;
  if (!std::isfinite(found)) return infinity;
  return std::fabs(found - expected) / ulp(expected);
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double gelu_tanh_twice_u(double x) { return 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x); }
// 0 times an infinity is the limit of the product here.
double product(double x, double y) { return y == 0 ? 0 : x * y; }

/// An error may be `result_ulps` ulps of the result, or `input_ulps` ulps of the input, or `absolute`.
struct Function {
  std::string name;
  void (*run)(const cpu::Kernels&, const float* x, float* y, std::int64_t count);
  double (*exact)(double);
  double result_ulps;
  double input_ulps = 0;
  double absolute = 0;

  double error(double x, double found) const {
    const double expected = exact(x), ulps = in_ulps(found, expected);
    const double error = std::fabs(found - expected);
    double smallest = result_ulps == 0 ? ulps : ulps / result_ulps;
    if (!std::isfinite(error)) return smallest;
    if (input_ulps > 0) smallest = std::min(smallest, error / (input_ulps * ulp(x)));
    if (absolute > 0) smallest = std::min(smallest, error / absolute);
    return smallest;
  }
};

template <Unary op>
void run_unary(const cpu::Kernels& kernels, const float* x, float* y, std::int64_t count) {
  kernels.elements<float>().unary(op, x, y, count);
}
/// The derivative of a function that saves its input.
template <Unary op>
void run_slope(const cpu::Kernels& kernels, const float* x, float* y, std::int64_t count) {
  const std::vector<float> ones(static_cast<std::size_t>(count), 1.0f);
  kernels.elements<float>().unary_backward(op, x, ones.data(), y, count);
}

// The bounds that kernel_table.hpp states.
const Function functions[] = {
    {"exp", run_unary<Unary::exp>, [](double x) { return std::exp(x); }, 2},
    {"tanh", run_unary<Unary::tanh>, [](double x) { return std::tanh(x); }, 2},
    {"erf",
     [](const cpu::Kernels& kernels, const float* x, float* y, std::int64_t n) { kernels.rows.erf(x, y, n); },
     [](double x) { return std::erf(x); }, 2},
    {"sigmoid", run_unary<Unary::sigmoid>, sigmoid, 2.5},
    {"silu", run_unary<Unary::silu>, [](double x) { return product(x, sigmoid(x)); }, 3.25, 0, 0x1p-140},
    {"relu", run_unary<Unary::relu>, [](double x) { return x > 0 || std::isnan(x) ? x : 0; }, 0},
    {"sqrt", run_unary<Unary::sqrt>, [](double x) { return std::sqrt(x); }, 0.5},
    {"log", run_unary<Unary::log>, [](double x) { return std::log(x); }, 1},
    {"gelu", run_unary<Unary::gelu>, [](double x) { return product(x, normal_cdf(x)); }, 3, 1.5},
    {"gelu_tanh", run_unary<Unary::gelu_tanh>,
     [](double x) { return product(x, sigmoid(gelu_tanh_twice_u(x))); }, 3, 1.5},
    {"silu'", run_slope<Unary::silu>,
     [](double x) { return sigmoid(x) + (std::isinf(x) ? 0 : x * sigmoid(x) * sigmoid(-x)); }, 2, 0,
     3 * 0x1p-24},
    {"gelu'", run_slope<Unary::gelu>,
     [](double x) {
       return normal_cdf(x) + (std::isinf(x) ? 0 : x * std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI));
     },
     2, 0, 3 * 0x1p-24},
    {"gelu_tanh'", run_slope<Unary::gelu_tanh>,
     [](double x) {
       if (std::isinf(x)) return x > 0 ? 1.0 : 0.0;
       const double s = sigmoid(gelu_tanh_twice_u(x)), rest = sigmoid(-gelu_tanh_twice_u(x));
       return s + product(x * 2 * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x), s * rest);
     },
     2, 0, 3 * 0x1p-24},
};

/// The sets whose functions are not those of a lesser one.
std::vector<cpu::Isa> sets_with_own_functions() {
  std::vector<cpu::Isa> sets;
  for (const cpu::Isa isa : available_sets())
    if (sets.empty() ||
        cpu::kernels(isa).elements<float>().unary != cpu::kernels(sets.back()).elements<float>().unary)
      sets.push_back(isa);
  return sets;
}

struct Worst {
  double error = 0;  ///< in units of the bound
  float at = 0;
};

/// Every `step`-th float.
Worst worst_error(const Function& function, std::uint64_t step) {
  constexpr std::int64_t chunk = 1 << 14;
  const std::int64_t count = static_cast<std::int64_t>(((std::uint64_t{1} << 32) + step - 1) / step);
  Worst worst;
  std::mutex mutex;
  attune::parallel_chunks(count, chunk, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> x(static_cast<std::size_t>(end - begin)), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = std::bit_cast<float>(static_cast<std::uint32_t>((static_cast<std::uint64_t>(begin) + i) * step));
    function.run(cpu::kernels(), x.data(), y.data(), end - begin);
    Worst here;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = function.error(double(x[i]), double(y[i]));
      if (!(error <= here.error)) here = {error, x[i]};
    }
    const std::lock_guard lock(mutex);
    if (!(here.error <= worst.error)) worst = here;
  });
  return worst;
}

}  // namespace

// Every 4999th float, or every ATTUNE_VECTOR_MATH_STEP-th: 1 for all of them.
TEST_CASE("vector math: errors stay within the stated bounds") {
  std::uint64_t step = 4999;
  if (const char* setting = std::getenv("ATTUNE_VECTOR_MATH_STEP"))
    step = std::strtoull(setting, nullptr, 10);
  REQUIRE(step > 0);
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    for (const Function& function : functions) {
      const Worst worst = worst_error(function, step);
      CHECK_MESSAGE(worst.error <= 1.0, function.name << " " << name_of(isa) << ": " << worst.error
                                                      << " of the bound at " << worst.at);
    }
  }
}

TEST_CASE("vector math: limits, signs, subnormals and NaN") {
  const std::vector<float> x = {0.0f,      -0.0f,      infinity,         -infinity,        std::nanf(""),
                                0x1p-149f, -0x1p-149f, 0x1p-126f,        -0x1.8p-127f,     88.72283f,
                                88.72284f, -87.33655f, -103.97f,         -103.98f,         104.0f,
                                1e30f,     -1e30f,     0x1.fffffep+127f, -0x1.fffffep+127f};
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    for (const Function& function : functions) {
      for (std::size_t count = 1; count <= x.size();
           ++count) {  // each value also among the last, partial vector's
        std::vector<float> y(count + 1, 77.0f);
        function.run(cpu::kernels(), x.data(), y.data(), static_cast<std::int64_t>(count));
        CHECK(y[count] == 77.0f);
        for (std::size_t i = 0; i < count; ++i)
          CHECK_MESSAGE(function.error(double(x[i]), double(y[i])) <= 1,
                        function.name << "(" << x[i] << ") = " << y[i] << ", " << name_of(isa));
      }
    }
    for (const Unary op : {Unary::tanh, Unary::gelu, Unary::gelu_tanh, Unary::silu, Unary::identity}) {
      float y[2];
      cpu::kernels().elements<float>().unary(op, x.data(), y, 2);
      CHECK_FALSE(std::signbit(y[0]));
      CHECK(std::signbit(y[1]));
    }
  }
}

TEST_CASE("vector math: bfloat16 is the float function rounded once") {
  constexpr Unary all_functions[] = {Unary::identity, Unary::negate,    Unary::exp,     Unary::log,
                                     Unary::sqrt,     Unary::tanh,      Unary::sigmoid, Unary::relu,
                                     Unary::gelu,     Unary::gelu_tanh, Unary::silu};
  std::vector<bfloat16> x(65536), dy(65536), y(65536);
  std::vector<float> wide(65536), wide_dy(65536), wide_y(65536);
  attune::RandomStream random(5);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i].bits = static_cast<std::uint16_t>(i);
    dy[i] = bfloat16(random.normal());
    wide[i] = x[i];
    wide_dy[i] = dy[i];
  }
  const auto same = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      if (y[i].bits != bfloat16(wide_y[i]).bits && !std::isnan(wide_y[i])) return false;
    return true;
  };
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    const cpu::Kernels& set = cpu::kernels();
    for (const Unary op : all_functions)
      for (const std::int64_t count : {1, 17, 513, 65536}) {
        set.elements<bfloat16>().unary(op, x.data(), y.data(), count);
        set.elements<float>().unary(op, wide.data(), wide_y.data(), count);
        CHECK(same(static_cast<std::size_t>(count)));
        set.elements<bfloat16>().unary_backward(op, x.data(), dy.data(), y.data(), count);
        set.elements<float>().unary_backward(op, wide.data(), wide_dy.data(), wide_y.data(), count);
        CHECK(same(static_cast<std::size_t>(count)));
      }
  }
}

TEST_CASE("vector math: rounding to bfloat16") {
  std::vector<float> x;
  for (std::uint64_t word = 0; word < (std::uint64_t{1} << 32); word += 65521)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(word)));
  for (const std::uint32_t word : {0x3f808000u, 0x3f818000u, 0x3f808001u, 0x3f807fffu, 0x7f7fffffu,
                                   0x7f800001u, 0xffffffffu, 0x7f800000u, 0x00008000u, 0x00018000u})
    x.push_back(std::bit_cast<float>(word));
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    std::vector<bfloat16> y(x.size());
    std::vector<float> back(x.size());
    cpu::kernels().rows.narrow(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    cpu::kernels().rows.widen(y.data(), back.data(), static_cast<std::int64_t>(x.size()));
    bool right = true;
    for (std::size_t i = 0; i < x.size(); ++i)
      right = right && y[i].bits == bfloat16(x[i]).bits &&
              std::bit_cast<std::uint32_t>(back[i]) >> 16 == y[i].bits;
    CHECK(right);
  }
}

TEST_CASE("vector math: derivatives of functions that save their output") {
  const std::vector<float> y = {-0.9f, -0.25f, 0.0f, 0.5f, 0.99f}, dy = {1.0f, -2.0f, 3.0f, 0.5f, 4.0f};
  const struct {
    Unary op;
    double (*slope)(double);
  } cases[] = {{Unary::tanh, [](double v) { return 1 - v * v; }},
               {Unary::sigmoid, [](double v) { return v * (1 - v); }},
               {Unary::exp, [](double v) { return v; }},
               {Unary::relu, [](double v) { return v > 0 ? 1.0 : 0.0; }},
               {Unary::sqrt, [](double v) { return 0.5 / v; }},
               {Unary::negate, [](double) { return -1.0; }},
               {Unary::identity, [](double) { return 1.0; }}};
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    for (const auto& one : cases) {
      std::vector<float> dx(y.size());
      const float* saved = attune::saves(one.op) == attune::Saves::nothing ? nullptr : y.data();
      cpu::kernels().elements<float>().unary_backward(one.op, saved, dy.data(), dx.data(), 5);
      for (std::size_t i = 0; i < y.size(); ++i)
        CHECK(in_ulps(double(dx[i]), double(dy[i]) * one.slope(double(y[i]))) <= 4);
    }
  }
}

TEST_CASE("vector math: softmax, sums and shifted exponentials of any length") {
  attune::RandomStream random(6);
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    const cpu::Kernels& set = cpu::kernels();
    for (std::int64_t count = 0; count <= 70; ++count) {
      const auto n = static_cast<std::size_t>(count);
      std::vector<float> x(n), y(n + 1, 77.0f), shifted(n), sums(n, 2.0f);
      std::vector<bfloat16> half(n), half_y(n);
      for (std::size_t i = 0; i < n; ++i) half[i] = bfloat16(x[i] = 4.0f * random.normal());
      double largest = -infinity, largest_half = -infinity, total = 0, total_half = 0;
      for (std::size_t i = 0; i < n; ++i) {
        largest = std::max(largest, double(x[i]));
        largest_half = std::max(largest_half, double(float(half[i])));
      }
      for (std::size_t i = 0; i < n; ++i) {
        total += std::exp(double(x[i]) - largest);
        total_half += std::exp(double(float(half[i])) - largest_half);
      }
      set.elements<float>().softmax(x.data(), y.data(), count);
      set.elements<bfloat16>().softmax(half.data(), half_y.data(), count);
      set.rows.exp_minus(x.data(), 1.5f, shifted.data(), count);
      set.rows.add(x.data(), sums.data(), count);
      CHECK(y[n] == 77.0f);
      for (std::size_t i = 0; i < n; ++i) {
        const double p = std::exp(double(x[i]) - largest) / total;
        CHECK(std::fabs(y[i] - p) <= 40 * 0x1p-24 * p);
        const double p_half = std::exp(double(float(half[i])) - largest_half) / total_half;
        CHECK(std::fabs(float(half_y[i]) - p_half) <= 1.01 * 0x1p-8 * p_half);
        CHECK(in_ulps(double(shifted[i]), std::exp(double(x[i] - 1.5f))) <= 2);
        CHECK(sums[i] == 2.0f + x[i]);
      }
    }
    float masked[20];
    std::fill(std::begin(masked), std::end(masked), -infinity);
    masked[18] = 3.0f;
    set.elements<float>().softmax(masked, masked, 20);
    CHECK(masked[18] == 1.0f);
    CHECK(masked[0] == 0.0f);
  }
}

TEST_CASE("vector math: Philox blocks and dropout factors of any length") {
  for (const cpu::Isa isa : sets_with_own_functions()) {
    const SetGuard guard(isa);
    const attune::Philox::Counter counter{0xfffffff0u, 7, 0xdeadbeefu, 3};
    const attune::Philox::Key key{0x12345678u, 0x9abcdef0u};
    for (std::int64_t blocks = 0; blocks <= 50; ++blocks) {
      const auto n = static_cast<std::size_t>(4 * blocks);
      std::vector<std::uint32_t> words(n + 1, 77);
      cpu::kernels().philox(counter, key, blocks, words.data());
      CHECK(words[n] == 77);
      for (std::size_t i = 0; i < n; ++i) {
        attune::Philox::Counter block = counter;
        block[0] += static_cast<std::uint32_t>(i / 4);
        CHECK(words[i] == attune::Philox::generate(block, key)[i % 4]);
      }
      for (const std::uint32_t threshold : {0u, 1u << 30, 0x80000000u, 0xc0000000u, 0xffffffffu}) {
        std::vector<float> factors(n + 1, 77.0f);
        cpu::kernels().rows.dropout_factors(words.data(), threshold, 1.25f, factors.data(), 4 * blocks);
        CHECK(factors[n] == 77.0f);
        for (std::size_t i = 0; i < n; ++i) CHECK(factors[i] == (words[i] < threshold ? 0.0f : 1.25f));
      }
    }
  }
}
