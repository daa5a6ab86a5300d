// Fine-tunes a causal language model on a text cut into blocks or on conversations: all of its weights, or a
// LoRA adapter.
#include "training.hpp"

#include <attune/data/causal_lm.hpp>
#include <attune/data/conversations.hpp>
#include <attune/generation/evaluate.hpp>
#include <attune/models/auto_decoder.hpp>
#include <attune/peft/lora.hpp>
#include <attune/text/tokenizer.hpp>

#include <map>
#include <sstream>

namespace {

using Format = attune::ConversationFormat;
const std::map<std::string, Format> formats{
    {"auto", Format::automatic}, {"messages", Format::messages},     {"sharegpt", Format::sharegpt},
    {"alpaca", Format::alpaca},  {"completion", Format::completion}, {"dify", Format::dify}};

struct Options : TrainingOptions {
  std::string lora, format = "text";
  bool quantized = false;
};

attune::CausalLmDataset read_data(const Options& options, const attune::Tokenizer& tokenizer,
                                  const std::string& file) {
  if (options.format == "text")
    return attune::CausalLmDataset::from_text_file(tokenizer, file, {.block_size = options.max_length});
  const auto conversations = attune::read_conversations(file, {.format = formats.at(options.format)});
  return attune::make_conversation_dataset(tokenizer, conversations, {.max_length = options.max_length});
}

/// "r=8,alpha=16,target=q_proj,v_proj" and "dropout=0.05", "dora=1", "rslora=1".
attune::LoraConfig parse_lora(const std::string& text, const std::string& base) {
  attune::LoraConfig config;
  config.task_type = "CAUSAL_LM";
  config.base_model_name_or_path = base;
  std::stringstream parts(text);
  bool has_alpha = false;
  std::string key;
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    if (equals != std::string::npos) key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? part : part.substr(equals + 1);
    try {
      if (key == "r")
        config.r = std::stoll(value);
      else if (key == "alpha")
        config.lora_alpha = std::stod(value), has_alpha = true;
      else if (key == "dropout")
        config.lora_dropout = std::stod(value);
      else if (key == "dora")
        config.use_dora = std::stoi(value) != 0;
      else if (key == "rslora")
        config.use_rslora = std::stoi(value) != 0;
      else if (key == "target")
        config.target_modules.push_back(value);
      else
        throw attune::ConfigError("--lora: expected r, alpha, dropout, dora, rslora or target, found '" +
                                  key + "'");
    } catch (const std::logic_error&) {
      throw attune::ConfigError("--lora: " + key + ": expected a number, found '" + value + "'");
    }
  }
  if (!has_alpha) config.lora_alpha = 2.0 * static_cast<double>(config.r);
  if (config.target_modules.empty()) config.target_modules = {"all-linear"};
  return config;
}

template <class Model, class B>
void finetune(const Options& options, B device) {
  const auto tokenizer = attune::Tokenizer::from_pretrained(options.model);
  const attune::CausalLmDataset dataset = read_data(options, tokenizer, options.train);
  std::optional<attune::CausalLmDataset> eval_data;
  if (!options.eval.empty()) eval_data = read_data(options, tokenizer, options.eval);

  const bool adapts = !options.lora.empty();
  auto model = Model::from_pretrained(options.model, {.seed = options.seed, .frozen = adapts, .quantized = options.quantized},
                                      device);
  std::optional<attune::LoraAdapter<Model>> lora;
  if (adapts) lora.emplace(model, parse_lora(options.lora, options.model), "default", options.seed);
  if (!adapts && options.freeze_layers > 0) model.freeze_layers(options.freeze_layers);

  attune::DataLoader loader(dataset, attune::RandomSampler(dataset.size(), options.seed),
                            {.batch_size = options.batch_size});
  TrainingRun<B> run(options, model, loader);
  attune::CausalLMScores scores;
  const auto evaluate = [&] {
    if (!eval_data) return;
    scores = {};
    attune::DataLoader batches(*eval_data, attune::SequentialSampler(eval_data->size()), {.batch_size = 4});
    for (const auto& batch : batches) scores += attune::evaluate_causal_lm(model, batch);
    run.note({{"loss", scores.loss()}, {"perplexity", scores.perplexity()}, {"accuracy", scores.accuracy()}});
  };
  evaluate();
  train(
      run, model, loader, options.accumulate, [&](const attune::Batch& batch) { return model(batch).loss; },
      evaluate);

  if (lora)
    lora->save_pretrained(options.output);
  else
    model.save_pretrained(options.output);
  tokenizer.save_pretrained(options.output);
  if (eval_data)
    std::printf("eval loss=%.4f perplexity=%.4f accuracy=%.4f\n", scores.loss(), scores.perplexity(),
                scores.accuracy());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes a causal language model on a text or on conversations.");
  Options options;
  options.max_length = 256;
  options.batch_size = 4;
  options.add_to(app);
  app.add_option(
         "--format", options.format,
         "text: a plain text, cut into blocks. auto: conversations, recognised by their fields; or by name")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "auto", "messages", "sharegpt", "alpaca", "completion", "dify"}));
  app.add_option(
      "--lora", options.lora,
      "Train an adapter alone, such as r=8,alpha=16,target=q_proj,v_proj; also dropout=, dora=1, rslora=1");
  app.add_flag("--quantized", options.quantized,
               "With --lora: keep the linear layers in the blocks of a GGUF file (Q8_0, Q4_0, Q4_1)");
  CLI11_PARSE(app, argc, argv);
  return run_example("finetune_causal_lm", [&] {
    with_device_and_precision(options, [&]<class B, class T>(B device, T) {
      attune::with_decoder_family(options.model, [&]<class Family>(Family) {
        finetune<attune::DecoderForCausalLM<Family, T, B>>(options, device);
      });
    });
  });
}
