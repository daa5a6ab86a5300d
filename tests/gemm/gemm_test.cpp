#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <attune/backend/cpu/gemm.hpp>
#include <attune/core/parallel.hpp>
#include <attune/core/random.hpp>

#include "instruction_sets.hpp"

namespace {

using attune::bfloat16;
using attune::MatmulOptions;
using attune::MatrixView;
using attune::RandomStream;
using attune::Unary;
namespace cpu = attune::cpu;

/// A matrix whose rows lie further apart than they are long; what lies between must stay as it is.
template <class T>
struct Padded {
  Padded(std::int64_t rows, std::int64_t cols, std::int64_t gap, RandomStream& random)
      : view{nullptr, rows, cols, cols + gap}, values(static_cast<std::size_t>(rows * (cols + gap)) + 1) {
    for (T& value : values) value = T(2.0f * random.uniform() - 1.0f);
    view.data = values.data();
  }
  bool gaps_equal(const std::vector<T>& before) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto col = static_cast<std::int64_t>(i) % std::max<std::int64_t>(1, view.stride);
      const auto row = static_cast<std::int64_t>(i) / std::max<std::int64_t>(1, view.stride);
      if ((col >= view.cols || row >= view.rows) && float(values[i]) != float(before[i])) return false;
    }
    return true;
  }
  operator MatrixView<const T>() const { return view; }

  MatrixView<T> view;
  std::vector<T> values;
};

double activation(Unary op, double x) {
  switch (op) {
    case Unary::relu:
      return x > 0 ? x : 0;
    case Unary::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Unary::tanh:
      return std::tanh(x);
    case Unary::silu:
      return x / (1 + std::exp(-x));
    default:
      return x;
  }
}

template <class T>
double rounding() {
  return std::is_same_v<T, float> ? 0x1p-24 : 0x1p-8;
}

struct Case {
  std::int64_t m, n, k;
  MatmulOptions options;
  std::int64_t gap = 0;
  bool bias = false, pre = false, residual = false, packed = false;
  Unary activation = Unary::identity;

  std::string text() const {
    return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
           (options.transpose_a ? " T" : " N") + (options.transpose_b ? "T" : "N") +
           " alpha=" + std::to_string(options.alpha) + " beta=" + std::to_string(options.beta) +
           " gap=" + std::to_string(gap) + (bias ? " bias" : "") + (pre ? " pre" : "") +
           (residual ? " residual" : "") + (packed ? " packed" : "") + " activation " +
           std::to_string(static_cast<int>(activation));
  }
};

