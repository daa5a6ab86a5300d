#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <attune/autograd/backward.hpp>
#include <attune/core/batch.hpp>
#include <attune/nn/module.hpp>
#include <attune/optim/adamw.hpp>

// Training the same model on two devices, and how far the runs may be apart.

namespace attune::testing {

struct Run {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> gradients, parameters;
};

/// Steps of AdamW with clipped gradients. Gradients are those of step `gradients_of`; parameters are those
/// that train.
template <class Model>
Run train(Model&& model, const Batch& batch, int steps = 3, int gradients_of = 0) {
  AdamW optimizer(model.parameters(), {.lr = 1e-2, .max_grad_norm = 1.0});
  model.train();
  Run run;
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    const auto output = model(batch);
    output.loss.backward();
    run.losses.push_back(output.loss.item());
    if (step == gradients_of)
      for_each_parameter(model, [&](const std::string& name, const auto& p) {
        if (p.grad()) run.gradients[name] = p.grad().to_vector();
      });
    optimizer.step();
  }
  for (const auto& parameter : model.parameters())
    if (parameter.trainable()) run.parameters[parameter.name] = parameter.master().to_vector();
  return run;
}

/// |found - expected| / |expected|, in the 2-norm.
inline double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double{found[i]} - double{expected[i]}, 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / size);
}

struct RunBounds {
  double losses, gradients, parameters;  ///< relative
};
inline constexpr RunBounds float_bounds{1e-5, 1e-5, 1e-4};
inline constexpr double bfloat16_epsilon = 0x1p-8;

/// Within the bounds but for what is zero in theory: the gradients of attention's key biases, and what AdamW
/// makes of them.
inline void check_equal(const Run& found, const Run& expected, const RunBounds& bounds) {
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    CHECK(found.losses[i] == doctest::Approx(expected.losses[i]).epsilon(bounds.losses));
  REQUIRE(found.gradients.size() == expected.gradients.size());
  CHECK(!expected.gradients.empty());
  for (const auto& entry : expected.gradients) {  // no structured binding: clang++ 14 cannot capture it
    const auto& name = entry.first;
    const auto& gradient = entry.second;
    if (name.find("key.bias") != name.npos) continue;
    CAPTURE(name);
    CHECK(relative_error(found.gradients.at(name), gradient) < bounds.gradients);
  }
  REQUIRE(found.parameters.size() == expected.parameters.size());
  for (const auto& entry : expected.parameters) {  // no structured binding: clang++ 14 cannot capture it
    const auto& name = entry.first;
    const auto& parameter = entry.second;
    if (name.find("key.bias") != name.npos) continue;
    CAPTURE(name);
    CHECK(relative_error(found.parameters.at(name), parameter) < bounds.parameters);
  }
}

/// A run in bfloat16 is as close to the CPU's run in float as the CPU's run in bfloat16 is: at most twice as
/// far and an epsilon of bfloat16. Two roundings of the same numbers are further apart from each other than
/// epsilon, as AdamW makes steps of one size of gradients near zero.
inline void check_as_close(const Run& found, const Run& rounded, const Run& exact) {
  const auto check = [](const std::vector<float>& a, const std::vector<float>& b,
                        const std::vector<float>& truth) {
    CHECK(relative_error(a, truth) <= 2.0 * relative_error(b, truth) + bfloat16_epsilon);
  };
  for (std::size_t i = 0; i < exact.losses.size(); ++i)
    CHECK(std::abs(found.losses[i] - exact.losses[i]) <=
          2.0 * std::abs(rounded.losses[i] - exact.losses[i]) + bfloat16_epsilon * exact.losses[i]);
  REQUIRE(found.gradients.size() == exact.gradients.size());
  CHECK(!exact.gradients.empty());
  for (const auto& entry : exact.gradients) {  // no structured binding: clang++ 14 cannot capture it
    const auto& name = entry.first;
    const auto& gradient = entry.second;
    if (name.find("key.bias") != name.npos) continue;
    CAPTURE(name);
    check(found.gradients.at(name), rounded.gradients.at(name), gradient);
  }
  REQUIRE(found.parameters.size() == exact.parameters.size());
  for (const auto& entry : exact.parameters) {  // no structured binding: clang++ 14 cannot capture it
    const auto& name = entry.first;
    const auto& parameter = entry.second;
    if (name.find("key.bias") != name.npos) continue;
    CAPTURE(name);
    check(found.parameters.at(name), rounded.parameters.at(name), parameter);
  }
}

}  // namespace attune::testing
