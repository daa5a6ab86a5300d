// Logits, losses, gradients and five AdamW steps of decoders against PyTorch and transformers in float64.
#include "golden.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/models/decoders.hpp>

#include <cmath>
#include <string>
#include <vector>

using namespace attune;
using golden::Expected;

namespace {

std::string decoder_path(const std::string& name) { return golden::root() + "/decoders/" + name; }

/// A parameter's values as the checkpoint lays them out.
template <class W>
std::vector<double> as_stored(const Shape& shape, bool transposed, const std::vector<W>& values) {
  if (!transposed) return {values.begin(), values.end()};
  const auto swapped = attune::detail::transposed_matrix(std::span<const W>(values), shape[0], shape[1]);
  return {swapped.begin(), swapped.end()};
}

void drop_zero_rows(const Expected& expected, const std::string& name, std::vector<double>& values) {
  const auto& rows = expected.json["zero_rows"];
  if (!rows.contains(name)) return;
  values.erase(values.begin() + rows[name][0].get<int>(), values.begin() + rows[name][1].get<int>());
}

template <class Model>
void check_case(const std::string& name) {
  using B = typename Model::backend_type;
  CAPTURE(name);
  const Expected expected(decoder_path(name));
  Model model = Model::from_pretrained(decoder_path(name), {}, B());
  REQUIRE(model.load_report().complete());
  CHECK(Model::architecture() == expected.json["architecture"].template get<std::string>());
  const Batch batch = expected.batch();

  model.eval();
  Batch unlabelled = batch;
  unlabelled.labels.clear();
  unlabelled.targets.clear();
  auto logits = expected.numbers("output.logits");
  if (expected.shape("output.logits").rank() == 3) logits = expected.pack(logits);
  CHECK(golden::largest_difference(model(unlabelled).logits.to_vector(), logits) < 1e-5);

  model.train();
  auto loss = model(batch).loss;
  CHECK(std::abs(loss.item() - expected.json["losses"][0].template get<double>()) < 1e-5);
  loss.backward();
  std::size_t gradients = 0;
  for_each_parameter(model, [&](const std::string& parameter, const auto& p) {
    CAPTURE(parameter);
    REQUIRE(p.grad());
    ++gradients;
    auto found = as_stored(p.shape(), p.state()->stored_transposed, p.grad().to_vector());
    auto reference = expected.numbers("grad." + parameter);
    const double size = golden::rms(reference);
    CHECK(golden::rms(golden::difference(found, reference)) <= 1e-5 * size);
  });
  CHECK(gradients > 10);

  if constexpr (std::is_same_v<typename Model::value_type, float>) {
    AdamW optimizer(model.parameters(), {.lr = 1e-3, .weight_decay = 1e-2});
    for (int step = 0; step < 5; ++step) {
      optimizer.zero_grad();
      auto step_loss = model(batch).loss;
      CHECK(std::abs(step_loss.item() - expected.json["losses"][step].template get<double>()) < 1e-4);
      step_loss.backward();
      const double norm = expected.json["grad_norms"][step].template get<double>();
      CHECK(optimizer.clip_grad_norm(1.0) == doctest::Approx(norm).epsilon(1e-4));
      optimizer.step();
    }
    for_each_parameter(model, [&](const std::string& parameter, const auto& p) {
      CAPTURE(parameter);
      auto found = as_stored(p.shape(), p.state()->stored_transposed, p.master().to_vector());
      auto reference = expected.numbers("after5." + parameter);
      drop_zero_rows(expected, parameter, found);
      drop_zero_rows(expected, parameter, reference);
      CHECK(golden::rms(golden::difference(found, reference)) < 2e-6);
    });
  }
}

template <class T, class B>
void check_by_architecture(const std::string& name) {
  const auto architecture =
      read_json(decoder_path(name) + "/expected.json")["architecture"].get<std::string>();
  if (architecture == "LlamaForCausalLM") return check_case<LlamaForCausalLM<T, B>>(name);
  if (architecture == "LlamaForSequenceClassification")
    return check_case<LlamaForSequenceClassification<T, B>>(name);
  if (architecture == "MistralForCausalLM") return check_case<MistralForCausalLM<T, B>>(name);
  if (architecture == "Qwen2ForCausalLM") return check_case<Qwen2ForCausalLM<T, B>>(name);
  if (architecture == "Qwen2ForSequenceClassification")
    return check_case<Qwen2ForSequenceClassification<T, B>>(name);
  if (architecture == "Qwen3ForCausalLM") return check_case<Qwen3ForCausalLM<T, B>>(name);
  if (architecture == "GPT2LMHeadModel") return check_case<Gpt2ForCausalLM<T, B>>(name);
  if (architecture == "GPT2ForSequenceClassification")
    return check_case<Gpt2ForSequenceClassification<T, B>>(name);
  FAIL("no model for " << architecture);
}

}  // namespace

TEST_CASE("golden decoders: every case on Cpu in float") {
  const auto names = golden::names("decoders");
  REQUIRE(names.size() >= 12);
  for (const std::string& name : names) check_by_architecture<float, Cpu>(name);
}

TEST_CASE("golden decoders: every case on Reference in double") {
  for (const std::string& name : golden::names("decoders")) check_by_architecture<double, Reference>(name);
}
