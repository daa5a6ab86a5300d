// Matrix products, norms, softmax, embeddings: operations that work row by row.
#include "suites/operations_rows.hpp"

#include <attune/backend/cpu/cpu.hpp>

#include "suites/operation_checks.hpp"

namespace {
const auto table = attune::testing::listed(attune::testing::row_operations<attune::Cpu>());
}

TEST_CASE("operations: row by row") { attune::testing::check_operations(table); }

TEST_CASE("embedding: a padding row gets no gradient, the others theirs") {
  using namespace attune;
  const Cpu device;
  const Parameter<float, Cpu> weight(device, {3, 2});
  weight.assign(std::vector<float>{1, 2, 3, 4, 5, 6});
  const std::vector<std::int32_t> ids{1, 0, 2, 1};
  const RowIndex<Cpu> index(device, ids, 1);
  const auto y = embedding(index, weight);
  CHECK(y.to_vector() == std::vector<float>{3, 4, 1, 2, 5, 6, 3, 4});  // forward reads the row all the same
  y.backward(Detached<float, Cpu>::full(device, {4, 2}, 1.0));
  CHECK(weight.grad().to_vector() == std::vector<float>{1, 1, 0, 0, 1, 1});

  // Tied with a decoder: the product's gradient reaches the row, the lookup's does not.
  weight.zero_grad();
  linear(Tensor<float, Cpu>(embedding(index, weight).detach()), weight)
      .backward(Detached<float, Cpu>::full(device, {4, 3}, 1.0));
  const auto product = weight.grad().to_vector();
  weight.zero_grad();
  linear(embedding(index, weight), weight).backward(Detached<float, Cpu>::full(device, {4, 3}, 1.0));
  const auto tied = weight.grad().to_vector();
  CHECK(tied[2] == product[2]);
  CHECK(tied[3] == product[3]);
  CHECK(tied[0] == product[0] + 9.0f);  // the columns' sums of the weight
  CHECK(tied[1] == product[1] + 12.0f);
}

TEST_CASE("operations: shapes and numbers that do not fit are refused") {
  using namespace attune;
  const Cpu device;
  const auto x = Tensor<float, Cpu>::zeros(device, {3, 4}), y = Tensor<float, Cpu>::zeros(device, {3, 5});
  const Parameter<float, Cpu> w(device, {2, 4}), bias(device, {3}), c(device, {4}), wide(device, {5});
  CHECK_THROWS_AS(x + y, ShapeError);
  CHECK_THROWS_AS(linear(y, w), ShapeError);
  CHECK_THROWS_AS(linear(x, w, bias), ShapeError);
  CHECK_THROWS_AS(linear(x, c), ShapeError);
  CHECK_THROWS_AS(matmul(x, y), ShapeError);
  CHECK_THROWS_AS(matmul(x, reshape(x, {4, 3, 1})), ShapeError);
  CHECK_THROWS_AS(layer_norm(x, wide, {}, 1e-5f), ShapeError);
  CHECK_THROWS_AS(layer_norm(x, c, wide, 1e-5f), ShapeError);
  CHECK_THROWS_AS(rms_norm(x, wide, 1e-5f), ShapeError);
  CHECK_THROWS_AS(dropout_add_layer_norm(x, {}, y, c, c, 1e-5f), ShapeError);
  CHECK_THROWS_AS(dropout_add_layer_norm(x, attune::testing::make_mask(device, 2, 0.5f), x, c, c, 1e-5f),
                  ShapeError);
  CHECK_THROWS_AS(add_layer_norm(x, {}, y, c, c, 1e-5f), ShapeError);
  CHECK_THROWS_AS(add_layer_norm(x, {}, x, wide, {}, 1e-5f), ShapeError);
  CHECK_THROWS_AS(add_layer_norm(x, attune::testing::make_mask(device, 2, 0.5f), x, c, c, 1e-5f), ShapeError);
  CHECK_THROWS_AS(add_rms_norm(x, y, c, 1e-5f), ShapeError);
  CHECK_THROWS_AS(dropout(x, attune::testing::make_mask(device, 4, 0.5f)), ShapeError);
  const std::vector<std::int32_t> three{3}, negative{0, -1};
  CHECK_THROWS_AS(gather_rows(x, RowIndex<Cpu>(device, three)), ShapeError);
  CHECK_THROWS_AS(RowIndex<Cpu>(device, negative), ShapeError);
  CHECK_THROWS_AS(embedding(RowIndex<Cpu>(device, three), w), ShapeError);
  CHECK_THROWS_AS(embedding(RowIndex<Cpu>(device, three), bias), ShapeError);
  CHECK_THROWS_AS(reshape(x, {5, -1}), ShapeError);
  CHECK_THROWS_AS(permute(x, {0, 0}), ShapeError);
  CHECK_THROWS_AS(transpose(x, 0, 2), ShapeError);
  CHECK_THROWS_AS(slice(x, 0, 2, 4), ShapeError);
  CHECK_THROWS_AS(expand(x, {3, 5}), ShapeError);
  CHECK_THROWS_AS(sum(x, {2}), ShapeError);
  CHECK_THROWS_AS(swiglu(x, y), ShapeError);
}
