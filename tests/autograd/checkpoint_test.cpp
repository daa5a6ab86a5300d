// checkpoint(): the same numbers with less memory.
#include <doctest/doctest.h>
#include <attune/autograd/checkpoint.hpp>
#include <attune/ops/binary.hpp>
#include <attune/ops/dropout.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/sum.hpp>
#include <attune/ops/unary.hpp>

#include "autograd/counted.hpp"

using namespace attune;
using attune::testing::Counted;
using attune::testing::leaf;

namespace {

using T64 = Tensor<double, Reference>;
using Values = std::vector<double>;

Parameter<double, Reference> make_weight() {
  const Parameter<double, Reference> w(Reference(), {3, 3});
  w.assign(Values{0.1, 0.2, -0.3, 0.4, -0.5, 0.6, -0.7, 0.8, 0.9});
  return w;
}

DropoutMask<Reference> make_mask(std::int64_t rows) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int32_t>(i);
  DropoutMask<Reference> mask;
  mask.samples = mask.positions =
      Detached<std::int32_t, Reference>::from_values(Reference(), {rows}, numbers);
  mask.view = {0.4f, {1, 2}, 3, mask.samples.data(), mask.positions.data()};
  return mask;
}

}  // namespace

TEST_CASE("checkpoint: the same result and gradients, dropout included, computing twice") {
  const auto w = make_weight();
  const auto mask = make_mask(4);
  const T64 x = leaf({4, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  int calls = 0;
  const auto block = [&](const T64& in) {
    ++calls;
    return dropout(linear(in, w, {}, Unary::tanh), mask) * in;
  };
  const T64 plain = block(x);
  sum(plain).backward();
  const auto x_grad = x.grad().to_vector(), w_grad = w.grad().to_vector();
  x.zero_grad();
  w.zero_grad();

  calls = 0;
  const T64 y = checkpoint(block, x);
  CHECK(calls == 1);
  CHECK(y.to_vector() == plain.to_vector());
  sum(y).backward();
  CHECK(calls == 2);
  CHECK(x.grad().to_vector() == x_grad);
  CHECK(w.grad().to_vector() == w_grad);
  CHECK_THROWS_AS(y.backward(Detached<double, Reference>::full(Reference(), {4, 3}, 1.0)), GraphError);

  // Nested.
  x.zero_grad();
  w.zero_grad();
  sum(checkpoint([&](const T64& in) { return checkpoint(block, in); }, x)).backward();
  CHECK(x.grad().to_vector() == x_grad);
  CHECK(w.grad().to_vector() == w_grad);
}

TEST_CASE("checkpoint: only parameters train, only the input, nothing, or nobody looks") {
  auto w = make_weight();
  const auto block = [&](const T64& in) { return linear(in, w); };
  const T64 constant = T64::full(Reference(), {1, 3}, 2.0);
  sum(checkpoint(block, constant)).backward();
  CHECK(w.grad().to_vector() == Values(9, 2.0));
  w.zero_grad();

  w.freeze();
  const T64 x = leaf({1, 3}, {1, 1, 1});
  sum(checkpoint(block, x)).backward();
  CHECK(x.grad().to_vector()[0] == doctest::Approx(0.1 + 0.4 - 0.7));
  CHECK(!w.grad());

  const T64 other = leaf({1, 3}, {1, 1, 1});
  sum(checkpoint(block, constant) * other).backward();  // a frozen part between parts that train
  CHECK(other.grad());
  const NoGradGuard guard;
  CHECK(!checkpoint(block, x).requires_grad());
}

TEST_CASE("checkpoint: backward under NoGradGuard records what it computes again") {
  const auto w = make_weight();
  const T64 x = leaf({1, 3}, {1, 1, 1});
  const T64 y = sum(checkpoint([&](const T64& in) { return linear(in, w); }, x));
  const NoGradGuard guard;
  y.backward();
  CHECK(x.grad());
  CHECK(w.grad());
  CHECK(!exp(x).requires_grad());
}

TEST_CASE("checkpoint: an input that was changed in place") {
  const T64 x = leaf({1, 3}, {1, 1, 1});
  const T64 y = sum(checkpoint([](const T64& in) { return exp(in); }, x));
  x.detach().copy_from(Values{2, 2, 2});
  CHECK_THROWS_AS(y.backward(), GraphError);
}

TEST_CASE("checkpoint: keeps the inputs of the parts alone") {
  const std::int64_t n = 10'000;
  const std::size_t array = n * sizeof(double);
  const auto part = [](const Tensor<double, Counted>& in) {
    auto y = in;
    for (int i = 0; i < 10; ++i) y = exp(y * 0.125f);
    return y;
  };
  const auto before = Counted::current;
  const auto x = Tensor<double, Counted>::full(Counted(), {n}, 0.5).set_requires_grad();
  auto y = x;
  for (int i = 0; i < 4; ++i) y = checkpoint(part, y);
  CHECK(Counted::current - before <= 5 * array);
  const auto seed = Detached<double, Counted>::full(Counted(), {n}, 1.0);
  Counted::peak = Counted::current;
  y.backward(seed);
  CHECK(Counted::peak - before <= (6 + 10 + 4) * array);  // what is kept, one part's insides, gradients
}

TEST_CASE("checkpoint: several inputs, some of which need a gradient") {
  const auto w = make_weight();
  const T64 x = leaf({2, 3}, {1, 2, 3, 4, 5, 6}), z = leaf({2, 3}, {6, 5, 4, 3, 2, 1});
  const T64 constant = T64::full(Reference(), {2, 3}, 0.5);
  const auto block = [&](const T64& a, const T64& b, const T64& c) {
    return linear(a * b, w, {}, Unary::tanh) * c + a;
  };
  sum(block(x, constant, z)).backward();
  const auto x_grad = x.grad().to_vector(), z_grad = z.grad().to_vector(), w_grad = w.grad().to_vector();
  x.zero_grad();
  z.zero_grad();
  w.zero_grad();
  sum(checkpoint(block, x, constant, z)).backward();
  CHECK(x.grad().to_vector() == x_grad);
  CHECK(z.grad().to_vector() == z_grad);
  CHECK(w.grad().to_vector() == w_grad);

  // One tensor as two inputs.
  x.zero_grad();
  sum(block(x, constant, x)).backward();
  const auto twice = x.grad().to_vector();
  x.zero_grad();
  sum(checkpoint(block, x, constant, x)).backward();
  for (std::size_t i = 0; i < twice.size(); ++i)
    CHECK(x.grad().to_vector()[i] == doctest::Approx(twice[i]).epsilon(1e-12));
}

TEST_CASE("checkpoint: a captured tensor keeps its gradient or is an error, never a gradient that is lost") {
  const T64 x = leaf({1, 3}, {1, 2, 3}), captured_leaf = leaf({1, 3}, {4, 5, 6});
  sum(checkpoint([&](const T64& in) { return in * captured_leaf; }, x)).backward();
  CHECK(captured_leaf.grad().to_vector() == Values{1, 2, 3});

  const T64 computed = captured_leaf * captured_leaf;
  const T64 y = checkpoint([&](const T64& in) { return in * computed; }, x);
  CHECK_THROWS_WITH_AS(sum(y + computed).backward(), doctest::Contains("make it an input"), GraphError);
}
