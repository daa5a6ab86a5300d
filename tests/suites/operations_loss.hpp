#pragma once

#include <attune/loss/cross_entropy.hpp>
#include <attune/loss/elementwise_loss.hpp>
#include <attune/loss/embedding_loss.hpp>
#include <attune/loss/linear_cross_entropy.hpp>
#include <attune/ops/binary.hpp>
#include <attune/ops/l2_normalize.hpp>
#include <attune/ops/linear.hpp>

#include "suites/operations.hpp"

namespace attune::testing {

template <class B>
void add_cross_entropy_operations(OperationTable<B>& table) {
  using Labels = std::vector<std::int32_t>;
  constexpr std::int32_t no = ignore_index;
  struct Spec {
    const char* name;
    std::int64_t classes;
    Labels labels;
    CrossEntropyLossOptions options{};
  };
  Labels many;
  for (std::int32_t i = 0; i < 500; ++i) many.push_back(i % 7 == 0 ? no : i * i % 83);
  std::vector<float> weights;
  for (int i = 0; i < 83; ++i) weights.push_back(0.25f + 0.125f * static_cast<float>(i % 9));
  const std::vector<float> five{1, 0.5f, 2, 0, 4};
  for (const Spec& spec : std::vector<Spec>{
           {"plain", 5, {3, 0, 4, 4}},
           {"one class", 1, {0, 0}},
           {"one row", 3, {1}},
           {"ignored rows", 5, {3, no, 4, no}},
           {"another ignored index", 5, {3, 1, 4, 1}, {.ignore_index = 1}},
           {"smoothed", 5, {3, 0, 4, 4}, {.label_smoothing = 0.1f}},
           {"smoothed, ignored rows", 5, {no, 0, no, 2}, {.label_smoothing = 0.3f}},
           {"weighted, one weight is zero", 5, {3, 0, 4, 1}, {.class_weights = five}},
           {"weighted, smoothed, ignored rows",
            5,
            {4, no, 2, 2},
            {.label_smoothing = 0.2f, .class_weights = five}},
           {"large", 83, many},
           {"large, weighted, smoothed", 83, many, {.label_smoothing = 0.1f, .class_weights = weights}}}) {
    const auto n = static_cast<std::int64_t>(spec.labels.size());
    // The loss is a mean of numbers below 9 (logits in [-3, 3]), each off by a few u and by that of a sum of
    // classes. A gradient is a difference of probabilities times a weight over the count.
    const double counted =
        double(n - std::count(spec.labels.begin(), spec.labels.end(), spec.options.ignore_index));
    table.add(std::string("cross_entropy: ") + spec.name, {{{n, spec.classes}, Source::tensor, -3, 3}},
              {0, 0, roundings(spec.classes) + roundings(n) + 16, 9}, {1, 0, 64, 4 / counted},
              [spec](const auto& in) {
                return cross_entropy(in.x(0), std::span<const std::int32_t>(spec.labels), spec.options);
              });
  }
}

template <class B>
void add_linear_cross_entropy_operations(OperationTable<B>& table) {
  using Labels = std::vector<std::int32_t>;
  constexpr std::int32_t no = ignore_index;
  struct Spec {
    const char* name;
    std::int64_t features, classes;
    Labels labels;
    LinearCrossEntropyOptions options{};
  };
  Labels many;
  for (std::int32_t i = 0; i < 150; ++i) many.push_back(i % 7 == 0 ? no : i * i % 83);
  for (const Spec& spec : std::vector<Spec>{{"plain", 4, 5, {3, 0, 4, 4}},
                                            {"one row", 3, 3, {1}},
                                            {"ignored rows", 4, 5, {3, no, 4, no}},
                                            {"smoothed", 4, 5, {3, no, 4, 0}, {.label_smoothing = 0.2f}},
                                            {"several chunks", 6, 83, many, {.chunk_elements = 83 * 40}}}) {
    const auto n = static_cast<std::int64_t>(spec.labels.size());
    // Inputs lie in [-1, 1], so a logit below `features`. Gradients are sums of differences of probabilities
    // over the count, which is rounded to T before the products.
    const auto features = static_cast<double>(spec.features);
    table.add(std::string("linear_cross_entropy: ") + spec.name,
              {{{n, spec.features}}, {{spec.classes, spec.features}, Source::parameter}},
              {0, 0, roundings(spec.classes) + roundings(n) + 16, 9 + features},
              {3, 2, 64 + roundings(n + spec.classes), 4}, [spec](const auto& in) {
                return linear_cross_entropy(in.x(0), in.p(1), std::span<const std::int32_t>(spec.labels),
                                            spec.options);
              });
  }
  table.add(
      "linear_cross_entropy: the same as a linear layer and a loss, both at once",
      {{{4, 3}}, {{5, 3}, Source::parameter}}, {1, 3, 80, 24}, {8, 4, 160, 8}, [](const auto& in) {
        static const Labels labels{3, 0, no, 4};
        const auto fused = linear_cross_entropy(in.x(0), in.p(1), std::span<const std::int32_t>(labels));
        const auto plain = cross_entropy(linear(in.x(0), in.p(1)), std::span<const std::int32_t>(labels));
        return fused + plain;
      });
}

template <class B>
void add_other_losses(OperationTable<B>& table) {
  for (const Shape& shape : {Shape{1}, Shape{4}, Shape{3, 5}, Shape{290, 67}}) {
    std::vector<float> targets, classes;
    for (std::int64_t i = 0; i < shape.size(); ++i) {
      targets.push_back(static_cast<float>(i % 11) / 8.0f - 0.5f);
      classes.push_back(static_cast<float>(i * i % 3 == 1));
    }
    // A mean of terms below 9; the gradients have factors below 6 / n.
    const OperationBound forward{0, 0, roundings(shape.size()) + 16, 9},
        backward{1, 0, 32, 6 / double(shape.size())};
    const std::vector<OperationInput> inputs{{shape, Source::tensor, -2, 2}};
    table.add("elementwise_loss: mse " + shape.to_string(), inputs, forward, backward,
              [targets](const auto& in) { return mse_loss(in.x(0), targets); });
    table.add("elementwise_loss: bce " + shape.to_string(), inputs, forward, backward,
              [classes](const auto& in) { return bce_with_logits_loss(in.x(0), classes); });
    table.add("elementwise_loss: bce with soft targets " + shape.to_string(), inputs, forward, backward,
              [targets](const auto& in) { return bce_with_logits_loss(in.x(0), targets); });
  }
  // Unit vectors of 4 and 16 numbers. A cosine in T is off by 3 u_T, which the ranking loss multiplies by its
  // scale; normalising divides gradients by |x| >= 1 and rounds them three times more.
  for (const auto& [rows, features] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 4}, {3, 4}, {20, 16}}) {
    const std::vector<OperationInput> inputs{{{rows, features}, Source::tensor, 0.5, 2},
                                             {{rows, features}, Source::tensor, -2, 2}};
    std::vector<float> scores;
    for (std::int64_t i = 0; i < rows; ++i) scores.push_back(static_cast<float>(i % 3) / 2.0f);
    const std::string name = std::to_string(rows) + "x" + std::to_string(features);
    table.add("embedding_loss: cosine similarity " + name, inputs, {4, 2, 64, 4},
              {8, 4 / double(rows), 128, 4 / double(rows)}, [scores](const auto& in) {
                return cosine_similarity_loss(l2_normalize(in.x(0)), l2_normalize(in.x(1)), scores);
              });
    table.add("embedding_loss: multiple negatives ranking " + name, inputs, {8, 5, 128, 20}, {8, 10, 256, 20},
              [](const auto& in) {
                return multiple_negatives_ranking_loss(l2_normalize(in.x(0)), l2_normalize(in.x(1)), 5.0f);
              });
  }
}

template <class B>
OperationTable<B> loss_operations() {
  OperationTable<B> table;
  add_cross_entropy_operations(table);
  add_linear_cross_entropy_operations(table);
  add_other_losses(table);
  return table;
}

}  // namespace attune::testing
