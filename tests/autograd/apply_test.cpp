// Operations that a user defines: several outputs, parameters, what is needed; long graphs and their memory.
#include <doctest/doctest.h>
#include <attune/autograd/checkpoint.hpp>
#include <attune/ops/binary.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/sum.hpp>
#include <attune/ops/unary.hpp>

#include <type_traits>

#include "autograd/counted.hpp"

using namespace attune;
using attune::testing::Counted;
using attune::testing::leaf;

namespace {

using T64 = Tensor<double, Reference>;
using D64 = Detached<double, Reference>;
using Values = std::vector<double>;

/// (2 x, 3 x), noting which gradients arrived.
struct TwoAndThree {
  static constexpr const char* name = "two_and_three";
  std::vector<int>* arrived;

  std::tuple<D64, D64> forward(Needs, const D64& x) {
    const D64 two(x.device(), x.shape()), three(x.device(), x.shape());
    x.device().axpby(2.0f, std::span<const double>(x.span()), 0.0f, two.span());
    x.device().axpby(3.0f, std::span<const double>(x.span()), 0.0f, three.span());
    return {two, three};
  }
  void backward(const std::tuple<D64, D64>& dy, Gradient<double, Reference> dx) const {
    const auto& [two, three] = dy;
    arrived->assign({two ? 1 : 0, three ? 1 : 0});
    for (const auto& [gradient, factor] : {std::pair(two, 2.0f), std::pair(three, 3.0f)}) {
      if (!gradient) continue;
      dx.write([&, gradient = gradient, factor = factor](const D64& out) {
        out.device().axpby(factor, std::span<const double>(gradient.span()), 0.0f, out.span());
      });
    }
  }
};

/// x, handing its gradient on twice.
struct Twice {
  static constexpr const char* name = "twice";
  D64 forward(Needs, const D64& x) { return x; }
  void backward(const D64& dy, Gradient<double, Reference> dx) const {
    dx.adopt(dy);
    dx.adopt(dy);
  }
};

/// x y, noting what was said to be needed.
struct Noting {
  static constexpr const char* name = "noting";
  Needs* forward_needs;
  std::vector<bool>* backward_wants;

  D64 forward(Needs needs, const D64& x, const D64& y, const D64& w) {
    *forward_needs = needs;
    const D64 result(x.device(), x.shape());
    result.data()[0] = x.data()[0] + y.data()[0] + w.data()[0];
    return result;
  }
  void backward(const D64& dy, Gradient<double, Reference> dx, Gradient<double, Reference> dz,
                Gradient<double, Reference> dw) const {
    backward_wants->assign({bool(dx), bool(dz), bool(dw)});
    if (dx) dx.adopt(dy);
    if (dz) dz.adopt(dy);
    if (dw) dw.adopt(dy);
  }
};

template <class B>
Tensor<double, B> chain(const Tensor<double, B>& x, int length) {
  Tensor<double, B> y = x;
  for (int i = 0; i < length; ++i) y = exp(y * 0.125f);
  return y;
}

}  // namespace

TEST_CASE("apply: several outputs, all or some of which are used") {
  const T64 x = leaf({2}, {1, 10});
  std::vector<int> arrived;
  auto [two, three] = apply(TwoAndThree{&arrived}, x);
  static_assert(std::is_same_v<decltype(two), T64>);
  CHECK(two.to_vector() == Values{2, 20});
  CHECK(three.to_vector() == Values{3, 30});
  sum(two * three).backward(true);  // 6 x^2
  CHECK(arrived == std::vector<int>{1, 1});
  CHECK(x.grad().to_vector() == Values{12, 120});

  x.zero_grad();
  sum(three).backward(true);
  CHECK(arrived == std::vector<int>{0, 1});
  CHECK(x.grad().to_vector() == Values{3, 3});

  x.zero_grad();
  two = T64();  // an output that nobody holds any more
  sum(three * 2.0f).backward();
  CHECK(arrived == std::vector<int>{0, 1});
  CHECK(x.grad().to_vector() == Values{6, 6});

  const NoGradGuard guard;
  const auto [a, b] = apply(TwoAndThree{&arrived}, x);
  CHECK(!a.requires_grad());
  CHECK(!b.requires_grad());
}

TEST_CASE("apply: contributions to one gradient add up, and never in the caller's array") {
  const T64 x = leaf({2}, {1, 2});
  const auto seed = D64::from_values(Reference(), {2}, Values{1, 10});
  apply(Twice{}, x).backward(seed);
  CHECK(x.grad().to_vector() == Values{2, 20});
  CHECK(seed.to_vector() == Values{1, 10});

  const double* const before = x.grad().data();
  sum(x * 1.0f).backward();  // nobody holds the gradient: it is added to where it lies
  CHECK(x.grad().data() == before);
  CHECK(x.grad().to_vector() == Values{3, 21});
}

