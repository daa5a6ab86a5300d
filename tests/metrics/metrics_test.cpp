#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/data/split.hpp>
#include <attune/train/metrics.hpp>
#include <attune/train/metrics_spans.hpp>

using attune::Average;
using attune::Scores;
using nlohmann::json;

namespace {

using Classes = std::vector<std::int32_t>;
using Floats = std::vector<float>;

constexpr std::pair<const char*, Average> averages[] = {
    {"macro", Average::macro}, {"micro", Average::micro}, {"weighted", Average::weighted}};

json fixture(const char* part) {
  std::ifstream file(std::string(ATTUNE_SOURCE_DIR) + "/tests/metrics/metrics.json");
  REQUIRE(file.good());
  const json cases = json::parse(file).at(part);
  REQUIRE(cases.size() >= 4);
  return cases;
}

void check_close(double found, double expected) { CHECK(std::abs(found - expected) <= 1e-12); }

void check_scores(const Scores& found, const json& expected) {
  check_close(found.precision, expected.at(0));
  check_close(found.recall, expected.at(1));
  check_close(found.f1, expected.at(2));
}

}  // namespace

TEST_CASE("classification: scikit-learn's values") {
  int binary_cases = 0, weight_cases = 0;
  for (const json& entry : fixture("classification")) {
    CAPTURE(entry.dump());
    const Classes predictions = entry.at("predictions"), references = entry.at("references");
    check_close(attune::accuracy(predictions, references), entry.at("accuracy"));
    check_close(attune::matthews_correlation(predictions, references), entry.at("matthews"));
    for (const auto& [name, average] : averages)
      check_scores(attune::scores(predictions, references, {.average = average}), entry.at(name));
    for (const std::int32_t positive : {0, 1}) {
      const std::string name = "binary" + std::to_string(positive);
      if (!entry.contains(name)) continue;
      ++binary_cases;
      const attune::ScoreOptions options{.positive = positive};
      check_scores(attune::scores(predictions, references, options), entry.at(name));
      check_close(attune::precision(predictions, references, options), entry.at(name).at(0));
      check_close(attune::recall(predictions, references, options), entry.at(name).at(1));
      check_close(attune::f1(predictions, references, options), entry.at(name).at(2));
    }
    const json& confusion = entry.at("confusion");
    const auto classes = static_cast<std::int64_t>(confusion.size());
    const attune::ConfusionMatrix matrix = attune::confusion_matrix(predictions, references, classes);
    for (std::int64_t reference = 0; reference < classes; ++reference)
      for (std::int64_t prediction = 0; prediction < classes; ++prediction)
        CHECK(matrix.at(reference, prediction) ==
              confusion.at(static_cast<std::size_t>(reference)).at(static_cast<std::size_t>(prediction)));
    if (entry.contains("class_weights")) {
      ++weight_cases;
      const Floats weights = attune::balanced_class_weights(references, classes);
      for (std::size_t label = 0; label < weights.size(); ++label)
        CHECK(weights[label] ==
              doctest::Approx(entry.at("class_weights").at(label).get<double>()).epsilon(1e-6));
    }
  }
  CHECK(binary_cases >= 6);
  CHECK(weight_cases >= 4);
}

TEST_CASE("several labels a row: scikit-learn's values") {
  for (const json& entry : fixture("multilabel")) {
    const Floats outputs = entry.at("outputs"), targets = entry.at("targets");
    for (const auto& [name, average] : averages) {
      const attune::MultilabelScores found =
          attune::multilabel_scores(outputs, targets, entry.at("labels"), {.average = average});
      check_scores(found, entry.at(name));
      check_close(found.accuracy, entry.at("accuracy"));
    }
  }
  const Floats outputs{0.4f, 0.6f}, targets{0, 1};
  CHECK(attune::multilabel_scores(outputs, targets, 2, {.threshold = 0.5f}).f1 == 1);
  CHECK(attune::multilabel_scores(outputs, targets, 2).precision == 0.5);
  CHECK_THROWS_AS(attune::multilabel_scores(outputs, targets, 3), attune::ShapeError);
  CHECK_THROWS_AS(attune::multilabel_scores(outputs, targets, 0), attune::ShapeError);
  CHECK_THROWS_AS(attune::multilabel_scores(outputs, targets, 2, {.average = Average::binary}),
                  attune::ConfigError);
}

