// attune's side of decoder.py: training steps and greedy decoding of causal language models, on random
// tokens.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/generation/generate.hpp>
#include <attune/models/decoders.hpp>
#include <attune/peft/lora.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "step_timer.hpp"

namespace {

struct Options {
  std::string work = "lora", model, precision = "bf16", device = "cpu";
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

template <class B, class F>
void measure(const Options& options, const B& device, const F& once) {
  const auto times = attune::bench::time_steps(device, options.warmup, options.iterations, once);
  std::printf(
      "{\"work\": \"%s\", \"precision\": \"%s\", \"quantized\": %s, \"batch\": %lld, \"length\": %lld, "
      "\"threads\": %d, \"on\": \"%s\", \"median_ms\": %.2f, \"min_ms\": %.2f, \"processor_ms\": %.2f, "
      "\"tensors_peak_mb\": %.0f}\n",
      options.work.c_str(), options.precision.c_str(), options.quantized ? "true" : "false",
      static_cast<long long>(options.batch), static_cast<long long>(options.length), attune::num_threads(),
      attune::bench::where(device).c_str(), times.median, times.min, times.processor,
      static_cast<double>(device.memory_stats().peak) / 1e6);
}

template <class Model, class B>
void train(const Options& options, Model& model, const B& device) {
  model.train();
  attune::AdamW optimizer(model.parameters(), {.lr = 2e-5});
  const attune::Batch batch = make_batch(options.batch, options.length);
  device.reset_peak_memory();
  measure(options, device, [&] {
    optimizer.zero_grad();
    model(batch).loss.backward();
    if (options.clip > 0.0) optimizer.clip_grad_norm(options.clip);
    optimizer.step();
  });
}

/// The weights of the directory or file; random ones where a directory holds a configuration alone.
template <class Llama, class B>
Llama load(const Options& options, const B& device) {
  const std::filesystem::path path(options.model);
  if (std::filesystem::is_directory(path) && !std::filesystem::exists(path / "model.safetensors"))
    return Llama::from_config(attune::LlamaConfig::from_pretrained(options.model), device);
  return Llama::from_pretrained(options.model, {.frozen = true, .quantized = options.quantized}, device);
}

template <class T, class B>
void run(const Options& options, const B& device) {
  using Llama = attune::LlamaForCausalLM<T, B>;
  if (options.work == "full") {
    auto model = attune::Gpt2ForCausalLM<T, B>::from_config(attune::Gpt2Config(), device);
    return train(options, model, device);
  }
  Llama model = load<Llama>(options, device);
  if (options.work == "lora") {
    attune::LoraConfig config;
    config.r = options.rank;
    config.lora_alpha = 2.0 * static_cast<double>(options.rank);
    config.target_modules = options.targets;
    const attune::LoraAdapter<Llama> lora(model, config);
    return train(options, model, device);
  }
  const attune::Batch prompt = make_batch(1, options.length);
  measure(options, device, [&] {
    attune::generate(model, {prompt.input_ids},
                     {.max_new_tokens = options.new_tokens, .eos_token_ids = std::vector<std::int32_t>()});
  });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Times training steps and greedy decoding of causal language models, as decoder.py does.");
  Options options;
  app.add_option(
         "--work", options.work,
         "lora: steps of an adapter on --model; full: steps of all of GPT-2 124M; decode: greedy text")
      ->check(CLI::IsMember({"lora", "full", "decode"}));
  app.add_option(
      "--model", options.model,
      "A Llama's GGUF file or directory, where config.json alone stands for random weights; full does "
      "without");
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_flag("--quantized", options.quantized, "Keep the GGUF's blocks");
  app.add_option("--targets", options.targets, "The adapted layers, or all-linear");
  app.add_option("--rank", options.rank);
  app.add_option("--batch", options.batch);
  app.add_option("--length", options.length, "Tokens of a sequence, or of the prompt");
  app.add_option("--new-tokens", options.new_tokens);
  app.add_option("--clip", options.clip, "0: no clipping");
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", options.threads);
  app.add_option("--warmup", options.warmup)->check(CLI::NonNegativeNumber);
  app.add_option("--iterations", options.iterations)->check(CLI::PositiveNumber);
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
    std::fprintf(stderr, "decoder: %s\n", error.what());
    return 1;
  }
  return 0;
}
