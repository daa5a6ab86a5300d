// What a causal language model is trained with: its loss, packing, checkpointing, freezing, saving.
#include "data/character_tokenizer.hpp"
#include "generation/small_decoders.hpp"
#include "small_models.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/data/conversations.hpp>
#include <attune/data/packing.hpp>
#include <attune/formats/checkpoint.hpp>

#include <cmath>
#include <map>
#include <string>
#include <vector>

using namespace attune;
using namespace attune::testing;

namespace {

template <class Model>
std::map<std::string, std::vector<double>> gradients(const Model& model) {
  std::map<std::string, std::vector<double>> result;
  for_each_parameter(model, [&](const std::string& name, const auto& p) {
    if (!p.grad()) return;
    const auto values = p.grad().to_vector();
    result[name].assign(values.begin(), values.end());
  });
  return result;
}

void check_close(const std::map<std::string, std::vector<double>>& a,
                 const std::map<std::string, std::vector<double>>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, values] : a) {
    CAPTURE(name);
    const auto& other = b.at(name);
    REQUIRE(values.size() == other.size());
    double largest = 0.0, difference = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::abs(values[i]));
      difference = std::max(difference, std::abs(values[i] - other[i]));
    }
    CHECK(difference <= tolerance * largest);
  }
}

std::vector<std::vector<std::int32_t>> some_texts() {
  return {random_tokens(7, 1), random_tokens(3, 2), random_tokens(12, 3), random_tokens(1, 4)};
}

/// Loss and gradients of the plain way: all logits, then the loss over the predicting rows.
template <class T, class B, class Config, class Model>
void check_plain_loss(const Config& config, double tolerance) {
  auto model = Model::from_config(config, B());
  model.loss_options.chunk_elements = 50 * 4;  // of 32 rows, the fewest
  Batch batch = text_batch(some_texts());
  batch.labels[2] = batch.labels[9] = ignore_index;
  auto fused = model(batch).loss;
  fused.backward();
  const auto expected = gradients(model);
  for (const auto& parameter : model.parameters()) parameter.state->has_grad = false;

  Batch unlabelled = batch;
  unlabelled.labels.clear();
  const CausalTargets targets = causal_targets(batch, ignore_index);
  auto plain =
      cross_entropy(gather_rows(model(unlabelled).logits, RowIndex<B>(B(), targets.rows)), targets.labels);
  CHECK(static_cast<double>(plain.item()) ==
        doctest::Approx(static_cast<double>(fused.item())).epsilon(tolerance));
  plain.backward();
  check_close(gradients(model), expected, tolerance);
}

}  // namespace

TEST_CASE("causal loss: equals that of whole logits, tied and not") {
  for (const bool tied : {false, true}) {
    LlamaConfig llama = small_llama(3);
    llama.tie_word_embeddings = tied;
    Gpt2Config gpt2 = small_gpt2();
    gpt2.tie_word_embeddings = tied;
    gpt2.resid_pdrop = gpt2.embd_pdrop = gpt2.attn_pdrop = 0.0;
    check_plain_loss<double, Reference, LlamaConfig, LlamaForCausalLM<double, Reference>>(llama, 1e-6);
    check_plain_loss<float, Cpu, LlamaConfig, LlamaForCausalLM<float, Cpu>>(llama, 1e-4);
    check_plain_loss<float, Cpu, Gpt2Config, Gpt2ForCausalLM<float, Cpu>>(gpt2, 1e-4);
    check_plain_loss<bfloat16, Cpu, LlamaConfig, LlamaForCausalLM<bfloat16, Cpu>>(llama, 0.06);
  }
}

TEST_CASE("causal loss: packed texts give the loss and gradients of one by one") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama(4));
  const auto texts = some_texts();
  auto loss = model(text_batch(texts)).loss;
  loss.backward();
  const auto packed = gradients(model);
  for (const auto& parameter : model.parameters()) parameter.state->has_grad = false;
  double sum = 0.0, count = 0.0;
  for (const auto& text : texts) count += static_cast<double>(text.size()) - 1.0;
  for (const auto& text : texts) {
    if (text.size() < 2) continue;
    const double share = (static_cast<double>(text.size()) - 1.0) / count;
    auto own = model(text_batch({text})).loss * static_cast<float>(share);
    sum += own.item();
    own.backward();
  }
  CHECK(sum == doctest::Approx(loss.item()).epsilon(1e-5));
  check_close(gradients(model), packed, 1e-4);
}

