// Whole training steps of MiniLM (forward, backward, clipping, AdamW) on random tokens: over numbers of
// tokens, lengths, batches, threads, and raggedness at an equal number of tokens. `GFLOPS` is what the
// layers' products and attention ask for on real tokens (6 for each weight and token, the last layer's
// feed-forward on all of them), and `peak` its share of the arithmetic peak, measured before and after each
// step; `us_per_token` is the median.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <attune/backend/cpu/cpu.hpp>
#include <attune/models/bert.hpp>
#include <attune/optim/adamw.hpp>

#include "peak.hpp"
#include "random_batch.hpp"

namespace {

using namespace attune;

struct Work {
  std::int64_t batch, length;
  double ragged = 0.0;
  int threads = 0;  // 0: all
};

/// Floating-point operations of a step: products of the layers, and attention's 2 products forward and 4
/// back.
double operations(const BertConfig& c, const Batch& batch) {
  const double features = static_cast<double>(c.hidden_size),
               inner = static_cast<double>(c.intermediate_size);
  const double layers = static_cast<double>(c.num_hidden_layers);
  double squares = 0;
  for (std::int64_t b = 0; b < batch.size(); ++b)
    squares += static_cast<double>(batch.segments.length(b)) * static_cast<double>(batch.segments.length(b));
  const double weights = layers * (4 * features * features + 2 * features * inner);
  return 6 * weights * static_cast<double>(batch.tokens()) + layers * 12 * squares * features;
}

/// A model is made once and kept: its arrays are the same for all batches.
template <class T>
struct Trained {
  BertForSequenceClassification<T, Cpu> model =
      BertForSequenceClassification<T, Cpu>::from_config(bench::config_of("minilm"));
  AdamW<Cpu> optimizer{model.parameters(), {.lr = 2e-5}};
};

template <class T>
void measure(benchmark::State& state, const Work& work) {
  static const auto trained = std::make_unique<Trained<T>>();
  const int threads = num_threads();
  if (work.threads > 0) set_num_threads(work.threads);
  const Batch batch = bench::make_batch(work.batch, work.length, work.ragged);
  const auto step = [&] {
    trained->optimizer.zero_grad();
    trained->model(batch).loss.backward();
    trained->optimizer.clip_grad_norm(1.0);
    trained->optimizer.step();
  };
  step();
  const double flop = operations(trained->model.config, batch) * 1e-9;
  std::vector<double> times, shares;
  for (auto _ : state) {
    const double before = bench::peak(std::is_same_v<T, bfloat16>);
    const double begin = bench::now();
    step();
    times.push_back(bench::now() - begin);
    state.SetIterationTime(times.back());
    const double after = bench::peak(std::is_same_v<T, bfloat16>);
    if (before + after > 0) shares.push_back(2 * flop / times.back() / (before + after));
  }
  const double seconds = bench::median(times);
  state.counters["GFLOPS"] = flop / seconds;
  state.counters["us_per_token"] = seconds / static_cast<double>(batch.tokens()) * 1e6;
  if (!shares.empty()) state.counters["peak"] = bench::median(shares);
  set_num_threads(threads);
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, Work> all;  // one of each name
  const auto add = [&](const char* series, const Work& work) {
    std::string name =
        std::string(series) + "/" + std::to_string(work.batch) + "x" + std::to_string(work.length);
    if (work.ragged > 0) name += "/ragged:" + std::to_string(static_cast<int>(100 * work.ragged)) + "%";
    if (work.threads > 0) name += "/threads:" + std::to_string(work.threads);
    all.emplace(name, work);
  };
  for (const std::int64_t tokens : {16, 64, 256, 1024, 2048, 4096, 8192})
    add("tokens", tokens < 128 ? Work{1, tokens} : Work{tokens / 128, 128});
  for (const std::int64_t length : {16, 32, 64, 128, 256, 512}) add("length", {2048 / length, length});
  for (const std::int64_t batch : {1, 4, 16, 64}) add("batch", {batch, 32});
  for (const double ragged : {0.0, 0.5, 0.9}) add("ragged", {16, 64, ragged});
  for (int threads = 1; threads <= num_threads(); ++threads) add("threads", {16, 128, 0.0, threads});
  for (const auto& [name, work] : all) {
    const auto register_as = [&, &name = name, &work = work](const std::string& type, auto function) {
      benchmark::RegisterBenchmark((type + "/" + name).c_str(), function, work)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond)
          ->Iterations(5);
    };
    register_as("float", measure<float>);
    register_as("bfloat16", measure<bfloat16>);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("instruction set", std::string(name_of(cpu::active_isa())));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
