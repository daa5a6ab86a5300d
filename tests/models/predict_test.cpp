// predict(): logits, labels and loss in the dataset's order, and the model as it was.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <span>
#include <stdexcept>
#include <vector>

#include "small_models.hpp"

using namespace attune;
using attune::testing::part_of;
using attune::testing::random_batch;
using attune::testing::small_config;

namespace {

using Model = BertForSequenceClassification<float, Cpu>;

/// Seven rows; from the row `broken` on they cannot be read.
struct Rows {
  Batch all = random_batch({3, 5, 2, 4, 6, 1, 3});
  std::int64_t broken = 7;

  std::int64_t size() const { return 7; }
  Batch batch(std::span<const std::int64_t> rows, std::uint64_t) const {
    if (rows.back() >= broken) throw std::runtime_error("broken row");
    return part_of(all, rows.front(), rows.back() + 1);  // rows come in order
  }
};

}  // namespace

TEST_CASE("predict: what the whole batch gives, batch by batch, without dropout") {
  Model model = Model::from_config(small_config(/*dropout=*/0.5));
  const Rows rows;
  const Predictions found = predict(model, rows, {.batch_size = 3});
  CHECK(model.training());
  model.eval();
  const auto whole = model(rows.all);
  const auto logits = whole.logits.to_vector();
  REQUIRE(found.logits.size() == logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i)
    CHECK(found.logits[i] == doctest::Approx(logits[i]).epsilon(1e-5));
  CHECK(found.labels == rows.all.labels);
  CHECK(found.num_labels == 3);
  CHECK(found.rows() == 7);
  CHECK(found.loss == doctest::Approx(whole.loss.item()).epsilon(1e-5));
  CHECK(predict(model, rows).loss == doctest::Approx(found.loss).epsilon(1e-5));
  CHECK(!model.training());
}

TEST_CASE("predict: a dataset that fails leaves the model in training") {
  Model model = Model::from_config(small_config());
  Rows rows;
  rows.broken = 4;
  CHECK_THROWS_AS(predict(model, rows, {.batch_size = 3}), std::runtime_error);
  CHECK(model.training());
  CHECK(detail::grad_enabled());
}

TEST_CASE("label_scores: as transformers' pipeline scores each problem type") {
  const std::vector<float> two{0.0f, 2.0f}, one{2.0f};
  const float sigmoid = 0.880797078f;
  const auto check = [](const std::vector<float>& found, const std::vector<float>& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6));
  };
  check(label_scores(two, ProblemType::single_label), {1 - sigmoid, sigmoid});
  check(label_scores(two, ProblemType::from_labels), {1 - sigmoid, sigmoid});
  check(label_scores(two, ProblemType::multi_label), {0.5f, sigmoid});
  check(label_scores(two, ProblemType::regression), two);
  check(label_scores(one, ProblemType::from_labels), {sigmoid});
  check(label_scores(std::vector<float>{500.0f, 0.0f}, ProblemType::single_label), {1.0f, 0.0f});
  CHECK(label_scores({}, ProblemType::single_label).empty());
}
