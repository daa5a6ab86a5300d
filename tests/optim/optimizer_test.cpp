#include <doctest/doctest.h>
#include <attune/autograd/backward.hpp>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/core/parallel.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/sum.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/optim/schedule.hpp>
#include <attune/optim/sgd.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "optim/helpers.hpp"

using namespace attune;
using namespace optim_test;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

std::vector<float> noise(std::size_t count, std::uint64_t stream) {
  RandomStream random(7, stream);
  std::vector<float> values(count);
  for (float& value : values) value = random.normal();
  return values;
}

template <class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE_TEMPLATE("masters and gradients move into the arena, and handles see it", B, Reference, Cpu) {
  const B device;
  const auto weight = parameter<float>(device, {4, 3}, noise(12, 0));
  const auto fused = parameter<float>(device, {6, 2}, noise(12, 1), 3);  // query, key, value
  const auto brain = parameter<bfloat16>(device, {5}, noise(5, 2));
  give_grad(weight, noise(12, 3));
  const std::vector<float> before = weight.value().to_vector(), grad = weight.grad().to_vector(),
                           brain_before = brain.master().to_vector();
  const auto q = fused.rows(0, 2), k = fused.rows(2, 4), v = fused.rows(4, 6);
  AdamW optimizer(
      list<B>({named("w", weight), named("q", q), named("k", k), named("v", v), named("b", brain)}));

  CHECK(weight.value().to_vector() == before);
  CHECK(weight.grad().to_vector() == grad);
  CHECK(brain.master().to_vector() == brain_before);
  CHECK(weight.value().data() == weight.master().data());
  CHECK(static_cast<const void*>(brain.value().data()) != static_cast<const void*>(brain.master().data()));
  // One array for all masters, and the fused rows one below the other in it.
  CHECK(weight.state()->master.shares_memory_with(fused.state()->master));
  CHECK(weight.state()->master.shares_memory_with(brain.state()->master));
  CHECK(weight.state()->grad.shares_memory_with(fused.state()->grad));
  CHECK(k.value().data() == q.value().data() + 4);
  CHECK(v.value().data() == q.value().data() + 8);
  // A gradient written afterwards lands in the arena.
  give_grad(k, {1, 2, 3, 4});
  CHECK(fused.grad().to_vector() == std::vector<float>{0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0});
}

TEST_CASE_TEMPLATE("a real backward: the step lowers the loss, and an old graph is refused", B, Reference,
                   Cpu) {
  const B device;
  const auto weight = parameter<float>(device, {2, 3}, noise(6, 0));
  const auto bias = parameter<float>(device, {2}, noise(2, 1));
  const auto parameters = list<B>({named("weight", weight), named("bias", bias)});
  SGD optimizer(parameters, {.lr = 0.01});
  const auto x = Tensor<float, B>::from_values(device, {4, 3}, noise(12, 2)).set_requires_grad();
  const auto loss_of = [&] { return sum(linear(x, weight, bias)); };
  optimizer.zero_grad();
  auto first = loss_of();
  first.backward();
  auto stale = loss_of();
  optimizer.step();
  CHECK(loss_of().item() < first.item());
  CHECK_THROWS_AS(stale.backward(), GraphError);  // its saved weight has changed
  CHECK(parameters.run->step == 1);
}

TEST_CASE_TEMPLATE("parameters without a gradient are passed over and keep their own step count", B,
                   Reference, Cpu) {
  // `late` gets its first gradient in step 3 and must move as if it were alone from there on.
  const B device;
  const auto always = parameter<float>(device, {3}, {1, 2, 3});
  const auto late = parameter<float>(device, {3}, {4, 5, 6});
  const auto alone = parameter<float>(device, {3}, {4, 5, 6});
  AdamW both(list<B>({named("always", always), named("late", late)}), {.lr = 0.1});
  AdamW single(list<B>({named("alone", alone)}), {.lr = 0.1});
  for (int step = 0; step < 6; ++step) {
    both.zero_grad();
    give_grad(always, noise(3, 10 + static_cast<std::uint64_t>(step)));
    if (step >= 2 && step != 4) {
      const auto gradient = noise(3, 20 + static_cast<std::uint64_t>(step));
      give_grad(late, gradient);
      single.zero_grad();
      give_grad(alone, gradient);
      single.step();
    }
    both.step();
    if (step < 2) CHECK(master(late) == std::vector<float>{4, 5, 6});  // no weight decay either
    CHECK(master(late) == master(alone));
  }
  CHECK(both.state().steps.at("always") == 6);
  CHECK(both.state().steps.at("late") == 3);

  // And SGD's momentum begins with the first gradient.
  const auto rolling = parameter<float>(device, {1}, {0});
  const auto other = parameter<float>(device, {1}, {0});
  SGD sgd(list<B>({named("r", rolling), named("o", other)}), {.lr = 1.0, .momentum = 0.5, .dampening = 0.5});
  give_grad(other, {1});
  sgd.step();
  sgd.zero_grad();
  give_grad(other, {1});
  give_grad(rolling, {1});
  sgd.step();
  CHECK(master(rolling) == std::vector<float>{-1});  // not -0.5: nothing dampens the first
  CHECK(master(other) == std::vector<float>{-2});    // 1, then 0.5 * 1 + 0.5 * 1
}

