// Shapes, strides and views of arrays, and what is refused of them.
#include <doctest/doctest.h>
#include <attune/backend/reference/reference.hpp>
#include <attune/tensor/detached.hpp>
#include <attune/tensor/device_segments.hpp>
#include <attune/tensor/tensor.hpp>

#include <numeric>

using namespace attune;

namespace {

using Array = Detached<float, Reference>;
using Values = std::vector<float>;

Array numbered(const Shape& shape) {
  Values values(static_cast<std::size_t>(shape.size()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Array::from_values(Reference(), shape, values);
}

std::vector<int> order(std::initializer_list<int> dims) { return dims; }

}  // namespace

TEST_CASE("array: values in and out, sizes that do not fit") {
  const Array a = numbered({2, 3});
  CHECK(a.to_vector() == Values{0, 1, 2, 3, 4, 5});
  CHECK(a.shape() == Shape{2, 3});
  CHECK(a.strides() == Shape{3, 1});
  CHECK(a.contiguous());
  CHECK_THROWS_AS(Array::from_values(Reference(), {2, 3}, Values(5)), ShapeError);
  CHECK_THROWS_AS(a.copy_from(Values(7)), ShapeError);
  CHECK_THROWS_AS(a.item(), ShapeError);
  CHECK(Array::full(Reference(), {}, 2.5).item() == 2.5f);
  CHECK(Array::full(Reference(), {0, 4}, 1).to_vector().empty());
  CHECK(!Array());
  CHECK(a);
}

TEST_CASE("array: views share memory, clones do not") {
  const Array a = numbered({3, 4});
  const Array row = a.slice(0, 1, 2), column = a.slice(1, 2, 3), turned = a.permute(order({1, 0}));
  CHECK(row.to_vector() == Values{4, 5, 6, 7});
  CHECK(column.to_vector() == Values{2, 6, 10});
  CHECK(turned.to_vector() == Values{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  CHECK(turned.slice(0, 1, 3).slice(1, 1, 3).to_vector() == Values{5, 9, 6, 10});
  const Array copy = turned.clone();
  CHECK(copy.contiguous());
  row.copy_from(Values{-4, -5, -6, -7});
  CHECK(a.to_vector()[4] == -4.0f);
  CHECK(turned.to_vector()[1] == -4.0f);
  CHECK(copy.to_vector()[1] == 4.0f);
  CHECK(a.contiguous_copy().data() == a.data());
  CHECK(turned.contiguous_copy().data() != a.data());
}

TEST_CASE("array: the version counts changes of any part") {
  const Array a = numbered({3, 4});
  const Array row = a.slice(0, 1, 2), copy = a.clone();
  const auto before = a.storage().version();
  row.copy_from(Values(4));
  CHECK(a.storage().version() == before + 1);
  CHECK(row.storage().version() == before + 1);
  copy.copy_from(Values(12));
  CHECK(a.storage().version() == before + 1);
}

TEST_CASE("array: reshape, expand, permute, slice refuse what does not fit") {
  const Array a = numbered({2, 6}), turned = a.permute(order({1, 0}));
  CHECK(a.reshape({3, -1}).shape() == Shape{3, 4});
  CHECK(a.reshape({12}).to_vector() == a.to_vector());
  CHECK(numbered({0, 4}).reshape({-1, 2}).shape() == Shape{0, 2});
  for (const Shape& shape : {Shape{5, -1}, Shape{-1, -1}, Shape{13}, Shape{-2, -6}, Shape{0, -1}})
    CHECK_THROWS_AS(a.reshape(shape), ShapeError);
  CHECK_THROWS_AS(turned.reshape({12}), ShapeError);
  for (const auto& dims : {order({0}), order({0, 0}), order({0, 2}), order({-1, 0}), order({0, 1, 2})})
    CHECK_THROWS_AS(a.permute(dims), ShapeError);
  CHECK_THROWS_AS(a.slice(2, 0, 1), ShapeError);
  CHECK_THROWS_AS(a.slice(-1, 0, 1), ShapeError);
  CHECK_THROWS_AS(a.slice(0, -1, 1), ShapeError);
  CHECK_THROWS_AS(a.slice(0, 2, 1), ShapeError);
  CHECK_THROWS_AS(a.slice(0, 1, 3), ShapeError);
  CHECK(a.slice(1, 6, 6).size() == 0);

  const Array b = numbered({2, 1});
  CHECK(b.expand({3, 2, 2}).to_vector() == Values{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1});
  CHECK_THROWS_AS(b.expand({3, 2}), ShapeError);
  CHECK_THROWS_AS(b.expand({2}), ShapeError);
  CHECK_THROWS_AS(b.expand({2, 2}).span(), ShapeError);
}

TEST_CASE("array: spans and matrices of what is strided") {
  const Array a = numbered({2, 3, 4});
  CHECK_THROWS_AS(a.permute(order({2, 0, 1})).span(), ShapeError);
  const auto matrix = a.matrix();
  CHECK(matrix.rows == 6);
  CHECK(matrix.cols == 4);
  CHECK(matrix.stride == 4);
  const Array columns = a.slice(2, 1, 3);
  REQUIRE(columns.has_matrix());
  CHECK(columns.matrix().rows == 6);
  CHECK(columns.matrix().stride == 4);
  CHECK(columns.matrix().row(5)[1] == 22.0f);
  for (const Array& none : {a.permute(order({0, 2, 1})), a.permute(order({1, 0, 2})), a.slice(1, 0, 2)}) {
    CHECK(!none.has_matrix());
    CHECK_THROWS_AS(none.matrix(), ShapeError);
  }
  CHECK(a.slice(0, 1, 2).slice(1, 0, 2).has_matrix());
  CHECK(a.slice(1, 1, 2).matrix().stride == 12);  // one row in each of two
  CHECK(numbered({5}).matrix().rows == 1);
  CHECK(numbered({}).matrix().cols == 1);
  CHECK(numbered({0, 4}).matrix().rows == 0);
  CHECK(numbered({4, 0}).matrix().rows == 4);
  const Array repeated = numbered({1, 4}).expand({3, 4});
  REQUIRE(repeated.has_matrix());
  CHECK(repeated.matrix().stride == 0);
}

TEST_CASE("array: rows that are repeated and then folded have no one distance") {
  // [2, 3, 4] of which the middle dimension repeats: rows lie at 0, 0, 0, 4, 4, 4.
  const Array repeated = numbered({2, 1, 4}).expand({2, 3, 4});
  CHECK(!repeated.has_matrix());
  CHECK_THROWS_AS(repeated.matrix(), ShapeError);
  // All of them are one row.
  const Array one = numbered({1, 1, 4}).expand({2, 3, 4});
  REQUIRE(one.has_matrix());
  CHECK(one.matrix().rows == 6);
  CHECK(one.matrix().row(5)[3] == 3.0f);
  // The outer dimension repeats: rows lie at 0, 4, 8, 0, 4, 8.
  const Array outer = numbered({1, 3, 4}).expand({2, 3, 4});
  CHECK(!outer.has_matrix());
  CHECK_THROWS_AS(outer.matrix(), ShapeError);
}

TEST_CASE("array: integers are read, but not through strides") {
  const std::vector<std::int32_t> values{1, 2, 3, 4};
  const auto a = Detached<std::int32_t, Reference>::from_values(Reference(), {2, 2}, values);
  CHECK(a.to_vector() == values);
  CHECK(a.slice(0, 1, 2).to_vector() == std::vector<std::int32_t>{3, 4});
  CHECK_THROWS_AS(a.permute(order({1, 0})).to_vector(), ShapeError);
}

TEST_CASE("array: segments on a device") {
  const std::vector<std::int32_t> lengths{3, 0, 2};
  const DeviceSegments<Reference> segments(Reference(), Segments::from_lengths(lengths));
  CHECK(segments.count() == 3);
  CHECK(segments.tokens() == 5);
  CHECK(segments.view().max_length == 3);
  CHECK(segments.view().offsets[2] == 3);
  CHECK(segments.positions().to_vector() == std::vector<std::int32_t>{0, 1, 2, 0, 1});
}