TEST_CASE("correlations: scipy's values") {
  for (const json& entry : fixture("correlation")) {
    CAPTURE(entry.dump());
    const Floats predictions = entry.at("predictions"), references = entry.at("references");
    for (const auto& [name, found] : {std::pair{"pearson", attune::pearson(predictions, references)},
                                      std::pair{"spearman", attune::spearman(predictions, references)}}) {
      if (entry.at(name).is_null())
        CHECK(std::isnan(found));
      else
        check_close(found, entry.at(name));
    }
    CHECK(attune::mean_squared_error(predictions, references) ==
          doctest::Approx(entry.at("mse").get<double>()).epsilon(1e-12));
  }
  CHECK(std::isnan(attune::pearson(Floats{1}, Floats{1})));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(attune::pearson(Floats{1, nan, 3}, Floats{1, 2, 3})));
  CHECK(std::isnan(attune::spearman(Floats{1, nan, 3}, Floats{1, 2, 3})));
}

TEST_CASE("spans: seqeval's values, lenient and strict") {
  for (const json& entry : fixture("spans")) {
    CAPTURE(entry.dump());
    const attune::TagSequences predictions = entry.at("predictions"), references = entry.at("references");
    for (const auto& [name, average] : averages) {
      const attune::SpanScores found = attune::span_scores(
          predictions, references, {.average = average, .strict = entry.at("strict").get<bool>()});
      check_scores(found, entry.at(name));
      check_close(found.accuracy, entry.at("accuracy"));
      CHECK(found.types.size() == entry.at("types").size());
      for (const auto& [type, scores] : found.types) check_scores(scores, entry.at("types").at(type));
    }
  }
  using attune::span_scores;
  CHECK(span_scores({}, {}).f1 == 0);
  CHECK_THROWS_AS(span_scores({{"O"}}, {}), attune::ShapeError);
  CHECK_THROWS_AS(span_scores({{"O"}}, {{"O", "O"}}), attune::ShapeError);
  CHECK_THROWS_AS(span_scores({{"S-X"}}, {{"O"}}, {.strict = true}), attune::ConfigError);
  CHECK_THROWS_AS(span_scores({{"O"}}, {{"O"}}, {.average = Average::binary}), attune::ConfigError);
}

TEST_CASE("references of ignore_index are left out") {
  const Classes predictions{1, 0, 1, 5}, references{1, -100, 0, -100};
  CHECK(attune::accuracy(predictions, references) == 0.5);
  CHECK(attune::f1(predictions, references) == doctest::Approx(2.0 / 3));
  CHECK(attune::confusion_matrix(predictions, references, 2).counts == std::vector<std::int64_t>{0, 1, 0, 1});
  CHECK(attune::matthews_correlation(Classes{1, 0, 3}, Classes{1, 0, -100}) == doctest::Approx(1));
}

TEST_CASE("nothing to measure, and what is refused") {
  const Classes none;
  CHECK(attune::accuracy(none, none) == 0);
  CHECK(attune::f1(none, none) == 0);
  CHECK(attune::f1(none, none, {.average = Average::macro}) == 0);
  CHECK(attune::matthews_correlation(none, none) == 0);
  CHECK(attune::mean_squared_error(Floats{}, Floats{}) == 0);
  CHECK(attune::confusion_matrix(none, none, 0).counts.empty());
  const Classes three{0, 1, 2}, two{0, 2};
  CHECK_THROWS_AS(attune::f1(three, three), attune::ConfigError);
  CHECK_THROWS_AS(attune::f1(two, two), attune::ConfigError);
  CHECK(attune::f1(two, two, {.positive = 2}) == 1);
  CHECK_THROWS_AS(attune::accuracy(three, two), attune::ShapeError);
  CHECK_THROWS_AS(attune::matthews_correlation(three, two), attune::ShapeError);
  CHECK_THROWS_AS(attune::pearson(Floats{1}, Floats{}), attune::ShapeError);
  CHECK_THROWS_AS(attune::confusion_matrix(three, three, 2), attune::ConfigError);
  CHECK_THROWS_AS(attune::confusion_matrix(Classes{-1}, Classes{0}, 2), attune::ConfigError);
  CHECK_THROWS_AS(attune::confusion_matrix(none, none, std::int64_t{1} << 40), attune::ConfigError);
}

TEST_CASE("tags of tokens") {
  const auto segments = attune::Segments::from_lengths(Classes{3, 0, 2});
  const Classes labels{-100, 1, -100, 0, 2}, classes{5, 2, 5, 0, 1};
  const std::vector<std::string> names{"O", "B-X", "I-X"};
  CHECK(attune::tags_of(segments, labels, labels, names) == attune::TagSequences{{"B-X"}, {}, {"O", "I-X"}});
  CHECK(attune::tags_of(segments, classes, labels, names) == attune::TagSequences{{"I-X"}, {}, {"O", "B-X"}});
  CHECK_THROWS_AS(attune::tags_of(segments, classes, labels, {"O"}), attune::ConfigError);
  CHECK_THROWS_AS(attune::tags_of(segments, Classes{1}, labels, names), attune::ShapeError);
  CHECK_THROWS_AS(attune::tags_of(segments, Classes{1}, Classes{1}, names), attune::ShapeError);
}