TEST_CASE_TEMPLATE("zero_grad needs no fill: the next gradient overwrites, the one after adds", B, Reference,
                   Cpu) {
  const B device;
  const auto weight = parameter<float>(device, {2}, {0, 0});
  SGD optimizer(list<B>({named("w", weight)}), {.lr = 1.0});
  give_grad(weight, {1, 2});
  give_grad(weight, {1, 2});
  optimizer.step();
  CHECK(master(weight) == std::vector<float>{-2, -4});
  optimizer.zero_grad();
  CHECK_FALSE(weight.grad());
  give_grad(weight, {10, 20});
  CHECK(weight.grad().to_vector() == std::vector<float>{10, 20});
}

TEST_CASE_TEMPLATE("groups: overrides, lr_scale, and rows of one state in different groups", B, Reference,
                   Cpu) {
  const B device;
  const auto fused = parameter<float>(device, {3, 2}, {1, 1, 1, 1, 1, 1}, 3);
  ParameterGroup<B> a, b, c;
  a.parameters = list<B>({named("q", fused.rows(0, 1))});
  b.parameters = list<B>({named("k", fused.rows(1, 2))});
  c.parameters = list<B>({named("v", fused.rows(2, 3))});
  b.lr_scale = 0.5;
  c.lr = 1.0;
  c.weight_decay = 1.0;
  SGD optimizer(std::vector{a, b, c}, {.lr = 0.5});
  CHECK(optimizer.groups()[1].lr == 0.25);
  give_grad(fused, {1, 1, 1, 1, 1, 1});
  optimizer.step();
  CHECK(master(fused) == std::vector<float>{0.5f, 0.5f, 0.75f, 0.75f, -1, -1});
  CHECK(a.parameters.run->step == 1);
  CHECK(c.parameters.run->step == 1);
  optimizer.set_lr(0.0);
  optimizer.step();
  CHECK(master(fused) == std::vector<float>{0.5f, 0.5f, 0.75f, 0.75f, -1, -1});
}

TEST_CASE("no_decay_for_biases_and_norms and layerwise_lr_decay") {
  const Reference device;
  const auto make = [&](const Shape& shape) {
    return parameter<float>(device, shape, std::vector<float>(static_cast<std::size_t>(shape.size())));
  };
  const auto embedding = make({4, 2}), query = make({2, 2}), bias = make({2}), norm = make({2}),
             head = make({2, 2}), frozen = make({2, 2}), top = make({2, 2});
  auto all = list<Reference>({named("bert.embeddings.word_embeddings.weight", embedding),
                              named("bert.encoder.layer.0.attention.self.query.weight", query),
                              named("bert.encoder.layer.0.attention.self.query.bias", bias),
                              named("bert.encoder.layer.11.output.LayerNorm.weight", norm),
                              named("bert.encoder.layer.11.output.dense.weight", top),
                              named("bert.encoder.layer.5.output.dense.weight", frozen),
                              named("classifier.weight", head)});
  set_trainable(all.items[5], false);

  const auto two = no_decay_for_biases_and_norms(all, 0.1);
  REQUIRE(two.size() == 2);
  CHECK(two[0].parameters.size() == 4);
  CHECK(*two[0].weight_decay == 0.1);
  REQUIRE(two[1].parameters.size() == 2);
  CHECK(two[1].parameters.items[0].name == "bert.encoder.layer.0.attention.self.query.bias");
  CHECK(two[1].parameters.items[1].name == "bert.encoder.layer.11.output.LayerNorm.weight");
  CHECK(*two[1].weight_decay == 0.0);
  CHECK(two[1].parameters.run == all.run);
  AdamW optimizer(two, {.lr = 1e-3});
  CHECK(optimizer.groups()[0].weight_decay == 0.1);

  std::map<std::string, double> scale;
  std::map<std::string, std::optional<double>> decay;
  for (const auto& group : layerwise_lr_decay(all, {.decay = 0.5, .weight_decay = 0.2}))
    for (const auto& item : group.parameters) {
      scale[item.name] = group.lr_scale;
      decay[item.name] = group.weight_decay;
    }
  CHECK(scale.size() == 6);
  CHECK(scale.at("classifier.weight") == 1.0);
  CHECK(scale.at("bert.encoder.layer.11.output.dense.weight") == 0.5);
  CHECK(scale.at("bert.encoder.layer.0.attention.self.query.weight") == std::pow(0.5, 12));
  CHECK(scale.at("bert.embeddings.word_embeddings.weight") == std::pow(0.5, 13));
  CHECK(*decay.at("classifier.weight") == 0.2);
  CHECK(*decay.at("bert.encoder.layer.11.output.LayerNorm.weight") == 0.0);

  CHECK(detail::layer_number("layers.7.mlp.weight") == 7);
  CHECK(detail::layer_number("transformer.h.12.ln_1.weight") == 12);
  CHECK(detail::layer_number("layer.weight") == -1);
  CHECK(detail::layer_number("layer.99999999999999999999.w") == -1);
  CHECK_THROWS_AS(layerwise_lr_decay(all, {.decay = 1.5}), ConfigError);
  CHECK_THROWS_AS(layerwise_lr_decay(list<Reference>({named("weight", head)})), ConfigError);
}

