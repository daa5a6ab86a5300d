// LoRA against PEFT in float64, and what a user does with it.
#include "generation/small_decoders.hpp"
#include "models/golden.hpp"
#include "models/small_models.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/formats/safetensors.hpp>
#include <attune/optim/lora_plus.hpp>
#include <attune/peft/lora.hpp>

#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <vector>

using namespace attune;
using namespace attune::testing;
using golden::Expected;

namespace {

std::string adapter_path(const std::string& name) { return golden::root() + "/adapters/" + name; }

template <class W>
std::vector<double> as_stored(const Shape& shape, bool transposed, const std::vector<W>& values) {
  if (!transposed) return {values.begin(), values.end()};
  const auto swapped = attune::detail::transposed_matrix(std::span<const W>(values), shape[0], shape[1]);
  return {swapped.begin(), swapped.end()};
}

template <class Model>
std::vector<double> logits_of(const Model& model, const Batch& labelled, bool padded_rows) {
  Batch batch = labelled;
  if (padded_rows) batch.labels.clear();
  const auto values = model(batch).logits.to_vector();
  return {values.begin(), values.end()};
}

template <class Model>
void check_case(const std::string& name) {
  using B = typename Model::backend_type;
  CAPTURE(name);
  const auto json = read_json(adapter_path(name) + "/expected.json");
  const std::string base = golden::root() + "/" + json["base"].get<std::string>();
  const Expected inputs(base), expected(adapter_path(name));
  const Batch batch = inputs.batch();
  const bool token_level = expected.shape("output.logits").rank() == 3;
  auto logits = expected.numbers("output.logits");
  if (token_level) logits = inputs.pack(logits);

  Model model = Model::from_pretrained(base, {.frozen = true}, B());
  model.eval();
  const auto before = logits_of(model, batch, token_level);
  auto lora = LoraAdapter<Model>::from_pretrained(model, adapter_path(name));
  CHECK(model.num_parameters(true) == 0);
  CHECK(golden::largest_difference(logits_of(model, batch, token_level), logits) < 1e-5);

  lora.train_adapter();
  model.train();
  auto loss = model(batch).loss;
  CHECK(std::abs(loss.item() - json["loss"].template get<double>()) < 1e-5);
  loss.backward();
  std::size_t gradients = 0;
  for_each_parameter(model, [&](const std::string& parameter, const auto& p) {
    CAPTURE(parameter);
    if (!expected.has("grad." + parameter)) {
      CHECK(!p.grad());
      CHECK(!p.state()->grad);  // no memory for it either
      return;
    }
    ++gradients;
    REQUIRE(p.grad());
    const auto reference = expected.numbers("grad." + parameter);
    CHECK(golden::rms(golden::difference(p.grad().to_vector(), reference)) <= 1e-5 * golden::rms(reference));
  });
  CHECK(gradients >= 8);

  model.eval();
  lora.merge();
  CHECK(golden::largest_difference(logits_of(model, batch, token_level), logits) < 1e-5);
  std::size_t merged = 0;
  for_each_parameter(model, [&](const std::string& parameter, const auto& p) {
    CAPTURE(parameter);
    if (!expected.has("merged." + parameter)) return;
    ++merged;
    const auto values = as_stored(p.shape(), p.state()->stored_transposed, p.value().to_vector());
    CHECK(golden::largest_difference(values, expected.numbers("merged." + parameter)) < 1e-6);
  });
  CHECK(merged >= 4);
  lora.unmerge();
  CHECK(golden::largest_difference(logits_of(model, batch, token_level), logits) < 1e-5);
  if constexpr (std::is_same_v<typename Model::value_type, float>) {
    lora.deactivate();
    CHECK(golden::largest_difference(logits_of(model, batch, token_level), before) < 1e-5);
    lora.activate();
    CHECK(golden::largest_difference(logits_of(model, batch, token_level), logits) < 1e-5);
  }

  // What is written holds the same tensors in the same shapes, and reads back.
  const TemporaryDirectory directory;
  lora.save_pretrained(directory.path());
  const auto theirs = SafetensorsFile::open(adapter_path(name) + "/adapter_model.safetensors");
  const auto ours = SafetensorsFile::open(directory.path() + "/adapter_model.safetensors");
  REQUIRE(ours.entries().size() == theirs.entries().size());
  for (const auto& entry : theirs.entries()) {
    CAPTURE(entry.name);
    REQUIRE(ours.find(entry.name));
    CHECK(ours.find(entry.name)->shape == entry.shape);
  }
  const auto written = read_json(directory.path() + "/adapter_config.json"),
             original = read_json(adapter_path(name) + "/adapter_config.json");
  for (const auto& field : written.items())
    if (field.key() != "target_modules" || original["target_modules"].is_string())
      CHECK_MESSAGE(field.value() == original[field.key()], field.key());
  Model again = Model::from_pretrained(base, {.frozen = true}, B());
  auto second = LoraAdapter<Model>::from_pretrained(again, directory.path(), "other");
  again.eval();
  CHECK(golden::largest_difference(logits_of(again, batch, token_level), logits) < 1e-5);
}

LoraConfig small_lora() {
  LoraConfig config;
  config.r = 4;
  config.lora_alpha = 8;
  config.target_modules = {"q_proj", "v_proj", "up_proj"};
  return config;
}

Batch some_batch() { return text_batch({random_tokens(7, 1), random_tokens(12, 3)}); }

}  // namespace

