// What the graph records, in which order backward visits it, and what it refuses.
#include <doctest/doctest.h>
#include <attune/ops/binary.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/sum.hpp>
#include <attune/ops/unary.hpp>
#include <attune/ops/view.hpp>

#include <string>
#include <thread>

#include "autograd/counted.hpp"

using namespace attune;
using attune::testing::leaf;

namespace {

using T64 = Tensor<double, Reference>;
using P64 = Parameter<double, Reference>;
using Values = std::vector<double>;

template <class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const GraphError& error) {
    return error.what();
  }
  return {};
}
bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("graph: backward twice needs retain_graph, and the error names the operation") {
  const T64 x = leaf({2}, {1, 2});
  const T64 y = sum(exp(x));
  y.backward(true);
  y.backward(true);
  CHECK(x.grad().to_vector()[0] == doctest::Approx(2 * std::exp(1.0)));
  y.backward();
  CHECK(x.grad().to_vector()[1] == doctest::Approx(3 * std::exp(2.0)));
  const std::string message = message_of([&] { y.backward(); });
  CHECK(contains(message, "'reshape'"));  // the last operation of sum()
  CHECK(contains(message, "retain_graph"));

  // A graph whose lower part was freed through another result.
  const T64 shared = exp(x), first = sum(shared), second = sum(shared * 2.0f);
  first.backward();
  CHECK(contains(message_of([&] { second.backward(); }), "'unary'"));
}

TEST_CASE("graph: a saved tensor that was changed in place") {
  T64 x = leaf({2}, {1, 2});
  const T64 y = sum(log(x));
  x.detach().copy_from(Values{3, 4});
  const std::string message = message_of([&] { y.backward(); });
  CHECK(contains(message, "shape [2]"));
  CHECK(contains(message, "changed in place"));

  const T64 result = exp(x), total = sum(result);  // exp saves its output
  result.detach().copy_from(Values{0, 0});
  CHECK_THROWS_AS(total.backward(), GraphError);

  const P64 w(Reference(), {1, 2});
  w.assign(Values{1, 1});
  const T64 z = sum(linear(x, w));
  w.assign(Values{2, 2});
  CHECK_THROWS_AS(z.backward(), GraphError);

  // What no gradient reads may change: a sum keeps nothing.
  const T64 plain = sum(x * 2.0f);
  x.detach().copy_from(Values{5, 6});
  CHECK_NOTHROW(plain.backward());
}

TEST_CASE("graph: a backward that failed half way leaves no gradients for the next") {
  const T64 x = leaf({1}, {2}), other = leaf({1}, {3});
  const T64 saved = exp(other);
  const T64 y = sum(x * 2.0f + exp(saved));
  const auto before = saved.to_vector();
  saved.detach().copy_from(Values{0});
  CHECK_THROWS_AS(y.backward(true), GraphError);
  x.zero_grad();
  other.zero_grad();
  const T64 again = sum(x * 2.0f * 3.0f);
  again.backward();
  CHECK(x.grad().item() == 6.0);
}

TEST_CASE("graph: retaining a graph and failing in it does not double gradients") {
  const T64 x = leaf({1}, {2}), other = leaf({1}, {3});
  const T64 middle = x * 2.0f;
  const T64 changed = other * 1.0f;
  const T64 first = sum(middle * middle + log(changed));
  changed.detach().copy_from(Values{1});
  CHECK_THROWS_AS(first.backward(true), GraphError);
  x.zero_grad();
  sum(middle * 5.0f).backward();
  CHECK(x.grad().item() == 10.0);
}

TEST_CASE("graph: NoGradGuard records nothing, in this thread alone, and nests") {
  const T64 x = leaf({2}, {1, 2});
  {
    const NoGradGuard guard;
    CHECK(!exp(x).requires_grad());
    {
      const NoGradGuard inner;
      CHECK(!exp(x).requires_grad());
    }
    CHECK(!(x * x).requires_grad());
    bool elsewhere = false;
    std::thread([&] { elsewhere = exp(x).requires_grad(); }).join();
    CHECK(elsewhere);
    CHECK(x.requires_grad());
  }
  CHECK(exp(x).requires_grad());
  // backward itself may run under the guard.
  const T64 y = sum(exp(x));
  const NoGradGuard guard;
  y.backward();
  CHECK(x.grad());
}

TEST_CASE("graph: no input needs a gradient, nothing is recorded") {
  const T64 constant = T64::full(Reference(), {2}, 1.0);
  CHECK(!(constant * constant).requires_grad());
  P64 w(Reference(), {1, 2});
  w.assign(Values{1, 2});
  CHECK(linear(constant, w).requires_grad());
  w.freeze();
  CHECK(!linear(constant, w).requires_grad());
  CHECK_THROWS_AS(sum(constant).backward(), GraphError);
  CHECK_THROWS_AS(constant.retain_grad(), GraphError);
}

TEST_CASE("graph: detach cuts, and shares memory") {
  const T64 x = leaf({2}, {1, 2});
  const T64 cut(exp(x).detach());
  CHECK(!cut.requires_grad());
  const T64 y = sum(x * cut);
  y.backward();
  CHECK(x.grad().to_vector()[0] == doctest::Approx(std::exp(1.0)));  // as if exp(x) were a constant
  const T64 view(x.detach());
  x.detach().copy_from(Values{7, 8});
  CHECK(view.to_vector() == Values{7, 8});
}