TEST_CASE("what is refused, and what the message says") {
  const Reference device;
  const auto weight = parameter<float>(device, {2}, {1, 2});
  const auto all = list<Reference>({named("weight", weight)});
  const auto adamw = [&](const AdamWOptions& options) { return message([&] { AdamW(all, options); }); };
  CHECK(adamw({.lr = -1.0}) == "AdamW: lr must be at least 0, found -1");
  CHECK(adamw({.betas = {0.9, 1.0}}) == "AdamW: betas[1] must lie in [0, 1), found 1");
  CHECK(contains(adamw({.betas = {-0.1, 0.9}}), "betas[0] must lie in [0, 1)"));
  CHECK(contains(adamw({.eps = -1e-3}), "eps must be at least 0"));
  CHECK(contains(adamw({.weight_decay = std::nan("")}), "weight_decay must be at least 0, found nan"));
  CHECK(contains(adamw({.max_grad_norm = 0.0}), "must be above 0, found 0"));
  CHECK(contains(message([&] { SGD(all, {.nesterov = true}); }), "nesterov needs a momentum"));
  CHECK(contains(message([&] { SGD(all, {.momentum = -0.5}); }), "momentum must be at least 0"));
  ParameterGroup<Reference> with_betas{.parameters = all};
  with_betas.betas = {0.9, 0.99};
  CHECK(contains(message([&] { SGD(std::vector{with_betas}); }), "betas belong to AdamW"));

  const auto wide = Parameter<double, Reference>(device, {2});
  CHECK(contains(message([&] {
                   AdamW(list<Reference>({named("weight", weight), named("wide", wide)}));
                 }),
                 "parameter wide is float64"));
  CHECK(contains(message([&] {
                   AdamW(list<Reference>({named("weight", weight), named("again", weight)}));
                 }),
                 "parameter again is listed twice, the other time as weight"));
  CHECK(contains(message([&] { AdamW(list<Reference>({})); }), "none of the parameters trains"));
  AdamW optimizer(all);
  CHECK_THROWS_AS(AdamW(all, {.eps = -1.0}), ConfigError);
  CHECK_THROWS_AS(SGD(all, {.max_grad_norm = -1.0}), ConfigError);
  CHECK_NOTHROW(optimizer.step());  // a refused optimizer has taken nothing over
  CHECK_THROWS_AS(optimizer.set_lr(-1.0), ConfigError);
  CHECK_THROWS_AS(optimizer.clip_grad_norm(0.0), ConfigError);
  CHECK_THROWS_AS(linear_schedule_with_warmup(optimizer, {.warmup_steps = 3}), ConfigError);
  CHECK_THROWS_AS(linear_schedule_with_warmup(optimizer, {.warmup_steps = -1, .total_steps = 4}),
                  ConfigError);
  CHECK_THROWS_AS(polynomial_decay_schedule_with_warmup(optimizer, {.total_steps = 4, .lr_end = 1.0}),
                  ConfigError);
}