/// The largest error in units of what theory allows; 2 when something outside the result was written.
template <class T, class Out>
double run(const Case& c, std::uint64_t seed, std::vector<Out>* result = nullptr) {
  RandomStream random(seed);
  Padded<T> a(c.options.transpose_a ? c.k : c.m, c.options.transpose_a ? c.m : c.k, c.gap, random);
  Padded<T> b(c.options.transpose_b ? c.n : c.k, c.options.transpose_b ? c.k : c.n, c.gap, random);
  Padded<Out> y(c.m, c.n, c.gap, random), pre(c.m, c.n, c.gap, random), residual(c.m, c.n, c.gap, random);
  Padded<Out> bias(1, c.n, 0, random);
  const std::vector<Out> before = y.values, pre_before = pre.values;
  if (c.options.beta == 0.0f)
    for (std::int64_t r = 0; r < c.m; ++r)
      for (std::int64_t j = 0; j < c.n; ++j) y.view.row(r)[j] = Out(std::nanf(""));  // must not be read

  cpu::GemmEpilogue<Out> epilogue;
  if (c.bias) epilogue.bias = bias.view.data;
  epilogue.activation = c.activation;
  if (c.pre) epilogue.pre_activation = pre.view;
  if (c.residual) epilogue.residual = residual;
  if constexpr (std::is_same_v<T, Out>) {
    if (c.packed)
      cpu::gemm(a, cpu::PackedMatrix<T>(b, c.options.transpose_b), y.view, c.options, epilogue);
    else if (c.bias || c.pre || c.residual || c.activation != Unary::identity)
      cpu::gemm(a, b, y.view, c.options, epilogue);
    else
      cpu::gemm(a, b, y.view, c.options);
  } else {
    cpu::gemm(a, b, y.view, c.options);
  }
  if (result != nullptr) *result = y.values;
  if (!y.gaps_equal(before) || !pre.gaps_equal(pre_before)) return 2;

  double worst = 0;
  for (std::int64_t i = 0; i < c.m; ++i) {
    for (std::int64_t j = 0; j < c.n; ++j) {
      double sum = 0, magnitude = 0;
      for (std::int64_t k = 0; k < c.k; ++k) {
        const double left = double(float(c.options.transpose_a ? a.view.row(k)[i] : a.view.row(i)[k]));
        const double right = double(float(c.options.transpose_b ? b.view.row(j)[k] : b.view.row(k)[j]));
        sum += left * right;
        magnitude += std::fabs(left * right);
      }
      const double old = double(float(before[static_cast<std::size_t>(i * y.view.stride + j)]));
      double v = c.options.alpha * sum + c.options.beta * old;
      const double add = c.bias ? double(float(bias.values[static_cast<std::size_t>(j)])) : 0.0;
      v += add;
      const double rest = double(float(residual.view.row(i)[j])) * (c.residual ? 1 : 0);
      // K u sum |a b| of the product, one rounding for each of the few operations after it, one of the
      // result.
      const double size =
          std::fabs(c.options.alpha) * magnitude + std::fabs(c.options.beta * old) + std::fabs(add);
      const double product_error = (static_cast<double>(c.k) + 4) * 0x1p-24 * size + 1e-37;
      if (c.pre) {
        const double found = double(float(pre.view.row(i)[j]));
        const double allowed = product_error + rounding<Out>() * (std::fabs(v) + product_error);
        worst = std::max(worst, std::isnan(found) ? 2 : std::fabs(found - v) / allowed);
      }
      const double expected = activation(c.activation, v) + rest;
      const double found = double(float(y.view.row(i)[j]));
      // No activation here is steeper than 1.13; each is within 4 u of its argument's size.
      const double before_rounding = 1.13 * product_error + 0x1p-24 * (6 * std::fabs(v) + std::fabs(rest));
      const double allowed = before_rounding + rounding<Out>() * (std::fabs(expected) + before_rounding);
      worst = std::max(worst, std::isnan(found) ? 2 : std::fabs(found - expected) / allowed);
    }
  }
  return worst;
}

template <class T, class Out>
void check(const Case& c, std::uint64_t seed) {
  const double error = run<T, Out>(c, seed);
  CHECK_MESSAGE(error <= 1.0, c.text() << (std::is_same_v<T, float> ? " float" : " bfloat16") << " to "
                                       << (std::is_same_v<Out, float> ? "float" : "bfloat16") << ", "
                                       << name_of(cpu::active_isa()) << ", seed " << seed << ": " << error);
}

void check_all_types(const Case& c, std::uint64_t seed) {
  check<float, float>(c, seed);
  check<bfloat16, bfloat16>(c, seed);
  Case plain = c;
  plain.bias = plain.pre = plain.residual = plain.packed = false;
  plain.activation = Unary::identity;
  check<bfloat16, float>(plain, seed);
}

Case random_case(RandomStream& random) {
  const auto below = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
  const auto extent = [&](std::int64_t most) {  // small ones and those beside panel sizes more often
    switch (below(4)) {
      case 0:
        return below(5);
      case 1:
        return std::max<std::int64_t>(0, 32 * below(4) + below(3) - 1);
      default:
        return below(static_cast<std::uint64_t>(most));
    }
  };
  Case c;
  c.m = extent(150);
  c.n = extent(150);
  c.k = below(8) == 0 ? 300 + below(1500) : extent(200);
  c.options.transpose_a = below(2) == 1;
  c.options.transpose_b = below(2) == 1;
  if (below(3) == 0) c.options.alpha = -0.75f;
  if (below(3) == 0) c.options.beta = below(2) == 0 ? 1.0f : 0.5f;
  c.gap = below(3) == 0 ? 0 : below(20);
  c.bias = below(2) == 1;
  c.pre = below(3) == 0;
  c.residual = below(3) == 0;
  c.packed = below(4) == 0;
  constexpr Unary activations[] = {Unary::identity, Unary::relu, Unary::gelu, Unary::tanh, Unary::silu};
  if (below(2) == 0) c.activation = activations[below(5)];
  return c;
}

// 1000, or as many as ATTUNE_GEMM_CASES says.
int case_count() {
  const char* setting = std::getenv("ATTUNE_GEMM_CASES");
  return setting == nullptr ? 1000 : std::atoi(setting);
}

}  // namespace