TEST_CASE("lora: logits, gradients and merged weights are PEFT's") {
  check_case<LlamaForCausalLM<float, Cpu>>("llama_lora");
  check_case<LlamaForCausalLM<float, Cpu>>("llama_rslora_all");
  check_case<LlamaForCausalLM<float, Cpu>>("llama_regex");
  check_case<Gpt2ForCausalLM<float, Cpu>>("gpt2_lora");
  check_case<BertForSequenceClassification<float, Cpu>>("bert_lora");
  check_case<LlamaForCausalLM<float, Cpu>>("llama_dora");
  check_case<Gpt2ForCausalLM<float, Cpu>>("gpt2_dora");
  check_case<BertForSequenceClassification<float, Cpu>>("bert_dora");
}

TEST_CASE("lora: the same in double") {
  check_case<LlamaForCausalLM<double, Reference>>("llama_lora");
  check_case<Gpt2ForCausalLM<double, Reference>>("gpt2_lora");
  check_case<LlamaForCausalLM<double, Reference>>("llama_dora");
}

TEST_CASE("lora: trains alone, from nothing, with dropout and checkpointing") {
  for (const bool checkpointed : {false, true}) {
    auto model = LlamaForCausalLM<bfloat16, Cpu>::from_config(small_llama());
    const Batch batch = some_batch();
    model.eval();
    const float before = model(batch).loss.item();
    LoraConfig config = small_lora();
    config.lora_dropout = 0.1;
    LoraAdapter lora(model, config);
    CHECK(model(batch).loss.item() == before);
    CHECK(lora.modules().size() == 6);
    CHECK(model.num_parameters(true) == 2 * 4 * ((32 + 32) + (32 + 16) + (32 + 48)));
    model.train();
    model.gradient_checkpointing = checkpointed;
    AdamW optimizer(model.parameters(), {.lr = 2e-2});
    for (int step = 0; step < 30; ++step) {
      optimizer.zero_grad();
      auto loss = model(batch).loss;
      loss.backward();
      optimizer.step();
    }
    for (const auto& parameter : model.parameters())
      if (!parameter.trainable()) CHECK(!parameter.state->grad);
    model.eval();
    const float after = model(batch).loss.item();
    CHECK(after < 0.6f * before);
    lora.deactivate();
    CHECK(model(batch).loss.item() == before);
    lora.activate();
    CHECK(model(batch).loss.item() == after);
    lora.merge();
    CHECK(model(batch).loss.item() == doctest::Approx(after).epsilon(0.1));
  }
}