TEST_CASE("apply: an operation hears which inputs need a gradient") {
  const T64 x = leaf({1}, {1}), constant = T64::full(Reference(), {1}, 2.0);
  Parameter<double, Reference> w(Reference(), {1});
  w.assign(Values{3});
  Needs needs;
  std::vector<bool> wants;
  const auto run = [&](const T64& a, const T64& b) {
    needs = {};
    wants.clear();
    return apply(Noting{&needs, &wants}, a, b, w);
  };
  run(constant, x).backward();
  CHECK(needs.any);
  CHECK((!needs[0] && needs[1] && needs[2]));
  CHECK(wants == std::vector<bool>{false, true, true});
  CHECK(w.grad().item() == 1.0);

  w.freeze();
  run(x, constant).backward();
  CHECK((needs[0] && !needs[1] && !needs[2]));
  CHECK(wants == std::vector<bool>{true, false, false});
  CHECK(!w.grad());

  CHECK(!run(constant, constant).requires_grad());
  CHECK(!needs.any);
  {
    const NoGradGuard guard;
    run(x, x);
  }
  CHECK((!needs.any && !needs[0]));
}

TEST_CASE("apply: a chain of 100,000 operations goes back and is freed without recursion") {
  const int length = 100'000;
  const T64 x = leaf({1}, {1});
  {
    T64 y = x;
    for (int i = 0; i < length; ++i) y = -y;
    y.backward();
    CHECK(x.grad().item() == 1.0);
  }
  {
    T64 y = x;  // freed without backward, and while a second chain hangs on it
    for (int i = 0; i < length; ++i) y = -y;
    T64 z = y * y;
    y = T64();
    for (int i = 0; i < length; ++i) z = -z;
  }
  {
    T64 y = x;  // retained
    for (int i = 0; i < length; ++i) y = -y;
    y.backward(true);
    y.backward(true);
    CHECK(x.grad().item() == 3.0);
  }
}

TEST_CASE("apply: backward frees what was saved as it goes") {
  const std::int64_t n = 10'000;
  const std::size_t array = n * sizeof(double);
  const int length = 20;
  const auto before = Counted::current;
  {
    const auto x = Tensor<double, Counted>::full(Counted(), {n}, 0.5).set_requires_grad();
    auto y = chain(x, length);
    const auto graph = Counted::current - before;
    CHECK(graph >= length * array);
    y.retain_grad();
    const auto seed = Detached<double, Counted>::full(Counted(), {n}, 1.0);
    const auto start = Counted::current;
    Counted::peak = start;
    y.backward(seed);
    CHECK(Counted::peak <= start + 3 * array);      // a gradient that comes, one that goes
    CHECK(Counted::current - before <= 4 * array);  // x, y, seed, x's gradient
    CHECK(x.grad());
  }
  CHECK(Counted::current == before);
  {
    const auto x = Tensor<double, Counted>::full(Counted(), {n}, 0.5).set_requires_grad();
    const NoGradGuard guard;
    const auto y = chain(x, length);
    CHECK(Counted::current - before == 2 * array);
  }
}

TEST_CASE("apply: gradients of bfloat16 parameters are float") {
  using BF = Tensor<bfloat16, Reference>;
  const Parameter<bfloat16, Reference> w(Reference(), {1, 1});
  w.assign(std::vector<float>{1.00001f});  // the master keeps it, the value does not
  CHECK(w.master().item() == 1.00001f);
  CHECK(float(w.value().item()) == 1.0f);
  static_assert(std::is_same_v<decltype(w.grad()), Detached<float, Reference>>);
  // 1 + 2^-10 is no bfloat16, and neither is the sum of the two rows' contributions.
  const std::vector<bfloat16> rows{1.0f, 0x1p-10f};
  const BF x = BF::from_values(Reference(), {2, 1}, rows);
  linear(x, w).backward(Detached<bfloat16, Reference>::full(Reference(), {2, 1}, 1.0));
  CHECK(w.grad().item() == 1.0f + 0x1p-10f);
  linear(x, w).backward(Detached<bfloat16, Reference>::full(Reference(), {2, 1}, 1.0));
  CHECK(w.grad().item() == 2.0f + 0x1p-9f);
  w.zero_grad();
  CHECK(!w.grad());
}
