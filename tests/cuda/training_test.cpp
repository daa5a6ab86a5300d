// Whole training steps on the emulated device against the CPU.
#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/models/decoders.hpp>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "emulated.hpp"
#include "generation/small_decoders.hpp"
#include "models/small_models.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

struct Run {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> gradients, parameters;
};

/// Three steps of AdamW with clipped gradients. Gradients are those of the first step.
template <template <class, class> class Model, class Config, class B>
Run train(const Config& config, const Batch& batch, const B& device) {
  auto model = Model<float, B>::from_config(config, device);
  AdamW optimizer(model.parameters(), {.lr = 1e-2, .max_grad_norm = 1.0});
  model.train();
  Run run;
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad();
    const auto output = model(batch);
    output.loss.backward();
    run.losses.push_back(output.loss.item());
    if (step == 0)
      for_each_parameter(model, [&](const std::string& name, const auto& p) {
        if (p.grad()) run.gradients[name] = p.grad().to_vector();
      });
    optimizer.step();
  }
  for (const auto& parameter : model.parameters())
    run.parameters[parameter.name] = parameter.master().to_vector();
  return run;
}

/// |found - expected| / |expected|, in the 2-norm.
double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double{found[i]} - double{expected[i]}, 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / size);
}

/// Within 1e-5 but for what is zero in theory: the gradients of attention's key biases, and what AdamW, which
/// divides by their size, makes of them.
void check_equal(const Run& found, const Run& expected) {
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    CHECK(found.losses[i] == doctest::Approx(expected.losses[i]).epsilon(1e-5));
  REQUIRE(found.gradients.size() == expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    if (name.find("key.bias") != name.npos) continue;
    CAPTURE(name);
    CHECK(relative_error(found.gradients.at(name), gradient) < 1e-5);
  }
  for (const auto& [name, parameter] : expected.parameters) {
    if (name.find("key.bias") != name.npos) continue;
    CAPTURE(name);
    CHECK(relative_error(found.parameters.at(name), parameter) < 1e-4);
  }
}

}  // namespace

TEST_CASE("Cuda: training steps of a tiny BERT equal the CPU's, dropout included") {
  const BertConfig config = small_config(0.1);
  const Batch batch = random_batch({7, 1, 12, 5});
  check_equal(train<BertForSequenceClassification>(config, batch, emulated_device()),
              train<BertForSequenceClassification>(config, batch, Cpu()));
}

TEST_CASE("Cuda: training steps of a tiny Llama equal the CPU's") {
  const LlamaConfig config = small_llama(5);
  const Batch batch = text_batch({random_tokens(9, 1), random_tokens(1, 2), random_tokens(14, 3)});
  check_equal(train<LlamaForCausalLM>(config, batch, emulated_device()),
              train<LlamaForCausalLM>(config, batch, Cpu()));
}