TEST_CASE("lora: dropout draws new masks each step, and the same ones again in recomputation") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama());
  LoraConfig config = small_lora();
  config.lora_dropout = 0.5;
  LoraAdapter lora(model, config);
  detail::for_each_lora(model, "default", [](const std::string&, auto&, auto&, auto& layer) {
    layer.lora_B.assign(std::vector<float>(static_cast<std::size_t>(layer.lora_B.size()), 0.1f));
  });
  const Batch batch = some_batch();
  std::vector<std::vector<float>> gradients;
  std::vector<float> losses;
  for (const bool checkpointed : {false, true}) {
    model.run_state()->samples = 0;
    model.gradient_checkpointing = checkpointed;
    for (const auto& parameter : model.parameters()) parameter.state->has_grad = false;
    auto loss = model(batch).loss;
    losses.push_back(loss.item());
    loss.backward();
    for (const auto& parameter : model.parameters())
      if (parameter.name.ends_with("layers.0.self_attn.q_proj.lora_A.default.weight"))
        gradients.push_back(parameter.grad().to_vector());
  }
  CHECK(losses[0] == losses[1]);
  REQUIRE(gradients.size() == 2);
  CHECK(gradients[0] == gradients[1]);
  CHECK(model(batch).loss.item() != losses[0]);  // later samples draw other masks
}

TEST_CASE("lora: several adapters, modules that are saved whole, and removal") {
  auto model = LlamaForSequenceClassification<float, Cpu>::from_config([] {
    LlamaConfig config = small_llama();
    config.labels.num_labels = 3;
    return config;
  }());
  model.eval();
  const Batch batch = text_batch({random_tokens(7, 1), random_tokens(12, 3)}, false);
  const auto logits = [&] { return model(batch).logits.to_vector(); };
  const auto before = logits();
  LoraConfig config = small_lora();
  config.modules_to_save = {"score"};
  LoraAdapter first(model, config, "first");
  const auto change = [&](const std::string& name, float value) {
    for (const auto& parameter : model.parameters())
      if (parameter.trainable() &&
          (parameter.name.ends_with("lora_B." + name + ".weight") || parameter.name == "score.weight"))
        parameter.master().copy_from(std::vector<float>(static_cast<std::size_t>(parameter.size()), value));
  };
  change("first", 0.1f);
  const auto with_first = logits();
  CHECK(with_first != before);
  CHECK_THROWS_AS((LoraAdapter(model, config, "second")), ConfigError);  // the first is active
  CHECK_THROWS_AS((LoraAdapter(model, config, "first")), ConfigError);
  first.deactivate();
  CHECK(logits() == before);
  LoraAdapter second(model, config, "second");
  change("second", -0.2f);
  const auto with_second = logits();
  CHECK_THROWS_AS(first.activate(), ConfigError);
  CHECK_THROWS_AS(first.merge(), ConfigError);
  second.deactivate();
  first.activate();
  CHECK(logits() == with_first);
  CHECK_THROWS_AS(first.unmerge(), ConfigError);
  first.deactivate();
  second.activate();
  CHECK(logits() == with_second);

  const TemporaryDirectory directory;
  second.save_pretrained(directory.path() + "/adapter");
  model.save_pretrained(directory.path() + "/model");
  const CheckpointReader saved = CheckpointReader::open(directory.path() + "/model");
  CHECK(saved.find("score.weight"));
  for (const auto& tensor : saved.tensors()) CHECK(tensor.name.find("lora") == std::string::npos);
  second.remove();
  first.remove();
  CHECK(logits() == before);
  CHECK(second.modules().empty());
  for (const auto& parameter : model.parameters()) CHECK(parameter.name.find("lora") == std::string::npos);
  auto read = LoraAdapter<LlamaForSequenceClassification<float, Cpu>>::from_pretrained(
      model, directory.path() + "/adapter", "second");
  CHECK(logits() == with_second);
}