namespace {

/// The reference backend with memory for so many more allocations.
struct Scarce : Reference {
  static inline int left = 1 << 30;

  void* allocate(std::size_t bytes) const {
    if (left-- <= 0) throw DeviceError("no memory is left");
    return Reference::allocate(bytes);
  }
};

}  // namespace

TEST_CASE("an optimizer that finds no memory for its state leaves the parameters with the one they have") {
  const Scarce device;
  const auto weight = parameter<float>(device, {2}, {1, 2});
  const auto all = list<Scarce>({named("weight", weight)});
  SGD old(all, {.lr = 1.0});
  for (int allocations = 0; allocations < 4; ++allocations) {  // masters, gradients and two moments
    CAPTURE(allocations);
    Scarce::left = allocations;
    CHECK_THROWS_AS((AdamW<Scarce>(all)), DeviceError);
    Scarce::left = 1 << 30;
    weight.assign(std::vector<float>{1, 2});
    old.zero_grad();
    give_grad(weight, {1, 1});
    old.step();
    CHECK(master(weight) == std::vector<float>{0, 1});
  }
}

TEST_CASE("a state with numbers that no optimizer has is refused, and changes nothing") {
  const Reference device;
  const auto weight = parameter<float>(device, {2}, {1, 2});
  AdamW optimizer(list<Reference>({named("weight", weight)}));
  const OptimizerState good = optimizer.state();
  const auto refuses = [&](const char* part, const auto& change) {
    OptimizerState state = good;
    change(state);
    CHECK(contains(message([&] { optimizer.load_state(state); }), part));
    CHECK(optimizer.state() == good);
  };
  refuses("group 0 of the state: betas[1] must lie in [0, 1), found 1",
          [](auto& s) { s.groups[0].betas[1] = 1; });
  refuses("betas[0]", [](auto& s) { s.groups[0].betas[0] = -0.5; });
  refuses("initial_lr must be at least 0", [](auto& s) { s.groups[0].initial_lr = -1; });
  refuses("lr must be at least 0, found -2", [](auto& s) { s.groups[0].lr = -2; });
  refuses("weight_decay", [](auto& s) { s.groups[0].weight_decay = -1; });
  refuses("-1 skipped steps", [](auto& s) { s.skipped_steps = -1; });
}

TEST_CASE("a parameter belongs to the newest optimizer, and what trains must not change under it") {
  const Reference device;
  const auto weight = parameter<float>(device, {2}, {1, 2});
  const auto other = parameter<float>(device, {2}, {1, 2});
  auto all = list<Reference>({named("weight", weight), named("other", other)});
  AdamW old(all);
  give_grad(weight, {1, 1});
  old.step();
  const std::vector<float> between = master(weight);
  SGD fresh(list<Reference>({named("weight", weight)}), {.lr = 1.0});
  CHECK(master(weight) == between);
  CHECK(weight.grad().to_vector() == std::vector<float>{1, 1});  // taken along
  const std::string refused = message([&] { old.step(); });
  CHECK(contains(refused, "weight now belongs to a newer optimizer"));
  CHECK_THROWS_AS(old.step(), GraphError);
  CHECK_THROWS_AS(old.clip_grad_norm(1.0), GraphError);
  CHECK(master(weight) == between);
  fresh.step();
  CHECK(master(weight)[0] == between[0] - 1.0f);

  AdamW third(all);
  set_trainable(all.items[1], false);
  CHECK(contains(message([&] { third.step(); }), "other was frozen or unfrozen"));
  AdamW fourth(all);  // trains `weight` alone
  CHECK(fourth.state().steps.size() == 1);
  fourth.step();
  set_trainable(all.items[1], true);
  CHECK(contains(message([&] { fourth.step(); }), "other was unfrozen after"));
  AdamW fifth(all);
  CHECK_NOTHROW(fifth.step());

  // Frozen rows of a fused parameter stay as they are, whatever gradient they have.
  const auto fused = parameter<float>(device, {3, 2}, {1, 1, 2, 2, 3, 3}, 3);
  auto parts = list<Reference>(
      {named("q", fused.rows(0, 1)), named("k", fused.rows(1, 2)), named("v", fused.rows(2, 3))});
  set_trainable(parts.items[1], false);
  SGD partly(parts, {.lr = 1.0});
  give_grad(fused, {1, 1, 1, 1, 1, 1});
  CHECK(partly.clip_grad_norm(std::numeric_limits<double>::infinity()) == 2.0f);  // of q and v alone
  partly.step();
  CHECK(master(fused) == std::vector<float>{0, 0, 2, 2, 2, 2});
}