TEST_CASE("causal loss: packed conversations give the loss and gradients of one by one") {
  // Of different lengths, with answers that are learned and questions that are not.
  std::vector<Conversation> conversations;
  for (const std::string question :
       {"ab?", "who wrote the three kingdoms?", "x", "how many?", "and then what was it?"})
    for (const std::string answer : {"yes.", "it was long ago."})
      conversations.push_back(
          {TemplateValue::parse(R"([{"role":"user","content":")" + question +
                                    R"("},{"role":"assistant","content":")" + answer + "\"}]",
                                "chat")});
  const attune_test::CharacterTokenizer tokenizer{
      .source =
          "{% for m in messages %}{{ m.role[0] }}:{% if m.role == 'user' %}{{ m.content }}{% else %}"
          "{% generation %}{{ m.content }}${% endgeneration %}{% endif %}{% endfor %}"};
  const auto dataset = make_conversation_dataset(tokenizer, conversations);
  const PackedDataset packed(dataset, 64);
  REQUIRE(packed.size() >= 3);
  REQUIRE(packed.size() <= 7);
  CHECK(packed.trained_tokens() == dataset.trained_tokens());
  LlamaConfig config = small_llama(5);
  config.vocab_size = 128;
  auto model = LlamaForCausalLM<double, Reference>::from_config(config, Reference());
  const double total = static_cast<double>(packed.trained_tokens());
  const auto loss_and_gradients = [&](const auto& data) {
    for (const auto& parameter : model.parameters()) parameter.state->has_grad = false;
    double sum = 0.0;
    for (std::int64_t row = 0; row < data.size(); ++row) {
      const Batch batch = data.batch(std::span(&row, 1));
      const auto trained = causal_targets(batch, ignore_index).labels.size();
      auto loss = model(batch).loss * static_cast<float>(trained);
      sum += loss.item();
      backward(loss, 1.0 / total);
    }
    return std::pair(sum / total, gradients(model));
  };
  const auto [loss, gradient] = loss_and_gradients(dataset);
  const auto [packed_loss, packed_gradient] = loss_and_gradients(packed);
  // The loss divides by the number of tokens in float.
  CHECK(packed_loss == doctest::Approx(loss).epsilon(1e-7));
  check_close(packed_gradient, gradient, 1e-6);
}

TEST_CASE("causal loss: checkpointing recomputes the same, dropout included") {
  Gpt2Config config = small_gpt2();
  config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.2;
  auto model = Gpt2ForCausalLM<float, Cpu>::from_config(config);
  std::map<std::string, std::vector<double>> first;
  for (const bool checkpointed : {false, true}) {
    model.run_state()->samples = 0;
    model.gradient_checkpointing = checkpointed;
    for (const auto& parameter : model.parameters()) parameter.state->has_grad = false;
    auto loss = model(text_batch(some_texts())).loss;
    loss.backward();
    if (!checkpointed)
      first = gradients(model);
    else
      check_close(gradients(model), first, 0.0);
  }
  model.eval();
  CHECK(std::abs(model(text_batch(some_texts())).loss.item() - model(text_batch(some_texts())).loss.item()) ==
        0.0);
}

TEST_CASE("causal loss: what a batch must have") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama());
  Batch batch = text_batch({random_tokens(1, 1), random_tokens(1, 2)});
  CHECK_THROWS_WITH_AS(model(batch), "causal language model: no token of the batch has a label", ConfigError);
  batch.labels.pop_back();
  CHECK_THROWS_AS(model(batch), ShapeError);
  Batch other = text_batch({random_tokens(4, 1)});
  other.labels[2] = 50;
  CHECK_THROWS_AS(model(other), ConfigError);
  CHECK_THROWS_AS(model(Batch{}), ShapeError);
}

TEST_CASE("decoders: freezing, counting, saving and loading") {
  LlamaConfig config = small_llama();
  config.tie_word_embeddings = true;
  auto model = LlamaForCausalLM<float, Cpu>::from_config(config);
  CHECK(model.num_parameters() == 50 * 32 + 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32 + 64));
  model.freeze_layers(1);
  for (const auto& parameter : model.parameters())
    CHECK(parameter.trainable() ==
          (parameter.name.starts_with("model.layers.1.") || parameter.name == "model.norm.weight"));
  const TemporaryDirectory directory;
  model.save_pretrained(directory.path());
  auto again = LlamaForCausalLM<float, Cpu>::from_pretrained(directory.path());
  CHECK(again.load_report().complete());
  const Batch batch = text_batch(some_texts(), false);
  CHECK(again(batch).logits.to_vector() == model(batch).logits.to_vector());
  auto bare = LlamaModel<float, Cpu>::from_pretrained(directory.path());
  CHECK(bare(batch).last_hidden_state.shape() == Shape{23, 32});

  auto classifier =
      LlamaForSequenceClassification<float, Cpu>::from_pretrained(directory.path(), {.num_labels = 3});
  CHECK(classifier.load_report().missing == std::vector<std::string>{"score.weight"});
  CHECK(classifier(batch).logits.shape() == Shape{4, 3});

  auto frozen = LlamaForCausalLM<bfloat16, Cpu>::from_pretrained(directory.path(), {.frozen = true});
  CHECK(frozen.num_parameters(true) == 0);
  for (const auto& parameter : frozen.parameters()) CHECK(!parameter.state->master);

  auto gpt2 = Gpt2ForCausalLM<float, Cpu>::from_config(small_gpt2());
  gpt2.save_pretrained(directory.path());
  const CheckpointReader file = CheckpointReader::open(directory.path());
  CHECK(file.find("transformer.h.0.attn.c_attn.weight")->shape == Shape{32, 96});
  CHECK(!file.find("lm_head.weight"));
  auto same = Gpt2ForCausalLM<float, Cpu>::from_pretrained(directory.path());
  same.eval();
  gpt2.eval();
  CHECK(same(batch).logits.to_vector() == gpt2(batch).logits.to_vector());
}