TEST_CASE("gemm: random shapes, strides, transpositions and epilogues stay within the error bound") {
  RandomStream random(2024);
  const std::vector<cpu::Isa> sets = available_sets();
  for (int i = 0; i < case_count(); ++i) {
    const Case c = random_case(random);
    const SetGuard guard(sets[static_cast<std::size_t>(i) % sets.size()]);
    check_all_types(c, static_cast<std::uint64_t>(i));
  }
}

TEST_CASE("gemm: sizes of zero and one") {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    for (const std::int64_t m : {0, 1, 2})
      for (const std::int64_t n : {0, 1, 2})
        for (const std::int64_t k : {0, 1, 2})
          for (int transposes = 0; transposes < 4; ++transposes) {
            Case c{m, n, k, {.transpose_a = (transposes & 1) != 0, .transpose_b = (transposes & 2) != 0}};
            c.bias = true;
            check_all_types(c, 7);
            c.options.beta = 0.5f;
            check_all_types(c, 8);
          }
  }
}

TEST_CASE("gemm: every number of rows and columns of a panel") {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    for (std::int64_t m = 1; m <= 30; ++m)
      check_all_types({m, 33, 17, {.transpose_b = true}, 1}, static_cast<std::uint64_t>(m));
    for (std::int64_t n = 1; n <= 66; n += 3)
      check_all_types({9, n, 18, {.transpose_a = true}, 1}, static_cast<std::uint64_t>(n));
  }
}

TEST_CASE("gemm: long sums and shared operands larger than the workspace") {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    check<float, float>({40, 70, 3001, {.transpose_b = true}}, 1);
    check<bfloat16, bfloat16>({40, 70, 3001, {.transpose_b = true}}, 2);
    check<bfloat16, float>({70, 40, 3001, {.transpose_a = true}}, 3);
#if defined(__OPTIMIZE__)
    check<float, float>({150, 140, 16000, {.transpose_a = true}}, 4);
    check<float, float>({150, 140, 16000, {.transpose_b = true}}, 5);
#endif
  }
}

TEST_CASE("gemm: the same bits for 1 to 5 threads") {
  const int threads_before = attune::num_threads();
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    for (const Case& c :
         {Case{200, 170, 900, {.transpose_b = true}}, Case{120, 400, 401, {.transpose_a = true}},
          Case{3, 400, 500, {.transpose_b = true}}, Case{700, 40, 64, {}, 3}}) {
      std::vector<float> one, many;
      std::vector<bfloat16> one_half, many_half;
      attune::set_num_threads(1);
      CHECK(run<float, float>(c, 11, &one) <= 1.0);
      CHECK(run<bfloat16, bfloat16>(c, 11, &one_half) <= 1.0);
      for (int threads = 2; threads <= 5; ++threads) {
        attune::set_num_threads(threads);
        run<float, float>(c, 11, &many);
        run<bfloat16, bfloat16>(c, 11, &many_half);
        CHECK(std::equal(one.begin(), one.end(), many.begin()));
        CHECK(std::equal(one_half.begin(), one_half.end(), many_half.begin(),
                         [](bfloat16 x, bfloat16 y) { return x.bits == y.bits; }));
      }
    }
  }
  attune::set_num_threads(threads_before);
}

TEST_CASE("gemm: batches with strides") {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    constexpr std::int64_t batch = 5, m = 7, n = 35, k = 19;
    RandomStream random(3);
    const Padded<float> a(batch * m, k, 2, random), b(batch * n, k, 1, random);
    Padded<float> c(batch * m, n, 3, random);
    const MatmulOptions options{.transpose_b = true,
                                .batch = batch,
                                .batch_stride_a = m * a.view.stride,
                                .batch_stride_b = n * b.view.stride,
                                .batch_stride_c = m * c.view.stride};
    cpu::gemm({a.view.data, m, k, a.view.stride}, {b.view.data, n, k, b.view.stride},
              {c.view.data, m, n, c.view.stride}, options);
    for (std::int64_t i = 0; i < batch; ++i) {
      Padded<float> one(m, n, 0, random);
      cpu::gemm({a.view.row(i * m), m, k, a.view.stride}, {b.view.row(i * n), n, k, b.view.stride}, one.view,
                {.transpose_b = true});
      for (std::int64_t r = 0; r < m; ++r)
        CHECK(std::equal(one.view.row(r), one.view.row(r) + n, c.view.row(i * m + r)));
    }
  }
}

