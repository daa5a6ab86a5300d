// Logits, losses, gradients and five AdamW steps of every head against PyTorch and transformers in float64.
#include "golden.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/loss/embedding_loss.hpp>

#include <algorithm>
#include <map>
#include <set>

using namespace attune;
using golden::Expected;

namespace {

/// The loss of one case, whatever its head. `logits` receives what the fixture calls output.logits or
/// embeddings.
template <class Model>
auto loss_of(const Model& model, const Expected& expected, std::vector<double>* outputs) {
  const auto keep = [&](const auto& tensor) {
    if (!outputs) return;
    const auto values = tensor.to_vector();
    outputs->assign(values.begin(), values.end());
  };
  if constexpr (requires { model(Batch{}).logits; }) {
    const auto output = model(expected.batch());
    keep(output.logits);
    return output.loss;
  } else {
    const auto u = model(expected.batch()), v = model(expected.batch("input.pair."));
    keep(u);
    return expected.json["loss_function"] == "ranking"
               ? multiple_negatives_ranking_loss(u, v, expected.json["scale"].template get<float>())
               : cosine_similarity_loss(u, v, expected.floats("input.labels"));
  }
}

template <class Model>
Model load_case(const std::string& name, const Expected& expected) {
  using B = typename Model::backend_type;
  Model model = Model::from_pretrained(golden::case_path(name), {}, B());
  REQUIRE(model.load_report().complete());
  if constexpr (requires { model.loss_options; }) {
    model.loss_options.label_smoothing = expected.json["label_smoothing"].template get<float>();
    if (expected.has("input.class_weights"))
      model.loss_options.class_weights = expected.floats("input.class_weights");
  }
  return model;
}

bool contains(const nlohmann::json& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

template <class Model>
void check_case(const std::string& name) {
  CAPTURE(name);
  const Expected expected(golden::case_path(name));
  Model model = load_case<Model>(name, expected);
  const bool token_level = expected.has("output.logits") && expected.shape("output.logits").rank() == 3;
  const std::string output_name = expected.has("output.logits") ? "output.logits" : "output.embeddings";

  model.eval();  // masked LM then gives every row of logits
  std::vector<double> outputs;
  const double eval_loss = loss_of(model, expected, &outputs).item();
  auto wanted = expected.numbers(output_name);
  if (token_level) wanted = expected.pack(wanted);
  CHECK(golden::largest_difference(outputs, wanted) < 1e-5);
  CHECK(std::abs(eval_loss - expected.json["loss"].get<double>()) < 1e-5);

  model.train();
  auto loss = loss_of(model, expected, nullptr);
  CHECK(std::abs(loss.item() - expected.json["loss"].get<double>()) < 1e-5);
  loss.backward();
  std::size_t gradients = 0;
  for_each_parameter(model, [&](const std::string& parameter, const auto& p) {
    CAPTURE(parameter);
    if (contains(expected.json["no_gradient"], parameter)) {
      CHECK(!p.grad());
      return;
    }
    REQUIRE(p.grad());
    ++gradients;
    const auto reference = expected.numbers("grad." + parameter);
    const double error = golden::rms(golden::difference(p.grad().to_vector(), reference));
    const double size = contains(expected.json["zero_in_theory"], parameter) ? 1.0 : golden::rms(reference);
    CHECK(error <= 1e-5 * size);
  });
  CHECK(gradients > 10);

  if constexpr (std::is_same_v<typename Model::value_type, float>) {
    AdamW optimizer(model.parameters(), {.lr = 1e-3, .weight_decay = 1e-2});
    for (int step = 0; step < 5; ++step) {
      optimizer.zero_grad();
      auto step_loss = loss_of(model, expected, nullptr);
      CHECK(std::abs(step_loss.item() - expected.json["losses"][step].template get<double>()) < 1e-4);
      step_loss.backward();
      const double norm = expected.json["grad_norms"][step].template get<double>();
      CHECK(optimizer.clip_grad_norm(1.0) == doctest::Approx(norm).epsilon(1e-4));
      optimizer.step();
    }
    for_each_parameter(model, [&](const std::string& parameter, const auto& p) {
      CAPTURE(parameter);
      if (contains(expected.json["zero_in_theory"], parameter)) return;
      CHECK(golden::rms(golden::difference(p.master().to_vector(), expected.numbers("after5." + parameter))) <
            2e-6);
    });
  }
}

template <class T, class B>
void check_by_architecture(const std::string& name) {
  const auto architecture =
      read_json(golden::case_path(name) + "/expected.json")["architecture"].get<std::string>();
  if (architecture == "BertForSequenceClassification")
    return check_case<BertForSequenceClassification<T, B>>(name);
  if (architecture == "BertForTokenClassification") return check_case<BertForTokenClassification<T, B>>(name);
  if (architecture == "BertForMaskedLM") return check_case<BertForMaskedLM<T, B>>(name);
  if (architecture == "BertModel") return check_case<BertForSentenceEmbedding<T, B>>(name);
  if (architecture == "DistilBertForSequenceClassification")
    return check_case<DistilBertForSequenceClassification<T, B>>(name);
  if (architecture == "DistilBertForTokenClassification")
    return check_case<DistilBertForTokenClassification<T, B>>(name);
  if (architecture == "DistilBertForMaskedLM") return check_case<DistilBertForMaskedLM<T, B>>(name);
  // XLM-RoBERTa's are RoBERTa's under other names.
  const std::string roberta = architecture.starts_with("XLM") ? architecture.substr(3) : architecture;
  if (roberta == "RobertaForSequenceClassification")
    return check_case<RobertaForSequenceClassification<T, B>>(name);
  if (roberta == "RobertaForTokenClassification")
    return check_case<RobertaForTokenClassification<T, B>>(name);
  if (roberta == "RobertaForMaskedLM") return check_case<RobertaForMaskedLM<T, B>>(name);
  if (roberta == "RobertaModel") return check_case<RobertaForSentenceEmbedding<T, B>>(name);
  FAIL("no model for " << architecture);
}

}  // namespace

TEST_CASE("golden: every case on Cpu in float") {
  const auto names = golden::names("cases");
  REQUIRE(names.size() >= 41);
  for (const std::string& name : names) check_by_architecture<float, Cpu>(name);
}

TEST_CASE("golden: every case on Reference in double") {
  for (const std::string& name : golden::names("cases")) check_by_architecture<double, Reference>(name);
}

TEST_CASE("golden: the bare encoder's states and pooler output, read from checkpoints of other heads") {
  std::size_t pooled = 0;
  for (const std::string& name : golden::names("cases")) {
    if (!name.starts_with("bert_")) continue;
    CAPTURE(name);
    const Expected expected(golden::case_path(name));
    auto model = BertModel<float, Cpu>::from_pretrained(golden::case_path(name));
    model.eval();
    const auto output = model(expected.batch());
    CHECK(golden::largest_difference(output.last_hidden_state.to_vector(),
                                     expected.pack(expected.numbers("output.last_hidden_state"))) < 1e-5);
    if (!expected.has("output.pooler_output")) continue;
    ++pooled;
    CHECK(model.load_report().missing.empty());
    CHECK(golden::largest_difference(output.pooler_output.to_vector(),
                                     expected.numbers("output.pooler_output")) < 1e-5);
  }
  CHECK(pooled >= 15);
}