TEST_CASE("lora: PEFT's adapters of one model are switched, merged and taken out again") {
  using Model = LlamaForCausalLM<float, Cpu>;
  const std::string base = golden::root() + "/decoders/llama_lm_tied_biases";
  const Expected inputs(base);
  Model model = Model::from_pretrained(base, {.frozen = true});
  model.eval();
  const auto logits = [&] { return logits_of(model, inputs.batch(), true); };
  const auto of_peft = [&](const char* name) {
    return inputs.pack(Expected(adapter_path(name)).numbers("output.logits"));
  };
  const auto close = [](const std::vector<double>& a, const std::vector<double>& b, double bound = 1e-5) {
    return golden::largest_difference(a, b) < bound;
  };
  const auto plain = logits(), first_logits = of_peft("llama_rslora_all"),
             second_logits = of_peft("llama_dora");
  auto first = LoraAdapter<Model>::from_pretrained(model, adapter_path("llama_rslora_all"), "first");
  CHECK(close(logits(), first_logits));
  first.deactivate();
  auto second = LoraAdapter<Model>::from_pretrained(model, adapter_path("llama_dora"), "second");
  CHECK(close(logits(), second_logits));
  second.merge();
  CHECK(close(logits(), second_logits));
  second.unmerge();
  second.deactivate();
  first.activate();
  const double rounded =
      2e-5;  // unmerging DoRA divides and subtracts: the weights are not the old ones bit for bit
  CHECK(close(logits(), first_logits, rounded));
  first.merge();
  CHECK(close(logits(), first_logits, rounded));
  first.unmerge();
  first.deactivate();
  CHECK(close(logits(), plain, rounded));
  second.activate();
  CHECK(close(logits(), second_logits, rounded));
}

TEST_CASE("lora_plus: learning rates and weight decays are PEFT's") {
  const auto check = [](const std::string& name, const auto& parameters) {
    CAPTURE(name);
    const auto expected = read_json(adapter_path(name) + "/expected.json")["lora_plus"];
    const double lr = expected["lr"].template get<double>();
    std::size_t seen = 0;
    for (const auto& group :
         lora_plus(parameters, {.lr_ratio = expected["lr_ratio"].template get<double>(),
                               .weight_decay = expected["weight_decay"].template get<double>()}))
      for (const auto& parameter : group.parameters) {
        CAPTURE(parameter.name);
        REQUIRE(expected["parameters"].contains(parameter.name));
        const auto numbers = expected["parameters"][parameter.name];
        CHECK(group.lr.value_or(lr) * group.lr_scale == doctest::Approx(numbers[0].template get<double>()));
        CHECK(*group.weight_decay == numbers[1].template get<double>());
        ++seen;
      }
    CHECK(seen == expected["parameters"].size());
  };
  auto llama =
      LlamaForCausalLM<float, Cpu>::from_pretrained(golden::root() + "/decoders/llama_lm_tied_biases");
  LoraAdapter<LlamaForCausalLM<float, Cpu>>::from_pretrained(llama, adapter_path("llama_dora"))
      .train_adapter();
  check("llama_dora", llama.parameters());
  auto bert =
      BertForSequenceClassification<float, Cpu>::from_pretrained(golden::root() + "/cases/bert_cls_gelu");
  LoraAdapter<BertForSequenceClassification<float, Cpu>>::from_pretrained(bert, adapter_path("bert_dora"))
      .train_adapter();
  check("bert_dora", bert.parameters());

  ParameterList<Cpu> list = llama.parameters();
  list.items.resize(1);
  set_trainable(list.items[0], true);
  list.items[0].name = "embed_tokens.lora_embedding_A.default.weight";
  const auto groups = lora_plus(list, {.lr_embedding = 0.5});
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].lr == 0.5);
  CHECK_THROWS_AS(lora_plus(list, {.lr_ratio = 0.0}), ConfigError);
  const AdamW optimizer(lora_plus(llama.parameters(), {.lr_ratio = 4}), {.lr = 1e-3});
  CHECK(optimizer.groups().size() == 2);
  CHECK(optimizer.groups()[1].lr == doctest::Approx(4e-3));
}

