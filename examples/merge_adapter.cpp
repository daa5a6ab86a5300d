// Adds a LoRA adapter to the weights of its model and writes an ordinary model directory.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/models/auto_decoder.hpp>
#include <attune/peft/lora.hpp>

#include <cstdio>
#include <filesystem>
#include <string>

namespace {

/// Tokenizer and generation settings go along unchanged; an adapter's own tokenizer comes before the model's.
void copy_companions(const std::string& from, const std::string& output) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(from)) return;
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
        "vocab.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja", "generation_config.json"})
    if (fs::exists(fs::path(from) / name) && !fs::exists(fs::path(output) / name))
      fs::copy_file(fs::path(from) / name, fs::path(output) / name);
}

template <class Model, class B>
void merge(const std::string& base, const std::string& adapter, const std::string& output, B device) {
  auto model = Model::from_pretrained(base, {.frozen = true}, device);
  auto lora = attune::LoraAdapter<Model>::from_pretrained(model, adapter);
  lora.merge();
  model.save_pretrained(output);
  copy_companions(adapter, output);
  copy_companions(base, output);
  std::printf("merged %zu layers into %s\n", lora.modules().size(), output.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Merges a LoRA adapter into its model.");
  std::string base, adapter, output;
  app.add_option("--model", base, "Model directory or GGUF file (default: what the adapter names)");
  app.add_option("--adapter", adapter, "Adapter directory, as attune or PEFT writes it")->required();
  app.add_option("--output", output, "Directory for the merged model")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    const auto config = attune::LoraConfig::from_pretrained(adapter);
    if (base.empty()) base = config.base_model_name_or_path;
    if (base.empty())
      throw attune::ConfigError(adapter + "/adapter_config.json names no model; give it with --model");
    attune::with_device("auto", [&]<class B>(B device) {
      if (config.task_type == "SEQ_CLS")
        attune::with_decoder_family(base, [&]<class Family>(Family) {
          merge<attune::DecoderForSequenceClassification<Family, float, B>>(base, adapter, output, device);
        });
      else
        attune::with_decoder_family(base, [&]<class Family>(Family) {
          merge<attune::DecoderForCausalLM<Family, float, B>>(base, adapter, output, device);
        });
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "merge_adapter: %s\n", error.what());
    return 1;
  }
  return 0;
}
