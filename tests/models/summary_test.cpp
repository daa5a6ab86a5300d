// The forecast of memory against what a training step takes.
#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/models/decoders.hpp>

#include <string>
#include <vector>

using namespace attune;

namespace {

/// all-MiniLM-L6-v2's sizes.
BertConfig mini_lm() {
  BertConfig config;
  config.hidden_size = 384;
  config.num_hidden_layers = 6;
  config.num_attention_heads = 12;
  config.intermediate_size = 1536;
  return config;
}

Batch make_batch(std::int64_t sequences, std::int32_t length, std::int32_t labels) {
  Batch batch;
  for (std::int64_t b = 0; b < sequences; ++b) {
    batch.segments.append(length);
    for (std::int32_t i = 0; i < length; ++i)
      batch.input_ids.push_back(1000 + static_cast<std::int32_t>(b) * 7 + i);
    batch.labels.push_back(static_cast<std::int32_t>(b) % labels);
  }
  return batch;
}

template <class Model>
double forecast_over_peak(Model model, const Batch& batch) {
  const ModelSummary summary = summarize(model, batch.tokens(), batch.size());
  AdamW optimizer(model.parameters(), {.lr = 1e-5});
  for (int step = 0; step < 2; ++step) {
    if (step == 1) Cpu::reset_peak_memory();
    optimizer.zero_grad();
    model(batch).loss.backward();
    optimizer.step();
  }
  const auto peak = static_cast<double>(Cpu::memory_stats().peak);
  MESSAGE(std::string(summary.to_string()) << "  measured: " << peak / (1 << 20) << " MiB");
  return static_cast<double>(summary.total_bytes()) / peak;
}

template <class T>
double of_mini_lm(std::int64_t sequences, std::int32_t length) {
  return forecast_over_peak(BertForSequenceClassification<T, Cpu>::from_config(mini_lm()),
                            make_batch(sequences, length, 2));
}

template <class T>
double of_gpt2(std::int64_t sequences, std::int32_t length) {
  Gpt2Config config;
  config.n_embd = config.n_positions = 256;
  config.n_head = 4;
  config.n_layer = 4;
  config.n_inner = 1024;
  config.vocab_size = 2000;
  Batch batch = make_batch(sequences, length, 2);
  batch.labels = batch.input_ids;
  return forecast_over_peak(Gpt2ForCausalLM<T, Cpu>::from_config(config), batch);
}

}  // namespace

TEST_CASE("summary: counts and parts") {
  const BertForSequenceClassification<float, Cpu> model(mini_lm(), Cpu());
  const ModelSummary summary = summarize(model, 100, 4);
  CHECK(summary.parameters == 22'713'986);  // the number that transformers gives for two labels
  CHECK(summary.trainable == summary.parameters);
  CHECK(summary.parts.front().name == "bert.embeddings");
  CHECK(summary.parts.back().name == "classifier");
}

TEST_CASE("summary: small models are told in KiB, large ones in MiB") {
  ModelSummary summary;
  summary.weight_bytes = 300 << 10;
  summary.activation_bytes = 5 << 10;
  CHECK(summary.to_string().find("305 KiB (weights 300, gradients 0, optimizer 0, activations 5)") !=
        std::string::npos);
  summary.weight_bytes = std::int64_t{300} << 20;
  CHECK(summary.to_string().find("300 MiB (weights 300, gradients 0, optimizer 0, activations 0)") !=
        std::string::npos);
}

TEST_CASE("summary: the forecast is within 15 % of the peak of a step") {
  CHECK(of_mini_lm<float>(16, 64) == doctest::Approx(1.0).epsilon(0.15));
  CHECK(of_mini_lm<float>(4, 24) == doctest::Approx(1.0).epsilon(0.15));
  CHECK(of_mini_lm<bfloat16>(16, 64) == doctest::Approx(1.0).epsilon(0.15));
  CHECK(of_gpt2<float>(16, 64) == doctest::Approx(1.0).epsilon(0.15));
  CHECK(of_gpt2<bfloat16>(16, 64) == doctest::Approx(1.0).epsilon(0.15));
}