TEST_CASE("lora: layers by regular expressions") {
  LoraConfig config;
  config.target_regex = R"(.*layers\.[0-1]\.(self_attn\.(q|v)|mlp\.up)_proj)";
  config.exclude_regex = ".*\\.1\\.mlp.*";
  config.rank_pattern = {{"layers\\.0\\..*", 3}, {"q_proj", 5}};
  CHECK(config.targets("model.layers.0.self_attn.q_proj"));
  CHECK_FALSE(config.targets("model.layers.0.self_attn.q_proj.extra"));
  CHECK_FALSE(config.targets("model.layers.2.self_attn.q_proj"));
  CHECK(config.targets("model.layers.0.mlp.up_proj"));
  CHECK_FALSE(config.targets("model.layers.1.mlp.up_proj"));
  CHECK(config.rank_of("model.layers.0.self_attn.q_proj") == 3);  // the first in the letters' order
  CHECK(config.rank_of("model.layers.1.self_attn.q_proj") == 5);
  CHECK(config.rank_of("model.layers.1.mlp.up_proj") == 8);
  config.modules_to_save = {"self_attn"};  // what is saved whole is not adapted, nor what is inside it
  CHECK_FALSE(config.targets("model.layers.0.self_attn.q_proj"));
  config.target_modules = {"q_proj"};
  CHECK_THROWS_WITH_AS(config.check(), doctest::Contains("not both"), ConfigError);
}

TEST_CASE("lora: what does not fit is refused by name") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama());
  LoraConfig config = small_lora();
  config.target_modules = {"qkv"};
  CHECK_THROWS_WITH_AS((LoraAdapter(model, config)),
                       "lora: target_modules: no linear layer of the model fits 'qkv'", ConfigError);
  config = small_lora();
  config.r = 0;
  CHECK_THROWS_WITH_AS((LoraAdapter(model, config)), doctest::Contains("r: expected 1"), ConfigError);
  config = small_lora();
  CHECK_THROWS_AS((LoraAdapter(model, config, "a.b")), ConfigError);

  const TemporaryDirectory directory;
  const auto read = [&](const std::string& fields) {
    std::ofstream(directory.path() + "/adapter_config.json")
        << R"({"peft_type": "LORA", "target_modules": ["q_proj"])" << fields << "}";
    return LoraConfig::from_pretrained(directory.path());
  };
  CHECK(read(R"(, "r": 2, "lora_alpha": 3)").scale_of("model.layers.0.self_attn.q_proj") == 1.5);
  CHECK(read(R"(, "r": 4, "use_rslora": true)").scale_of("q_proj") == 4.0);
  for (const char* fields :
       {R"(, "bias": "all")", R"(, "use_qalora": true)", R"(, "layers_to_transform": [1])",
        R"(, "init_lora_weights": "pissa")", R"(, "r": -1)", R"(, "lora_dropout": 1.0)",
        R"(, "trainable_token_indices": [1])"}) {
    CAPTURE(fields);
    CHECK_THROWS_AS(read(fields), ConfigError);
  }

  // An adapter of another model.
  read(R"(, "r": 3)");
  std::filesystem::copy_file(adapter_path("llama_lora") + "/adapter_model.safetensors",
                             directory.path() + "/adapter_model.safetensors");
  CHECK_THROWS_AS((LoraAdapter<LlamaForCausalLM<float, Cpu>>::from_pretrained(model, directory.path())),
                  ConfigError);
}

TEST_CASE("lora refuses the language model's head, which its loss would pass over") {
  attune::LoraConfig config;
  config.target_modules = {"q_proj", "lm_head"};
  CHECK(config.targets("model.layers.0.self_attn.q_proj"));
  CHECK_THROWS_AS(config.targets("lm_head"), attune::ConfigError);
  config.target_modules = {"all-linear"};
  CHECK_FALSE(config.targets("lm_head"));
}
