// What does not train gets no gradient, and nothing below it is recorded.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include "small_models.hpp"

using namespace attune;
using attune::testing::random_batch;
using attune::testing::small_config;

namespace {

using Model = BertForSequenceClassification<float, Cpu>;

Model make_model(double dropout = 0.1) { return Model::from_config(small_config(dropout)); }

std::map<std::string, std::vector<float>> gradients_of(const Model& model) {
  std::map<std::string, std::vector<float>> gradients;
  for_each_parameter(model, [&](const std::string& name, const auto& p) {
    if (p.grad()) gradients[name] = p.grad().to_vector();
  });
  return gradients;
}

std::map<std::string, std::vector<float>> train_once(Model& model, const Batch& batch) {
  for_each_parameter(model, [](const std::string&, const auto& p) { p.zero_grad(); });
  model.run_state()->samples = 0;
  model(batch).loss.backward();
  return gradients_of(model);
}

const Batch batch = random_batch({7, 3, 12, 1});

}  // namespace

TEST_CASE("freezing: layers and embeddings") {
  Model full = make_model();
  const auto all = train_once(full, batch);
  CHECK(all.size() == full.parameters().size());
  for (std::int64_t frozen = 0; frozen <= 3; ++frozen) {
    CAPTURE(frozen);
    for (const bool checkpointing : {false, true}) {
      CAPTURE(checkpointing);
      Model model = make_model();
      model.gradient_checkpointing = checkpointing;
      model.freeze_layers(frozen);
      const auto found = train_once(model, batch);
      for (const auto& item : all) {
        const std::string& name = item.first;
        const auto& gradient = item.second;
        CAPTURE(name);
        bool expect = name.find("embeddings") == name.npos;
        for (std::int64_t i = 0; i < frozen; ++i)
          expect = expect && name.find(".layer." + std::to_string(i) + ".") == name.npos;
        REQUIRE(found.contains(name) == expect);
        if (expect) CHECK(found.at(name) == gradient);  // the same bits as without freezing
      }
      // Nothing is recorded below.
      const auto input =
          make_encoder_input(Cpu(), batch, PassRandom::draw(*model.run_state(), batch.size()), true, 0);
      auto x = model.encoder.embeddings(input);
      CHECK(!x.requires_grad());
      for (std::int64_t i = 0; i < 3; ++i) {
        x = run_layers(std::vector{model.encoder.layer[static_cast<std::size_t>(i)]}, x, input.pass, false,
                       checkpointing);
        CHECK(x.requires_grad() == (i >= frozen));
      }
    }
  }
  Model model = make_model();
  CHECK_THROWS_AS(model.freeze_layers(4), ConfigError);
  CHECK_THROWS_AS(model.freeze_layers(-1), ConfigError);
  CHECK_THROWS_AS(model.unfreeze_top_layers(4), ConfigError);
}

TEST_CASE("freezing: a frozen model keeps less") {
  const Batch large = random_batch(std::vector<std::int32_t>(30, 40));
  const auto graph_bytes = [&](std::int64_t frozen) {
    Model model = make_model();
    model.freeze_layers(frozen);
    const auto before = Cpu::memory_stats().current;
    const auto output = model(large);
    return Cpu::memory_stats().current - before;
  };
  graph_bytes(0);
  const auto all = graph_bytes(0), top = graph_bytes(2);
  CHECK(top < all / 2);
  CHECK(graph_bytes(1) < all);
}

TEST_CASE("freezing: the topmost layers train again, one after the other") {
  Model model = make_model();
  model.freeze("*");
  CHECK(!model(batch).loss.requires_grad());
  model.unfreeze("classifier.*");
  for (std::int64_t count = 0; count <= 3; ++count) {
    model.unfreeze_top_layers(count);
    const auto found = train_once(model, batch);
    for (std::int64_t i = 0; i < 3; ++i)
      CHECK(found.contains("bert.encoder.layer." + std::to_string(i) + ".output.dense.weight") ==
            (i >= 3 - count));
    CHECK(found.contains("classifier.weight"));
    CHECK(!found.contains("bert.pooler.dense.weight"));
    CHECK(!found.contains("bert.embeddings.word_embeddings.weight"));
  }
  model.unfreeze_top_layers(1);
  CHECK(!train_once(model, batch).contains("bert.encoder.layer.1.output.dense.weight"));
}

TEST_CASE("freezing: patterns, fused parameters, and an optimizer that leaves them alone") {
  Model full = make_model(), model = make_model();
  const auto all = train_once(full, batch);
  CHECK(model.freeze("*.query.*") == 6);
  CHECK(model.freeze("bert.encoder.layer.1.attention.output.*") == 4);
  CHECK_THROWS_AS(model.freeze("*.qurey.*"), ConfigError);
  const auto found = train_once(model, batch);
  const auto frozen = [](const std::string& name) {
    return name.find(".query.") != name.npos || name.find("layer.1.attention.output") != name.npos;
  };
  for (const auto& item : all) {
    const std::string& name = item.first;
    const auto& gradient = item.second;
    CAPTURE(name);
    REQUIRE(found.contains(name) == !frozen(name));
    if (!frozen(name)) CHECK(found.at(name) == gradient);
  }

  std::map<std::string, std::vector<float>> before;
  for_each_parameter(model,
                     [&](const std::string& name, const auto& p) { before[name] = p.value().to_vector(); });
  AdamW optimizer(model.parameters(), {.lr = 1e-2});
  train_once(model, batch);
  optimizer.step();
  for_each_parameter(model, [&](const std::string& name, const auto& p) {
    CAPTURE(name);
    CHECK((p.value().to_vector() == before[name]) == frozen(name));
  });
  model.unfreeze("*.query.*");
  CHECK(train_once(model, batch).contains("bert.encoder.layer.0.attention.self.query.weight"));
  CHECK_THROWS_AS(optimizer.step(), GraphError);  // what trains has changed
}

TEST_CASE("freezing: in bfloat16 a frozen parameter has no master, and gets one back") {
  using Half = BertForSequenceClassification<bfloat16, Cpu>;
  Half model = Half::from_config(small_config());
  const auto weight = [&] { return model.encoder.embeddings.word_embeddings.weight; };
  REQUIRE(weight().master());
  const auto before = weight().value().to_vector();
  model.freeze("*word_embeddings*");
  CHECK(!weight().master());
  model(batch).loss.backward();
  CHECK(!weight().grad());
  CHECK(model.head.classifier.weight.grad());
  model.unfreeze("*word_embeddings*");
  const auto master = weight().master().to_vector();
  for (std::size_t i = 0; i < before.size(); ++i) REQUIRE(master[i] == float(before[i]));
  model(batch).loss.backward();
  CHECK(weight().grad());
}
