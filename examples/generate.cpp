// Continues a text with a causal language model, or answers a message, printing tokens as they come.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/generation/generate.hpp>
#include <attune/models/auto_decoder.hpp>
#include <attune/peft/lora.hpp>
#include <attune/text/chat_template.hpp>
#include <attune/text/tokenizer.hpp>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace {

struct Options {
  std::string model, adapter, prompt, precision = "fp32", device = "auto";
  bool chat = false;
  attune::GenerationOptions generation{};
};

/// The prompt's tokens: as they are, or as a user's message in the model's chat template.
std::vector<std::int32_t> encode_prompt(const Options& options, const attune::Tokenizer& tokenizer) {
  if (!options.chat) return tokenizer.encode(options.prompt).ids;
  if (tokenizer.chat_template().empty()) throw attune::ConfigError("--chat: the model has no chat template");
  attune::ChatOptions chat{.add_generation_prompt = true};
  for (const char* name : {"bos_token", "eos_token"})
    chat.variables.emplace_back(name, tokenizer.special_token(name));
  const attune::ChatMessage message{"user", options.prompt};
  const auto rendered = attune::ChatTemplate(tokenizer.chat_template()).render(std::span(&message, 1), chat);
  return tokenizer.encode(rendered.text, {.add_special_tokens = false}).ids;
}

template <class Model, class B>
void generate(const Options& options, B device) {
  const auto tokenizer = attune::Tokenizer::from_pretrained(options.model);
  auto model = Model::from_pretrained(options.model, {.frozen = true}, device);
  std::optional<attune::LoraAdapter<Model>> adapter;
  if (!options.adapter.empty()) {
    adapter.emplace(attune::LoraAdapter<Model>::from_pretrained(model, options.adapter));
    adapter->merge();
  }

  const std::vector<std::int32_t> prompt = encode_prompt(options, tokenizer);
  attune::GenerationOptions generation = options.generation;
  generation.decode = [&](std::span<const std::int32_t> ids) { return tokenizer.decode(ids); };
  attune::TokenStream stream(tokenizer);
  const auto print = [](const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  if (!options.chat)
    for (const std::int32_t token : prompt) print(stream.push(token));
  if (generation.num_beams == 1)
    generation.on_token = [&](std::int64_t, std::int32_t token) {
      print(stream.push(token));
      return true;
    };
  const auto texts = attune::generate(model, {prompt}, generation);
  if (generation.num_beams > 1)
    for (const std::int32_t token : texts[0].tokens) print(stream.push(token));
  print(stream.finish() + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Continues a text with a causal language model (Llama, Mistral, Qwen2, Qwen3, GPT-2).");
  Options options;
  attune::GenerationOptions& generation = options.generation;
  app.add_option("--model", options.model, "Hugging Face model directory, or a .gguf file")->required();
  app.add_option("--adapter", options.adapter, "LoRA adapter directory");
  app.add_option("--prompt", options.prompt, "What the text begins with")->required();
  app.add_flag("--chat", options.chat, "The prompt is a user's message, to be answered");
  app.add_option("--max-new-tokens", generation.max_new_tokens)->capture_default_str();
  app.add_flag("--sample", generation.do_sample, "Draw tokens instead of taking the likeliest one");
  app.add_option("--temperature", generation.temperature)->capture_default_str();
  app.add_option("--top-k", generation.top_k, "Draw from so many tokens (0: all)")->capture_default_str();
  app.add_option("--top-p", generation.top_p, "Draw from the tokens that together have this probability")
      ->capture_default_str();
  app.add_option("--min-p", generation.min_p,
                 "Draw from tokens with this share of the likeliest one's probability")
      ->capture_default_str();
  app.add_option("--repetition-penalty", generation.repetition_penalty)->capture_default_str();
  app.add_option("--num-beams", generation.num_beams, "More than 1: beam search")->capture_default_str();
  app.add_option("--stop", generation.stop_strings, "End the text after this; may be given several times");
  app.add_option("--seed", generation.seed, "Of sampling")->capture_default_str();
  app.add_option("--precision", options.precision, "What is computed in")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--device", options.device)
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  CLI11_PARSE(app, argc, argv);
  try {
    attune::with_device(options.device, [&]<class B>(B device) {
      attune::with_decoder_family(options.model, [&]<class Family>(Family) {
        if (options.precision == "bf16")
          generate<attune::DecoderForCausalLM<Family, attune::bfloat16, B>>(options, device);
        else
          generate<attune::DecoderForCausalLM<Family, float, B>>(options, device);
      });
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generate: %s\n", error.what());
    return 1;
  }
  return 0;
}