TEST_CASE("graph: what can have its requires_grad changed") {
  T64 x = leaf({1}, {1});
  T64 y = exp(x);
  CHECK(contains(message_of([&] { y.set_requires_grad(false); }), "unary"));
  x.set_requires_grad(false);
  CHECK(!exp(x).requires_grad());
  CHECK(!x.grad());
}

TEST_CASE("graph: only a scalar starts backward alone; a seed has the tensor's shape") {
  const T64 x = leaf({2}, {1, 2});
  const T64 y = x * 3.0f;
  CHECK_THROWS_AS(y.backward(), ShapeError);
  CHECK_THROWS_AS(y.backward(Detached<double, Reference>(Reference(), {3})), ShapeError);
  y.backward(Detached<double, Reference>::from_values(Reference(), {2}, Values{1, 10}));
  CHECK(x.grad().to_vector() == Values{3, 30});
  // A strided seed.
  const T64 z = leaf({2, 2}, {1, 2, 3, 4});
  const auto seed = Detached<double, Reference>::from_values(Reference(), {2, 2}, Values{1, 2, 3, 4});
  (z * 1.0f).backward(seed.permute(std::vector<int>{1, 0}));
  CHECK(z.grad().to_vector() == Values{1, 3, 2, 4});
  // A leaf is its own gradient.
  const T64 scalar = leaf({}, {5});
  scalar.backward();
  scalar.backward();
  CHECK(scalar.grad().item() == 2.0);
}

TEST_CASE("graph: retain_grad keeps a computed tensor's gradient and adds up over calls") {
  const T64 x = leaf({2}, {1, 2});
  const T64 y = x * 2.0f, z = y * 3.0f, total = sum(z);
  y.retain_grad();
  total.retain_grad();
  total.backward(true);
  CHECK(y.grad().to_vector() == Values{3, 3});
  CHECK(!z.grad());
  CHECK(total.grad().item() == 1.0);
  const auto kept = y.grad();
  total.backward();
  CHECK(y.grad().to_vector() == Values{6, 6});
  CHECK(total.grad().item() == 2.0);
  CHECK(kept.to_vector() == Values{3, 3});
  CHECK(x.grad().to_vector() == Values{12, 12});  // 6 for each call: what is kept does not flow again
  y.zero_grad();
  CHECK(!y.grad());
}

TEST_CASE("graph: diamonds") {
  const T64 x = leaf({1}, {3});
  sum(x * x + x).backward();
  CHECK(x.grad().item() == 7.0);

  // Both sides of unequal depth, joined late, and an operation created after its consumer's sibling.
  x.zero_grad();
  const T64 a = x * 2.0f;
  const T64 shallow = a * 5.0f;
  const T64 deep = (a * 3.0f) * a;     // 3 a^2
  sum(deep + shallow + a).backward();  // 12 x^2 + 10 x + 2 x
  CHECK(x.grad().item() == 24 * 3 + 12);

  // 2^60 paths, visited in one pass.
  x.zero_grad();
  T64 y = x;
  for (int i = 0; i < 60; ++i) y = (y + y) * 0.5f;
  sum(y).backward();
  CHECK(x.grad().item() == 1.0);
}

TEST_CASE("graph: a leaf in two graphs, and accumulation until zero_grad") {
  const T64 x = leaf({2}, {1, 2});
  sum(x * 2.0f).backward();
  sum(x * x).backward();
  CHECK(x.grad().to_vector() == Values{4, 6});
  x.zero_grad();
  CHECK(!x.grad());
  sum(x * 2.0f).backward();
  CHECK(x.grad().to_vector() == Values{2, 2});
}

TEST_CASE("graph: gradients that a user holds never change") {
  const T64 x = leaf({2}, {1, 2}), z = leaf({2}, {3, 4});
  const T64 y = x + z;  // both adopt one array
  const auto seed = Detached<double, Reference>::from_values(Reference(), {2}, Values{1, 10});
  y.backward(seed, true);
  const auto held = x.grad();
  CHECK(held.to_vector() == Values{1, 10});
  sum(x * 100.0f).backward();
  CHECK(x.grad().to_vector() == Values{101, 110});
  CHECK(held.to_vector() == Values{1, 10});
  CHECK(z.grad().to_vector() == Values{1, 10});
  CHECK(seed.to_vector() == Values{1, 10});
  y.backward(seed);
  CHECK(z.grad().to_vector() == Values{2, 20});
  CHECK(held.to_vector() == Values{1, 10});
  CHECK(seed.to_vector() == Values{1, 10});

  // Through views, which hand their gradient on in another shape.
  const T64 m = leaf({2, 2}, {1, 2, 3, 4});
  const T64 flat = reshape(m, {4});
  flat.retain_grad();
  sum(flat * 3.0f).backward();
  const auto gradient = m.grad(), inner = flat.grad();
  sum(slice(m, 0, 0, 1)).backward();
  CHECK(gradient.to_vector() == Values{3, 3, 3, 3});
  CHECK(inner.to_vector() == Values{3, 3, 3, 3});
  CHECK(m.grad().to_vector() == Values{4, 4, 3, 3});
}

TEST_CASE("graph: two threads with a graph each") {
  double results[2] = {};
  const auto work = [&](int which) {
    const T64 x = leaf({1}, {which + 1.0});
    for (int i = 0; i < 200; ++i) sum(x * x).backward();
    results[which] = x.grad().item();
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  CHECK(results[0] == 400.0);
  CHECK(results[1] == 800.0);
}
