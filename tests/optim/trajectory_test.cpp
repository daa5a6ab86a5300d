// Optimizers, clipping and schedules against what PyTorch and transformers computed
// (tests/golden/optim.json).

#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/formats/json.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/optim/schedule.hpp>
#include <attune/optim/sgd.hpp>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "optim/helpers.hpp"

using namespace attune;
using namespace optim_test;
using nlohmann::json;

namespace {

const json& golden() {
  static const json value = read_json(ATTUNE_SOURCE_DIR "/tests/golden/optim.json");
  return value;
}

/// Relative to the value, or to 0.1 below that: weights and steps are about 1, and each step rounds to float.
void check_near(const std::vector<float>& found, const std::vector<double>& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(double{found[i]} - expected[i]) <= tolerance * std::max(0.1, std::abs(expected[i])));
  }
}

template <class B>
std::vector<ParameterGroup<B>> groups_of(const json& entry,
                                         const std::map<std::string, Parameter<float, B>>& parameters) {
  std::vector<ParameterGroup<B>> groups;
  for (const json& group : entry.at("groups")) {
    ParameterGroup<B> made;
    for (const json& name : group.at("params"))
      made.parameters.items.push_back(named(name.get<std::string>(), parameters.at(name.get<std::string>())));
    const json& options = group.at("options");
    if (options.contains("lr")) made.lr = options["lr"].get<double>();
    if (options.contains("weight_decay")) made.weight_decay = options["weight_decay"].get<double>();
    if (options.contains("betas")) made.betas = options["betas"].get<std::array<double, 2>>();
    groups.push_back(std::move(made));
  }
  return groups;
}

template <class B, class O>
void follow(const json& entry, O& optimizer, const std::map<std::string, Parameter<float, B>>& parameters) {
  for (std::size_t step = 0; step < entry.at("gradients").size(); ++step) {
    CAPTURE(step);
    optimizer.zero_grad();
    for (const auto& [name, value] : parameters)
      give_grad(value, entry["gradients"][step].at(name).template get<std::vector<float>>());
    optimizer.step();
    for (const auto& [name, value] : parameters) {
      CAPTURE(name);
      check_near(value.value().to_vector(),
                 entry["values"][step].at(name).template get<std::vector<double>>(), 1e-6);
    }
  }
}

template <class B>
void follow_all() {
  const B device;
  int followed = 0;
  for (const json& entry : golden().at("optimizers")) {
    CAPTURE(entry.at("name"));
    std::map<std::string, Parameter<float, B>> parameters;
    for (const auto& [name, start] : entry.at("start").items())
      parameters.emplace(name, parameter<float>(device, {static_cast<std::int64_t>(start.size())},
                                                start.template get<std::vector<float>>()));
    const json& defaults = entry.at("defaults");
    if (entry.at("optimizer") == "AdamW") {
      AdamWOptions options;
      options.lr = defaults.value("lr", options.lr);
      options.betas = defaults.value("betas", options.betas);
      options.eps = defaults.value("eps", options.eps);
      options.weight_decay = defaults.value("weight_decay", options.weight_decay);
      AdamW optimizer(groups_of(entry, parameters), options);
      follow(entry, optimizer, parameters);
    } else {
      SgdOptions options;
      options.lr = defaults.value("lr", options.lr);
      options.momentum = defaults.value("momentum", options.momentum);
      options.dampening = defaults.value("dampening", options.dampening);
      options.nesterov = defaults.value("nesterov", options.nesterov);
      options.weight_decay = defaults.value("weight_decay", options.weight_decay);
      SGD optimizer(groups_of(entry, parameters), options);
      follow(entry, optimizer, parameters);
    }
    ++followed;
  }
  CHECK(followed >= 9);
}

Ramp ramp(const json& options, const char* key, Ramp fallback) {
  const std::string name = options.value(key, std::string());
  if (name == "linear") return Ramp::linear;
  if (name == "cosine") return Ramp::cosine;
  if (name == "1-sqrt") return Ramp::one_minus_sqrt;
  return fallback;
}

