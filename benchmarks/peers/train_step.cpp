// attune's side of train_step.py: the same steps on the same shapes, with random weights and tokens.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "../random_batch.hpp"
#include "step_timer.hpp"

namespace {

using attune::bench::config_of;
using attune::bench::make_batch;

struct Options {
  std::string shape = "minilm", precision = "fp32", device = "cpu";
  std::vector<std::int64_t> batch{16}, length{128};
  double clip = 1.0, ragged = 0.0;
  int threads = 0, warmup = 3, iterations = 10;
  bool inference = false;
};

template <class T, class B>
void run(const Options& options, const B& device) {
  using Model = attune::BertForSequenceClassification<T, B>;
  Model model = Model::from_config(config_of(options.shape), device);
  options.inference ? model.eval() : model.train();
  std::optional<attune::AdamW<B>> optimizer;
  if (!options.inference) optimizer.emplace(model.parameters(), attune::AdamWOptions{.lr = 2e-5});
  for (const std::int64_t count : options.batch)
    for (const std::int64_t length : options.length) {
      attune::Batch batch = make_batch(count, length, options.ragged);
      if (options.inference) batch.labels.clear();
      const auto times = attune::bench::time_steps(device, options.warmup, options.iterations, [&] {
        if (options.inference) {
          const attune::NoGradGuard no_grad;
          model(batch);
        } else {
          optimizer->zero_grad();
          model(batch).loss.backward();
          if (options.clip > 0.0) optimizer->clip_grad_norm(options.clip);
          optimizer->step();
        }
      });
      std::printf(
          "{\"shape\": \"%s\", \"batch\": %lld, \"length\": %lld, \"precision\": \"%s\", \"threads\": %d, "
          "\"on\": \"%s\", \"median_ms\": %.3f, \"min_ms\": %.3f, \"max_ms\": %.3f, \"processor_ms\": %.3f, "
          "\"tokens_per_second\": %.0f, \"peak_mb\": %.0f}\n",
          options.shape.c_str(), static_cast<long long>(count), static_cast<long long>(length),
          options.precision.c_str(), attune::num_threads(), attune::bench::where(device).c_str(),
          times.median, times.min, times.max, times.processor,
          static_cast<double>(batch.tokens()) / times.median * 1e3,
          static_cast<double>(device.memory_stats().peak) / 1e6);
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
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", options.threads);
  app.add_option("--warmup", options.warmup)->check(CLI::NonNegativeNumber);
  app.add_option("--iterations", options.iterations)->check(CLI::PositiveNumber);
  app.add_flag("--inference", options.inference, "Forward alone, without dropout");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.threads > 0) attune::set_num_threads(options.threads);
    attune::with_device(options.device, [&](auto device) {
      if (options.precision == "bf16")
        run<attune::bfloat16>(options, device);
      else
        run<float>(options, device);
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_step: %s\n", error.what());
    return 1;
  }
  return 0;
}