TEST_CASE_TEMPLATE("a gradient that is not finite: named, or skipped without a trace", B, Reference, Cpu) {
  const B device;
  const auto good = parameter<float>(device, {2}, {1, 2});
  const auto bad = parameter<bfloat16>(device, {2}, {1, 2});
  const auto all = list<B>({named("good", good), named("bad", bad)});
  for (const float value : {not_a_number, inf, -inf}) {
    AdamW strict(all, {.lr = 0.1});
    give_grad(good, {1, 1});
    give_grad(bad, {1, value});
    const std::string refused = message([&] { strict.step(); });
    CHECK(contains(refused, "the gradient of bad is not finite"));
    CHECK_THROWS_AS(strict.step(), TrainingError);
    CHECK(all.run->step == 0);
    strict.zero_grad();
  }
  CHECK(master(good) == std::vector<float>{1, 2});

  // Skipping: as if the bad step had not been, with and without clipping, asked for or by option.
  for (const int clip : {0, 1, 2}) {
    CAPTURE(clip);
    good.assign(std::vector<float>{1, 2});
    bad.assign(std::vector<float>{1, 2});
    const auto twin = parameter<float>(device, {2}, {1, 2});
    const auto twin_bad = parameter<bfloat16>(device, {2}, {1, 2});
    AdamWOptions options{.lr = 0.1, .skip_non_finite = true};
    if (clip == 1) options.max_grad_norm = 0.5;
    const auto run = list<B>({named("good", good), named("bad", bad)});
    AdamW skipping(run, options);
    AdamW expected(list<B>({named("good", twin), named("bad", twin_bad)}), options);
    for (int step = 0; step < 5; ++step) {
      const bool broken = step == 0 || step == 2 || step == 3;
      const auto gradient = noise(2, static_cast<std::uint64_t>(step));
      skipping.zero_grad();
      give_grad(good, gradient);
      give_grad(bad, broken ? std::vector<float>{not_a_number, 1} : gradient);
      if (clip == 2) CHECK(std::isnan(skipping.clip_grad_norm(0.5)) == broken);
      skipping.step();
      if (broken) continue;
      expected.zero_grad();
      give_grad(twin, gradient);
      give_grad(twin_bad, gradient);
      if (clip == 2) expected.clip_grad_norm(0.5);
      expected.step();
      CHECK(master(good) == master(twin));
      CHECK(master(bad) == master(twin_bad));
    }
    CHECK(skipping.skipped_steps() == 3);
    CHECK(skipping.state().steps == expected.state().steps);
    CHECK(run.run->step == 5);  // dropout goes on to new masks
    const auto found = skipping.arrays(), wanted = expected.arrays();
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK(found[i].values.to_vector() == wanted[i].values.to_vector());
  }
}

TEST_CASE_TEMPLATE("bfloat16: the float master moves, and what is computed with is the master rounded", B,
                   Reference, Cpu) {
  const B device;
  const std::size_t count = 70000;  // more than a chunk
  const auto weight = parameter<bfloat16>(device, {700, 100}, noise(count, 0));
  const auto twin = parameter<float>(device, {700, 100}, noise(count, 0));
  AdamW optimizer(list<B>({named("w", weight)}), {.lr = 1e-4});
  AdamW wide(list<B>({named("w", twin)}), {.lr = 1e-4});
  for (std::uint64_t step = 0; step < 3; ++step) {
    const std::uint64_t version = weight.state()->value.version();
    optimizer.zero_grad();
    wide.zero_grad();
    give_grad(weight, noise(count, 10 + step));
    give_grad(twin, noise(count, 10 + step));
    optimizer.step();
    wide.step();
    CHECK(weight.state()->value.version() > version);
  }
  const std::vector<float> masters = master(weight);
  const std::vector<bfloat16> values = weight.value().to_vector();
  CHECK(masters == master(twin));  // steps too small for bfloat16 add up in the master
  bool rounded = true;
  for (std::size_t i = 0; i < count; ++i) rounded = rounded && values[i].bits == bfloat16(masters[i]).bits;
  CHECK(rounded);
}

