// attune's side of train_step.py: the same steps on the same shapes, with random weights and tokens.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/backend/cpu/isa.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "../random_batch.hpp"

namespace {

using attune::bench::config_of;
using attune::bench::make_batch;

struct Options {
  std::string shape = "minilm", precision = "fp32";
  std::vector<std::int64_t> batch{16}, length{128};
  double clip = 1.0, ragged = 0.0;
  int threads = 0, warmup = 3, iterations = 10;
  bool inference = false;
};

template <class T>
void run(const Options& options) {
  using Model = attune::BertForSequenceClassification<T, attune::Cpu>;
  Model model = Model::from_config(config_of(options.shape));
  options.inference ? model.eval() : model.train();
  std::optional<attune::AdamW<attune::Cpu>> optimizer;
  if (!options.inference) optimizer.emplace(model.parameters(), attune::AdamWOptions{.lr = 2e-5});
  for (const std::int64_t count : options.batch)
    for (const std::int64_t length : options.length) {
      attune::Batch batch = make_batch(count, length, options.ragged);
      if (options.inference) batch.labels.clear();
      std::vector<double> times, processor_times;
      for (int iteration = 0; iteration < options.warmup + options.iterations; ++iteration) {
        const auto begin = std::chrono::steady_clock::now();
        const std::clock_t processor_begin = std::clock();
        if (options.inference) {
          const attune::NoGradGuard no_grad;
          model(batch);
        } else {
          optimizer->zero_grad();
          model(batch).loss.backward();
          if (options.clip > 0.0) optimizer->clip_grad_norm(options.clip);
          optimizer->step();
        }
        const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
        if (iteration < options.warmup) continue;
        times.push_back(taken.count());
        processor_times.push_back(1e3 * static_cast<double>(std::clock() - processor_begin) / CLOCKS_PER_SEC);
      }
      std::sort(times.begin(), times.end());
      std::sort(processor_times.begin(), processor_times.end());
      const double median = times[times.size() / 2];
      const attune::MemoryStats memory = attune::cpu::host_memory().stats();
      std::printf(
          "{\"shape\": \"%s\", \"batch\": %lld, \"length\": %lld, \"precision\": \"%s\", \"threads\": %d, "
          "\"isa\": "
          "\"%s\", \"median_ms\": %.2f, \"min_ms\": %.2f, \"max_ms\": %.2f, \"processor_ms\": %.2f, "
          "\"tokens_per_second\": %.0f, "
          "\"peak_mb\": %.0f}\n",
          options.shape.c_str(), static_cast<long long>(count), static_cast<long long>(length),
          options.precision.c_str(), attune::num_threads(),
          std::string(attune::cpu::name_of(attune::cpu::active_isa())).c_str(), median, times.front(),
          times.back(), processor_times[processor_times.size() / 2],
          static_cast<double>(batch.tokens()) / median * 1e3, static_cast<double>(memory.peak) / 1e6);
      std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times one training step (or forward pass) on random batches, as train_step.py does.");
  Options options;
  app.add_option("--shape", options.shape)->check(CLI::IsMember({"minilm", "bert-base"}));
  app.add_option("--batch", options.batch);
  app.add_option("--length", options.length);
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--ragged", options.ragged, "Spread of the lengths, 0 .. 1 of the length")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--clip", options.clip, "0: no clipping");
  app.add_option("--threads", options.threads);
  app.add_option("--warmup", options.warmup)->check(CLI::NonNegativeNumber);
  app.add_option("--iterations", options.iterations)->check(CLI::PositiveNumber);
  app.add_flag("--inference", options.inference, "Forward alone, without dropout");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.threads > 0) attune::set_num_threads(options.threads);
    if (options.precision == "bf16")
      run<attune::bfloat16>(options);
    else
      run<float>(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_step: %s\n", error.what());
    return 1;
  }
  return 0;
}