LrSchedule schedule_of(const json& entry, const OptimizerGroups& optimizer) {
  const std::string name = entry.at("name");
  const json& options = entry.at("options");
  const auto number = [&](const char* key) {
    return entry.at(key).is_null() ? std::int64_t{0} : entry[key].get<std::int64_t>();
  };
  const std::int64_t warmup = number("num_warmup_steps"), total = number("num_training_steps");
  if (name == "constant") return constant_schedule(optimizer);
  if (name == "constant_with_warmup")
    return constant_schedule_with_warmup(optimizer, {.warmup_steps = warmup});
  if (name == "linear")
    return linear_schedule_with_warmup(optimizer, {.warmup_steps = warmup, .total_steps = total});
  if (name == "cosine")
    return cosine_schedule_with_warmup(
        optimizer,
        {.warmup_steps = warmup, .total_steps = total, .num_cycles = options.value("num_cycles", 0.5)});
  if (name == "cosine_with_restarts")
    return cosine_with_hard_restarts_schedule_with_warmup(
        optimizer, {.warmup_steps = warmup,
                    .total_steps = total,
                    .num_cycles = options.value("num_cycles", std::int64_t{1})});
  if (name == "polynomial")
    return polynomial_decay_schedule_with_warmup(optimizer, {.warmup_steps = warmup,
                                                             .total_steps = total,
                                                             .lr_end = options.value("lr_end", 1e-7),
                                                             .power = options.value("power", 1.0)});
  if (name == "inverse_sqrt")
    return inverse_sqrt_schedule(
        optimizer, {.warmup_steps = warmup, .timescale = options.value("timescale", std::int64_t{0})});
  REQUIRE(name == "warmup_stable_decay");
  return wsd_schedule(optimizer, {.warmup_steps = warmup,
                                  .decay_steps = options.at("num_decay_steps").get<std::int64_t>(),
                                  .total_steps = total,
                                  .stable_steps = options.value("num_stable_steps", std::int64_t{-1}),
                                  .warmup_type = ramp(options, "warmup_type", Ramp::linear),
                                  .decay_type = ramp(options, "decay_type", Ramp::cosine),
                                  .min_lr_ratio = options.value("min_lr_ratio", 0.0),
                                  .num_cycles = options.value("num_cycles", 0.5)});
}

}  // namespace

TEST_CASE("optimizers: the reference backend follows PyTorch") { follow_all<Reference>(); }
TEST_CASE("optimizers: the CPU backend follows PyTorch") { follow_all<Cpu>(); }

TEST_CASE_TEMPLATE("clip_grad_norm: norm and clipped gradients are PyTorch's", B, Reference, Cpu) {
  const B device;
  for (const json& entry : golden().at("clip_grad_norm")) {
    const auto gradients = entry.at("gradients").get<std::vector<std::vector<float>>>();
    const auto clipped = entry.at("clipped").get<std::vector<std::vector<double>>>();
    std::vector<Parameter<float, B>> parameters;
    ParameterList<B> all = list<B>({});
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const auto count = static_cast<std::int64_t>(gradients[i].size());
      parameters.push_back(parameter<float>(device, {count}, std::vector<float>(gradients[i].size())));
      all.items.push_back(named(std::string("p").append(std::to_string(i)), parameters.back()));
    }
    // From zero, plain SGD with lr 1 leaves minus the clipped gradient.
    const double max_norm = entry.at("max_norm").get<double>();
    for (const bool by_option : {false, true}) {
      SgdOptions options{.lr = 1.0};
      if (by_option) options.max_grad_norm = max_norm;
      SGD optimizer(all, options);
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        parameters[i].assign(std::vector<float>(gradients[i].size()));
        parameters[i].zero_grad();
        give_grad(parameters[i], gradients[i]);
      }
      if (!by_option) {
        const float norm = optimizer.clip_grad_norm(max_norm);
        CHECK(double{norm} == doctest::Approx(entry.at("norm").get<double>()).epsilon(1e-6));
        check_near(parameters[0].grad().to_vector(),
                   std::vector<double>(gradients[0].begin(), gradients[0].end()), 0.0);
      }
      optimizer.step();
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        std::vector<double> expected;
        for (const double value : clipped[i]) expected.push_back(-value);
        check_near(parameters[i].value().to_vector(), expected, 1e-6);
      }
    }
  }
}

TEST_CASE("schedules give the learning rates of transformers") {
  const Reference device;
  int followed = 0;
  for (const json& entry : golden().at("schedules")) {
    CAPTURE(entry);
    const auto weight = parameter<float>(device, {1}, {0.0f});
    SGD optimizer(list<Reference>({named("weight", weight)}), {.lr = entry.at("lr").get<double>()});
    LrSchedule schedule = schedule_of(entry, optimizer);
    CHECK(schedule.state().schedule == entry.at("name").get<std::string>());
    for (const double expected : entry.at("values").get<std::vector<double>>()) {
      CHECK(std::abs(optimizer.lr() - expected) <=
            1e-11 * entry.at("lr").get<double>() + 1e-11 * std::abs(expected));
      CHECK(schedule.last_lr() == optimizer.lr());
      schedule.step();
    }
    ++followed;
  }
  CHECK(followed >= 20);
}
