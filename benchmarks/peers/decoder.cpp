// attune's side of decoder.py: training steps and greedy decoding of causal language models, on random
// tokens.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/backend/cpu/isa.hpp>
#include <attune/generation/generate.hpp>
#include <attune/models/decoders.hpp>
#include <attune/peft/lora.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace {

struct Options {
  std::string work = "lora", model, precision = "bf16";
  std::vector<std::string> targets{"q_proj", "v_proj"};
  std::int64_t batch = 4, length = 256, rank = 8, new_tokens = 64;
  double clip = 1.0;
  int threads = 0, warmup = 1, iterations = 5;
  bool quantized = false;
};

attune::Batch make_batch(std::int64_t batch, std::int64_t length) {
  attune::Batch result;
  attune::RandomStream random(0);
  for (std::int64_t b = 0; b < batch; ++b) {
    result.segments.append(static_cast<std::int32_t>(length));
    for (std::int64_t i = 0; i < length; ++i)
      result.input_ids.push_back(1000 + static_cast<std::int32_t>(random.below(29000)));
  }
  result.labels = result.input_ids;
  return result;
}

void measure(const Options& options, const std::function<void()>& once) {
  std::vector<double> times, processor_times;
  for (int iteration = 0; iteration < options.warmup + options.iterations; ++iteration) {
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t processor_begin = std::clock();
    once();
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    if (iteration < options.warmup) continue;
    times.push_back(taken.count());
    processor_times.push_back(1e3 * static_cast<double>(std::clock() - processor_begin) / CLOCKS_PER_SEC);
  }
  std::sort(times.begin(), times.end());
  std::sort(processor_times.begin(), processor_times.end());
  std::printf(
      "{\"work\": \"%s\", \"precision\": \"%s\", \"quantized\": %s, \"batch\": %lld, \"length\": %lld, "
      "\"threads\": %d, \"isa\": \"%s\", \"median_ms\": %.2f, \"min_ms\": %.2f, \"processor_ms\": %.2f, "
      "\"tensors_peak_mb\": %.0f}\n",
      options.work.c_str(), options.precision.c_str(), options.quantized ? "true" : "false",
      static_cast<long long>(options.batch), static_cast<long long>(options.length), attune::num_threads(),
      std::string(attune::cpu::name_of(attune::cpu::active_isa())).c_str(), times[times.size() / 2],
      times.front(), processor_times[processor_times.size() / 2],
      static_cast<double>(attune::Cpu::memory_stats().peak) / 1e6);
}

template <class Model>
void train(const Options& options, Model& model) {
  model.train();
  attune::AdamW optimizer(model.parameters(), {.lr = 2e-5});
  const attune::Batch batch = make_batch(options.batch, options.length);
  attune::Cpu::reset_peak_memory();
  measure(options, [&] {
    optimizer.zero_grad();
    model(batch).loss.backward();
    if (options.clip > 0.0) optimizer.clip_grad_norm(options.clip);
    optimizer.step();
  });
}

template <class T>
void run(const Options& options) {
  using Llama = attune::LlamaForCausalLM<T, attune::Cpu>;
  if (options.work == "full") {
    auto model = attune::Gpt2ForCausalLM<T, attune::Cpu>::from_config(attune::Gpt2Config());
    return train(options, model);
  }
  Llama model = Llama::from_pretrained(options.model, {.frozen = true, .quantized = options.quantized});
  if (options.work == "lora") {
    attune::LoraConfig config;
    config.r = options.rank;
    config.lora_alpha = 2.0 * static_cast<double>(options.rank);
    config.target_modules = options.targets;
    const attune::LoraAdapter<Llama> lora(model, config);
    return train(options, model);
  }
  const attune::Batch prompt = make_batch(1, options.length);
  const auto decode = [&](std::int64_t tokens) {
    attune::generate(model, {prompt.input_ids},
                     {.max_new_tokens = tokens, .eos_token_ids = std::vector<std::int32_t>()});
  };
  measure(options, [&] { decode(options.new_tokens); });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times training steps and greedy decoding of causal language models, as decoder.py does.");
  Options options;
  app.add_option(
         "--work", options.work,
         "lora: steps of an adapter on --model; full: steps of all of GPT-2 124M; decode: greedy text")
      ->check(CLI::IsMember({"lora", "full", "decode"}));
  app.add_option("--model", options.model, "A Llama's directory or GGUF file; full does without");
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_flag("--quantized", options.quantized, "Keep the GGUF's blocks");
  app.add_option("--targets", options.targets, "The adapted layers, or all-linear");
  app.add_option("--rank", options.rank);
  app.add_option("--batch", options.batch);
  app.add_option("--length", options.length, "Tokens of a sequence, or of the prompt");
  app.add_option("--new-tokens", options.new_tokens);
  app.add_option("--clip", options.clip, "0: no clipping");
  app.add_option("--threads", options.threads);
  app.add_option("--warmup", options.warmup)->check(CLI::NonNegativeNumber);
  app.add_option("--iterations", options.iterations)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.threads > 0) attune::set_num_threads(options.threads);
    if (options.precision == "bf16")
      run<attune::bfloat16>(options);
    else
      run<float>(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "decoder: %s\n", error.what());
    return 1;
  }
  return 0;
}
