// Parameters: masters, rows under names of their own, freezing, lists.
#include <doctest/doctest.h>
#include <attune/autograd/backward.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/sum.hpp>
#include <attune/tensor/parameter_list.hpp>

using namespace attune;

namespace {

template <class T>
using P = Parameter<T, Reference>;
using Values = std::vector<float>;

template <class T>
NamedParameter<Reference> named(const P<T>& p) {
  return {"name", p.state(), p.row_begin(), p.row_end()};
}

}  // namespace

TEST_CASE("parameter: handles share, rows are parts") {
  const P<float> whole(Reference(), {6, 2}, Init::normal, 3);
  whole.assign(Values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const P<float> middle = whole.rows(2, 4), last = middle.rows(1, 2);
  CHECK(middle.shape() == Shape{2, 2});
  CHECK(middle.value().to_vector() == Values{4, 5, 6, 7});
  CHECK(last.value().to_vector() == Values{6, 7});
  CHECK(last.row_begin() == 3);
  CHECK(!middle.whole());
  CHECK(whole.whole());
  last.assign(Values{-6, -7});
  CHECK(whole.value().to_vector() == Values{0, 1, 2, 3, 4, 5, -6, -7, 8, 9, 10, 11});
  CHECK_THROWS_AS(whole.rows(-1, 2), ShapeError);
  CHECK_THROWS_AS(whole.rows(3, 2), ShapeError);
  CHECK_THROWS_AS(middle.rows(1, 3), ShapeError);
  CHECK_THROWS_AS(whole.assign(Values(3)), ShapeError);
  CHECK(!P<float>());
}

TEST_CASE("parameter: bfloat16 keeps a float master and computes with its rounding") {
  const P<bfloat16> p(Reference(), {2});
  p.assign(Values{1.001f, 2.0f});
  CHECK(p.master().to_vector() == Values{1.001f, 2.0f});
  CHECK(float(p.value().to_vector()[0]) == 1.0f);
  p.master().copy_from(Values{3.0f, 4.01f});
  CHECK(float(p.value().to_vector()[0]) == 1.0f);  // until it is rounded again
  const auto version = p.value().storage().version();
  p.round();
  CHECK(float(p.value().to_vector()[0]) == 3.0f);
  CHECK(p.value().storage().version() != version);
  const P<float> same(Reference(), {2});
  CHECK(same.master().data() == same.value().data());
}

TEST_CASE("parameter: gradients of rows lie in one array, zero where nothing came") {
  const P<float> whole(Reference(), {3, 2}, Init::normal, 3);
  whole.assign(Values(6, 1.0f));
  const auto x = Tensor<float, Reference>::full(Reference(), {1, 2}, 2.0);
  sum(linear(x, whole.rows(1, 2))).backward();
  CHECK(whole.grad().to_vector() == Values{0, 0, 2, 2, 0, 0});
  sum(linear(x, whole)).backward();
  CHECK(whole.grad().to_vector() == Values{2, 2, 4, 4, 2, 2});
  CHECK(whole.rows(1, 2).grad().to_vector() == Values{4, 4});
  whole.zero_grad();
  CHECK(!whole.grad());
  CHECK(!whole.rows(0, 1).grad());
  sum(linear(x, whole.rows(0, 1))).backward();  // nothing of the old gradient comes back
  CHECK(whole.grad().to_vector() == Values{2, 2, 0, 0, 0, 0});
}

TEST_CASE("parameter: freezing parts") {
  const P<float> whole(Reference(), {3, 2}, Init::normal, 3);
  whole.assign(Values(6, 1.0f));
  const P<float> first = whole.rows(0, 1), second = whole.rows(1, 2), both = whole.rows(0, 2);
  second.freeze();
  CHECK(whole.trainable());
  CHECK(first.trainable());
  CHECK(!second.trainable());
  CHECK(both.trainable());
  const auto x = Tensor<float, Reference>::full(Reference(), {1, 2}, 2.0);
  sum(linear(x, whole)).backward();
  CHECK(first.grad().to_vector() == Values{2, 2});
  CHECK(!second.grad());
  CHECK(!named(second).has_grad());
  CHECK_THROWS_AS(named(second).grad(), GraphError);
  CHECK(!linear(x, second).requires_grad());
  set_trainable(named(whole), false);
  CHECK(!whole.trainable());
  CHECK(!whole.grad());
  set_trainable(named(second), true);
  CHECK(second.trainable());
  CHECK(!first.trainable());
  whole.state()->owner = 1;
  second.freeze();
  CHECK(whole.state()->owner == 0);  // the optimizer that had it can no longer step
}

TEST_CASE(
    "parameter: the last part that is frozen gives up the master, the first that trains makes it again") {
  const P<bfloat16> whole(Reference(), {2, 1}, Init::normal, 2);
  whole.assign(Values{1.001f, 2.001f});
  set_trainable(named(whole.rows(0, 1)), false);
  CHECK(whole.master().to_vector() == Values{1.001f, 2.001f});
  set_trainable(named(whole.rows(1, 2)), false);
  CHECK(!whole.master());
  CHECK_THROWS_AS(named(whole).master(), GraphError);
  whole.assign(Values{5.001f, 6.0f});  // a frozen parameter can be loaded
  CHECK(!whole.master());
  CHECK(float(whole.value().to_vector()[0]) == 5.0f);
  set_trainable(named(whole.rows(1, 2)), true);
  CHECK(whole.master().to_vector() == Values{5.0f, 6.0f});
}

TEST_CASE("parameter: a list counts, and gives floats of floats alone") {
  const P<float> a(Reference(), {4, 2}), b(Reference(), {3});
  b.freeze();
  ParameterList<Reference> list{{named(a), named(b)}, nullptr};
  CHECK(list.size() == 2);
  CHECK(list.count() == 11);
  CHECK(list.count(true) == 8);
  a.assign(Values(8, 2.0f));
  CHECK(list.items[0].master().to_vector() == Values(8, 2.0f));
  const Parameter<double, Reference> wide(Reference(), {1});
  CHECK_THROWS_AS((NamedParameter<Reference>{"wide", wide.state(), 0, 1}.master()), GraphError);
}