TEST_CASE("CPU and reference agree, and the CPU gives the same bits for 1 to 4 threads") {
  const std::size_t sizes[] = {1, 15, 16, 17, 1000, 65535, 65536, 65537, 200001};
  const auto train = [&](auto device, bool momentum) {
    using B = decltype(device);
    std::vector<Parameter<float, B>> parameters;
    ParameterList<B> all = list<B>({});
    for (const std::size_t size : sizes) {
      parameters.push_back(parameter<float>(device, {static_cast<std::int64_t>(size)}, noise(size, size)));
      all.items.push_back(named(std::string("p").append(std::to_string(size)), parameters.back()));
    }
    const auto steps = [&](auto& optimizer) {
      for (std::uint64_t step = 0; step < 3; ++step) {
        optimizer.zero_grad();
        for (std::size_t i = 0; i < parameters.size(); ++i)
          give_grad(parameters[i], noise(sizes[i], 100 * (step + 1) + i));
        optimizer.clip_grad_norm(300.0);
        optimizer.step();
      }
    };
    if (momentum) {
      SGD optimizer(all, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
      steps(optimizer);
    } else {
      AdamW optimizer(all, {.lr = 1e-2});
      steps(optimizer);
    }
    std::vector<std::vector<float>> result;
    for (const auto& value : parameters) result.push_back(master(value));
    return result;
  };
  const int before = num_threads();
  for (const bool momentum : {false, true}) {
    const auto expected = train(Reference{}, momentum);
    std::vector<std::vector<float>> first;
    for (const int threads : {1, 2, 3, 4}) {
      set_num_threads(threads);
      const auto found = train(Cpu{}, momentum);
      if (threads == 1) first = found;
      CHECK(found == first);
    }
    double worst = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      for (std::size_t j = 0; j < expected[i].size(); ++j)
        worst = std::max(worst, std::abs(double{first[i][j]} - double{expected[i][j]}) /
                                    std::max(0.1, std::abs(double{expected[i][j]})));
    CHECK(worst < 2e-6);
  }
  set_num_threads(before);
}

TEST_CASE(
    "state: taken over by an equal optimizer, refused by others; a moved optimizer keeps its schedule") {
  const Reference device;
  const auto weight = parameter<float>(device, {2}, {1, 2});
  const auto all = list<Reference>({named("weight", weight)});
  AdamW optimizer(all, {.lr = 0.1});
  LrSchedule schedule = linear_schedule_with_warmup(optimizer, {.warmup_steps = 2, .total_steps = 6});
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad();
    give_grad(weight, {1, -1});
    optimizer.step();
    schedule.step();
  }
  AdamW moved = std::move(optimizer);
  CHECK(moved.lr() == doctest::Approx(0.1 * 3.0 / 4.0));
  schedule.step();
  CHECK(moved.lr() == doctest::Approx(0.1 * 2.0 / 4.0));

  const OptimizerState state = moved.state();
  const LrScheduleState schedule_state = schedule.state();
  CHECK(state.steps.at("weight") == 3);
  AdamW next(all, {.lr = 7.0});
  LrSchedule next_schedule = linear_schedule_with_warmup(next, {.warmup_steps = 2, .total_steps = 6});
  next.load_state(state);
  next_schedule.load_state(schedule_state);
  CHECK(next.state() == state);
  CHECK(next_schedule.state() == schedule_state);
  CHECK(next.lr() == schedule.last_lr());
  const auto names = next.arrays();
  REQUIRE(names.size() == 2);
  CHECK(names[0].name == "weight.exp_avg");
  CHECK(names[1].name == "weight.exp_avg_sq");
  CHECK(names[1].values.shape() == Shape{2});

  OptimizerState wrong = state;
  wrong.optimizer = "SGD";
  CHECK(contains(message([&] { next.load_state(wrong); }), "of another optimizer, SGD"));
  wrong = state;
  wrong.steps = {{"bias", 3}};
  CHECK(contains(message([&] { next.load_state(wrong); }), "lacks parameter weight"));
  wrong = state;
  wrong.steps["bias"] = 1;
  CHECK(contains(message([&] { next.load_state(wrong); }), "expected the state of 1 parameters, found 2"));
  wrong = state;
  wrong.groups.clear();
  CHECK_THROWS_AS(next.load_state(wrong), ConfigError);
  const auto twin = parameter<float>(device, {2}, {1, 2});
  AdamW two(list<Reference>({named("weight", weight), named("weight", twin)}));  // of two models, perhaps
  CHECK(contains(message([&] { two.state(); }), "two parameters are called weight"));
  LrSchedule cosine = cosine_schedule_with_warmup(next, {.total_steps = 6});
  CHECK(contains(message([&] { cosine.load_state(schedule_state); }), "of another schedule, linear"));
}
