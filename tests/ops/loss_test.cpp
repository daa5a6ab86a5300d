// Losses.
#include "suites/operations_loss.hpp"

#include <attune/backend/cpu/cpu.hpp>

#include <array>
#include <cmath>

#include "suites/operation_checks.hpp"

using namespace attune;

namespace {
const auto table = attune::testing::listed(attune::testing::loss_operations<Cpu>());

using F32 = Tensor<float, Cpu>;
}  // namespace

TEST_CASE("operations: losses") { attune::testing::check_operations(table); }

TEST_CASE("cross_entropy: all rows ignored") {
  F32 x = F32::from_values(Cpu(), {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  x.set_requires_grad();
  const std::vector<std::int32_t> labels(2, ignore_index);
  const auto loss = cross_entropy(x, labels);
  CHECK(std::isnan(loss.item()));  // the mean of nothing, as in PyTorch
  loss.backward();
  CHECK(x.grad().to_vector() == std::vector<float>(6, 0.0f));  // and as there, nothing flows back
  CHECK(std::isnan(cross_entropy(F32::zeros(Cpu(), {0, 3}), {}).item()));
}

TEST_CASE("losses: labels, options and counts that do not fit are refused") {
  const F32 x = F32::zeros(Cpu(), {2, 3});
  const auto refuses = [&](std::vector<std::int32_t> labels, const CrossEntropyLossOptions& options) {
    CHECK_THROWS_AS(cross_entropy(x, std::span<const std::int32_t>(labels), options), ConfigError);
  };
  refuses({0, 3}, {});
  refuses({0, -1}, {});
  refuses({0, 1}, {.label_smoothing = 1.0f});
  refuses({0, 1}, {.label_smoothing = -0.1f});
  refuses({0, 1}, {.label_smoothing = std::numeric_limits<float>::quiet_NaN()});
  refuses({0, 1}, {.class_weights = {1, 2}});
  const std::vector<std::int32_t> one{0};
  CHECK_THROWS_AS(cross_entropy(x, one), ShapeError);
  CHECK_THROWS_AS(cross_entropy(F32::zeros(Cpu(), {2, 1, 3}), one), ShapeError);
  const std::vector<float> few(5);
  CHECK_THROWS_AS(mse_loss(x, few), ShapeError);
  CHECK_THROWS_AS(bce_with_logits_loss(x, few), ShapeError);
  CHECK_THROWS_AS(cosine_similarity_loss(x, F32::zeros(Cpu(), {2, 4}), few), ShapeError);
  CHECK_THROWS_AS(cosine_similarity_loss(x, F32::zeros(Cpu(), {1, 3}), std::vector<float>(2)), ShapeError);
  CHECK_THROWS_AS(multiple_negatives_ranking_loss(x, F32::zeros(Cpu(), {3, 3})), ShapeError);
}

TEST_CASE("losses: the mean of double losses is a double") {
  using F64 = Tensor<double, Reference>;
  const double log2 = std::log(2.0);
  const std::vector<std::int32_t> labels{0, 1, 0};
  CHECK(cross_entropy(F64::zeros(Reference(), {3, 2}), labels).item() ==
        doctest::Approx(log2).epsilon(1e-14));
  const std::vector<float> zeros(3, 0.0f);
  CHECK(bce_with_logits_loss(F64::zeros(Reference(), {3}), zeros).item() ==
        doctest::Approx(log2).epsilon(1e-14));
  CHECK(mse_loss(F64::full(Reference(), {3}, 0.1), zeros).item() == doctest::Approx(0.01).epsilon(1e-14));
}
