// gradcheck() passes right backwards and names what is wrong in others.
#include <doctest/doctest.h>
#include <attune/autograd/gradcheck.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/sum.hpp>
#include <attune/ops/unary.hpp>

using namespace attune;

namespace {

using T64 = Tensor<double, Reference>;
using P64 = Parameter<double, Reference>;

T64 leaf(const Shape& shape, std::vector<double> values) {
  return T64::from_values(Reference(), shape, values).set_requires_grad();
}

P64 parameter(const Shape& shape, std::vector<double> values) {
  const P64 p(Reference(), shape);
  p.assign(values);
  return p;
}

/// y = x + c element by element, with a gradient that is wrong for element `wrong`.
struct WrongCube {
  static constexpr const char* name = "wrong_cube";
  std::int64_t wrong = -1;
  double factor = 2.0;
  Saved<double, Reference> saved{};

  Detached<double, Reference> forward(Needs, const Detached<double, Reference>& x) {
    saved = x;
    const Detached<double, Reference> y(x.device(), x.shape());
    for (std::int64_t i = 0; i < x.size(); ++i) y.data()[i] = x.data()[i] * x.data()[i] * x.data()[i];
    return y;
  }
  void backward(const Detached<double, Reference>& dy, Gradient<double, Reference> dx) const {
    const double* x = saved.get().data();
    dx.write([&](const Detached<double, Reference>& out) {
      for (std::int64_t i = 0; i < out.size(); ++i)
        out.data()[i] = 3.0 * x[i] * x[i] * dy.data()[i] * (i == wrong ? factor : 1.0);
    });
  }
};

}  // namespace

TEST_CASE("gradcheck: passes tensors, strided tensors and parameters, and leaves values as they were") {
  const T64 x = leaf({2, 3}, {0.1, -0.2, 0.3, 0.4, -0.5, 0.6});
  const T64 base = leaf({3, 2}, {1, 2, 3, 4, 5, 6});
  const T64 strided = T64(base.detach().permute(std::vector<int>{1, 0})).set_requires_grad();
  const P64 w = parameter({2, 3}, {1, 2, 3, -1, -2, -3}), b = parameter({2}, {0.5, -0.5});
  const auto f = [](const T64& a, const T64& c, const P64& weight, const P64& bias) {
    return linear(a * c, weight, bias, Unary::gelu);
  };
  const GradcheckResult result = gradcheck(f, std::tuple{x, strided, w, b});
  CHECK_MESSAGE(result.ok, result.message);
  CHECK(result.message.empty());
  CHECK(x.to_vector() == std::vector<double>{0.1, -0.2, 0.3, 0.4, -0.5, 0.6});
  CHECK(base.to_vector() == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(w.value().to_vector() == std::vector<double>{1, 2, 3, -1, -2, -3});
  CHECK(!x.grad());
  CHECK(!w.grad());
}

TEST_CASE("gradcheck: the same tensor twice, constants, absent parameters, no elements") {
  const T64 x = leaf({2}, {0.3, 0.7}), constant = T64::full(Reference(), {2}, 2.0);
  const auto product = [](const T64& a, const T64& b) { return a * b * a; };
  CHECK(gradcheck(product, std::tuple{x, x}).ok);
  CHECK(gradcheck(product, std::tuple{x, constant}).ok);
  CHECK(gradcheck([](const T64& a, const P64& w, const P64& none) { return linear(a, w, none); },
                  std::tuple{x, parameter({1, 2}, {1, 2}), P64()})
            .ok);
  CHECK(gradcheck([](const T64& a) { return exp(a); }, std::tuple{leaf({0, 3}, {})}).ok);
}

TEST_CASE("gradcheck: catches a wrong backward and says where") {
  const T64 other = leaf({4}, {1, 1, 1, 1}), x = leaf({4}, {0.5, 1.0, 1.5, 2.0});
  for (std::int64_t wrong = 0; wrong < 4; ++wrong) {
    const auto f = [&](const T64& a, const T64& b) { return a + apply(WrongCube{wrong}, b); };
    const GradcheckResult result = gradcheck(f, std::tuple{other, x});
    REQUIRE(!result.ok);
    CHECK(result.input == 1);
    CHECK(result.element == wrong);
    CHECK(result.analytic == doctest::Approx(2.0 * result.numeric).epsilon(1e-4));
    CHECK(result.message.find("input 1 (a tensor of shape [4]), element " + std::to_string(wrong)) !=
          std::string::npos);
    CHECK(result.message.find(std::to_string(result.numeric)) != std::string::npos);
  }
  CHECK(gradcheck([](const T64& b) { return apply(WrongCube{}, b); }, std::tuple{x}).ok);
}

TEST_CASE("gradcheck: its tolerances count") {
  const T64 x = leaf({1}, {1.0});
  const auto slightly = [](double factor) {
    return [factor](const T64& b) { return apply(WrongCube{0, factor}, b); };
  };
  CHECK(gradcheck(slightly(1.0005), std::tuple{x}).ok);
  CHECK(!gradcheck(slightly(1.002), std::tuple{x}).ok);
  CHECK(gradcheck(slightly(1.002), std::tuple{x}, {.rtol = 1e-2}).ok);
  CHECK(!gradcheck(slightly(1.0005), std::tuple{x}, {.atol = 0.0, .rtol = 1e-6}).ok);
  CHECK(!gradcheck(slightly(std::numeric_limits<double>::quiet_NaN()), std::tuple{x}).ok);
}

TEST_CASE("gradcheck: reports a parameter, and refuses what cannot be checked") {
  const T64 x = leaf({1, 1}, {2.0});
  const P64 w = parameter({1, 1}, {3.0});
  // The weight's value is read past the graph, so its gradient is missing.
  const auto hidden = [](const T64& a, const P64& weight) { return a * T64(weight.value()); };
  const GradcheckResult result = gradcheck(hidden, std::tuple{x, w});
  REQUIRE(!result.ok);
  CHECK(result.input == 1);
  CHECK(result.analytic == 0.0);
  CHECK(result.message.find("a parameter of shape [1, 1]") != std::string::npos);

  CHECK_THROWS_AS(gradcheck([](const T64& a) { return T64(a.detach()); }, std::tuple{x}), GraphError);
  int calls = 0;
  const auto changing = [&](const T64& a) { return a * static_cast<float>(++calls); };
  const GradcheckResult unsteady = gradcheck(changing, std::tuple{x});
  CHECK(!unsteady.ok);
  CHECK(unsteady.message.find("called again") != std::string::npos);
}
