// The forecast of memory against what a training step takes.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

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

template <class T>
double forecast_over_peak(std::int64_t sequences, std::int32_t length) {
  auto model = BertForSequenceClassification<T, Cpu>::from_config(mini_lm());
  const Batch batch = make_batch(sequences, length, 2);
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
  CHECK(forecast_over_peak<float>(16, 64) == doctest::Approx(1.0).epsilon(0.15));
  CHECK(forecast_over_peak<float>(4, 24) == doctest::Approx(1.0).epsilon(0.15));
  CHECK(forecast_over_peak<bfloat16>(16, 64) == doctest::Approx(1.0).epsilon(0.15));
}