TEST_CASE("gemm: infinities and NaN reach the result") {
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    for (const std::int64_t m : {2, 20}) {
      std::vector<float> a(static_cast<std::size_t>(m * 40), 1.0f), b(40 * 40, 1.0f),
          c(static_cast<std::size_t>(m * 40));
      a[3] = std::nanf("");
      a[40 + 5] = -INFINITY;
      cpu::gemm({a.data(), m, 40, 40}, {b.data(), 40, 40, 40}, {c.data(), m, 40, 40}, {.transpose_b = true});
      CHECK(std::isnan(c[0]));
      CHECK(c[40] == -INFINITY);
      CHECK(std::isnan(c[39]));
      if (m > 2) CHECK(c[80] == 40.0f);
    }
  }
}

namespace {

/// A matrix of `rows` x `cols` in random blocks, and its elements as T.
template <class T>
struct Blocks {
  Blocks(attune::BlockType type, std::int64_t rows, std::int64_t cols, RandomStream& random)
      : bytes(static_cast<std::size_t>(rows * cols / attune::block_elements * attune::block_bytes(type))),
        view{bytes.data(), rows, cols, type} {
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
    const auto set_half = [&](std::size_t at) {  // from 2^-6 to nearly 2^-4, either sign
      const auto bits = static_cast<std::uint16_t>(0x2400 + random.below(0x800) + (random.below(2) << 15));
      std::memcpy(bytes.data() + at, &bits, sizeof bits);
    };
    const auto size = static_cast<std::size_t>(attune::block_bytes(type));
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      set_half(at);
      if (type == attune::BlockType::q4_1) set_half(at + 2);
    }
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t col = 0; col < cols; ++col)
        elements.push_back(T(attune::block_element(type, view.block(row, col),
                                                   static_cast<int>(col % attune::block_elements))));
  }
  MatrixView<const T> plain() const { return {elements.data(), view.rows, view.cols, view.cols}; }

  std::vector<std::byte> bytes;
  attune::BlockView view;
  std::vector<T> elements;
};

/// Whether a product with blocks has the bits of the one with their elements.
template <class T>
bool same_as_plain(attune::BlockType type, std::int64_t m, std::int64_t rows, std::int64_t cols,
                   bool transposed) {
  RandomStream random(static_cast<std::uint64_t>(m + 1000 * rows + cols));
  const Blocks<T> w(type, rows, cols, random);
  const std::int64_t k = transposed ? cols : rows, n = transposed ? rows : cols;
  const Padded<T> a(m, k, 1, random);
  Padded<T> found(m, n, 2, random), bias(1, n, 0, random);
  Padded<T> expected = found;
  expected.view.data = expected.values.data();
  const MatmulOptions options{.transpose_b = transposed, .beta = 0.5f};
  cpu::GemmEpilogue<T> epilogue;
  epilogue.bias = bias.view.data;
  cpu::gemm(a, w.view, found.view, options, epilogue);
  cpu::gemm(a, w.plain(), expected.view, options, epilogue);
  return std::equal(found.values.begin(), found.values.end(), expected.values.begin(),
                    [](T x, T y) { return float(x) == float(y); });
}

}  // namespace

TEST_CASE("gemm: a matrix in quantised blocks gives the bits of its elements") {
  const int threads_before = attune::num_threads();
  for (const cpu::Isa isa : available_sets()) {
    const SetGuard guard(isa);
    CAPTURE(std::string(name_of(isa)));
    for (const attune::BlockType type :
         {attune::BlockType::q8_0, attune::BlockType::q4_0, attune::BlockType::q4_1})
      for (const auto& shape : std::vector<std::array<std::int64_t, 3>>{
               {1, 1, 32}, {3, 5, 64}, {16, 37, 96}, {17, 40, 1568}, {90, 70, 416}, {200, 33, 64}})
        for (const bool transposed : {true, false})
          for (const int threads : {1, 3}) {
            attune::set_num_threads(threads);
            const std::int64_t m = shape[0], rows = shape[1], cols = shape[2];
            CAPTURE(std::string(name_of(type)));
            CAPTURE(m);
            CAPTURE(rows);
            CAPTURE(cols);
            CAPTURE(transposed);
            CHECK(same_as_plain<float>(type, m, rows, cols, transposed));
            CHECK(same_as_plain<bfloat16>(type, m, rows, cols, transposed));
          }
  }
  attune::set_num_threads(threads_before);
}
