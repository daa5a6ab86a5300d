// Checkpoints in other layouts load as expected.json says and compute what is expected of them.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <algorithm>

#include "golden.hpp"

using namespace attune;
using golden::Expected;

namespace {

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}
std::vector<std::string> strings(const nlohmann::json& names) {
  return sorted(names.get<std::vector<std::string>>());
}

/// expected.json of a variant, and the tensors that its inputs and outputs are in.
struct Variant {
  explicit Variant(const std::string& name)
      : path(golden::variant_path(name)), json(read_json(path + "/expected.json")) {}

  std::string path;
  nlohmann::json json;

  Expected inputs() const { return Expected(golden::case_path(json["base_case"])); }
  std::vector<double> output(const std::string& name) const {
    if (!json["own_outputs"].get<bool>()) return inputs().numbers(name);
    const auto file = SafetensorsFile::open(path + "/expected.safetensors");
    const auto* found = file.find(name);
    REQUIRE(found);
    std::vector<double> values(static_cast<std::size_t>(found->shape.size()));
    convert_elements<double>(*found->dtype, file.bytes(*found), values, name);
    return values;
  }
};

/// The bare encoder of the same directory: every state of a real token.
template <class Base>
void check_states(const Variant& variant) {
  Base model = Base::from_pretrained(variant.path);
  model.eval();
  const Expected inputs = variant.inputs();
  const auto states = model(inputs.batch()).last_hidden_state.to_vector();
  CHECK(golden::largest_difference(states, inputs.pack(variant.output("output.last_hidden_state"))) < 1e-5);
}

template <class Model>
void check_variant(const Variant& variant) {
  Model model = Model::from_pretrained(variant.path);
  CHECK(sorted(model.load_report().missing) == strings(variant.json["missing"]));
  CHECK(sorted(model.load_report().unexpected) == strings(variant.json["unexpected"]));
  CHECK(model.load_report().mismatched.empty());
  if (!variant.json["missing"].empty()) return;  // a head that began anew
  model.eval();
  const Expected inputs = variant.inputs();
  const auto logits = model(inputs.batch()).logits.to_vector();
  auto expected = variant.output("output.logits");
  if (expected.size() != logits.size()) expected = inputs.pack(expected);
  CHECK(golden::largest_difference(logits, expected) < 1e-5);
}

}  // namespace

TEST_CASE("variants: names, types, shards, pickles and configs") {
  const auto names = golden::names("variants");
  REQUIRE(names.size() >= 17);
  for (const std::string& name : names) {
    CAPTURE(name);
    const Variant variant(name);
    const auto load_as = variant.json["load_as"].get<std::string>();
    if (load_as == "BertForSequenceClassification") {
      check_variant<BertForSequenceClassification<float, Cpu>>(variant);
    } else if (load_as == "BertForMaskedLM") {
      check_variant<BertForMaskedLM<float, Cpu>>(variant);
    } else if (load_as == "DistilBertForSequenceClassification") {
      check_variant<DistilBertForSequenceClassification<float, Cpu>>(variant);
    } else {
      FAIL("no model for " << load_as);
    }
    if (load_as.starts_with("Distil"))
      check_states<DistilBertModel<float, Cpu>>(variant);
    else
      check_states<BertModel<float, Cpu>>(variant);
  }
}

TEST_CASE("variants: labels and fields of an older config survive saving") {
  const auto model =
      BertForSequenceClassification<float, Cpu>::from_pretrained(golden::variant_path("config_v4"));
  CHECK(model.config.labels.id2label == std::vector<std::string>{"contradiction", "neutral", "entailment"});
  const auto minimal =
      BertForSequenceClassification<float, Cpu>::from_pretrained(golden::variant_path("config_minimal"));
  CHECK(minimal.config.hidden_dropout_prob == 0.1);
  CHECK(minimal.config.attention_probs_dropout_prob == 0.1);
  CHECK(minimal.config.hidden_act == "gelu");
}
