// attune's side of finetune_sst2.py: the same run with the same options, for accuracies and loss curves side
// by side.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/formats/checkpoint.hpp>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace {

struct Options {
  std::string model, data, head, order, losses, precision = "fp32", device = "cpu";
  std::vector<std::uint64_t> seeds{42};
  double lr = 2e-5, weight_decay = 0.01, clip = 0.0;
  std::optional<double> dropout;
  std::int64_t batch_size = 16, max_length = 128, max_steps = 0;
  int epochs = 3, threads = 0;
};

/// The rows in the order that a file lists, an epoch after the other; or in the sampler's.
struct Order {
  attune::RandomSampler random;
  std::vector<std::int64_t> listed;

  std::int64_t size() const { return random.size(); }
  std::vector<std::int64_t> indices(std::uint64_t epoch) const {
    if (listed.empty()) return random.indices(epoch);
    const auto rows = static_cast<std::size_t>(size());
    if (listed.size() < (epoch + 1) * rows) throw attune::ConfigError("--order: too few rows for this epoch");
    return {listed.begin() + static_cast<std::ptrdiff_t>(epoch * rows),
            listed.begin() + static_cast<std::ptrdiff_t>((epoch + 1) * rows)};
  }
};

template <class Model>
void load_head(Model& model, const std::string& file) {
  const auto checkpoint = attune::CheckpointReader::open(file);
  const auto fill = [&](const char* name, const auto& parameter) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    checkpoint.copy_as<float>(*checkpoint.find(name), values);
    parameter.assign(values);
  };
  fill("classifier.weight", model.head.classifier.weight);
  fill("classifier.bias", model.head.classifier.bias);
}

template <class T, class B>
void run(const Options& options, std::uint64_t seed, const B& device) {
  using Model = attune::BertForSequenceClassification<T, B>;
  const auto begin = std::chrono::steady_clock::now();
  const auto tokenizer = attune::BertTokenizer::from_pretrained(options.model);
  attune::TextClassificationOptions data_options{.labels = {"0", "1"}, .max_length = options.max_length};
  const attune::TextClassificationDataset train(tokenizer, options.data + "/train.tsv", data_options);
  const attune::TextClassificationDataset dev(tokenizer, options.data + "/dev.tsv", data_options);

  Model model = Model::from_pretrained(options.model,
                                       {.num_labels = 2,
                                        .hidden_dropout = options.dropout,
                                        .attention_dropout = options.dropout,
                                        .classifier_dropout = options.dropout,
                                        .seed = seed},
                                       device);
  if (!options.head.empty()) load_head(model, options.head);
  Order order{attune::RandomSampler(train.size(), seed), {}};
  if (!options.order.empty()) {
    std::ifstream file(options.order);
    for (std::int64_t row; file >> row;) order.listed.push_back(row);
  }
  attune::DataLoader loader(train, order, {.batch_size = options.batch_size});
  attune::AdamW optimizer(model.parameters(), {.lr = options.lr, .weight_decay = options.weight_decay});
  auto scheduler =
      attune::linear_schedule_with_warmup(optimizer, {.total_steps = loader.size() * options.epochs});

  std::ofstream losses;
  if (!options.losses.empty()) losses.open(options.losses);
  std::int64_t step = 0;
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    model.train();
    for (const auto& batch : loader) {
      optimizer.zero_grad();
      auto loss = model(batch).loss;
      loss.backward();
      if (options.clip > 0.0) optimizer.clip_grad_norm(options.clip);
      if (losses.is_open())
        losses << "{\"step\": " << step + 1 << ", \"loss\": " << attune::shortest_decimal(loss.item())
               << "}\n";
      optimizer.step();
      scheduler.step();
      if (++step == options.max_steps) break;
    }
    const auto predictions = attune::predict(model, dev);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const auto classes = predictions.classes();
    std::printf(
        "{\"seed\": %llu, \"epoch\": %d, \"steps\": %lld, \"accuracy\": %.5f, \"f1\": %.5f, \"mcc\": %.5f, "
        "\"seconds\": %.1f}\n",
        static_cast<unsigned long long>(seed), epoch, static_cast<long long>(step),
        attune::accuracy(classes, predictions.labels), attune::f1(classes, predictions.labels),
        attune::matthews_correlation(classes, predictions.labels), seconds.count());
    std::fflush(stdout);
    if (options.max_steps > 0 && step >= options.max_steps) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes a BERT on SST-2 (TSV: sentence, label) as finetune_sst2.py does.");
  Options options;
  app.add_option("--model", options.model)->required();
  app.add_option("--data", options.data, "Directory with train.tsv and dev.tsv")->required();
  app.add_option("--seeds", options.seeds);
  app.add_option("--lr", options.lr);
  app.add_option("--weight-decay", options.weight_decay);
  app.add_option("--clip", options.clip, "Global gradient norm; 0: no clipping");
  app.add_option("--dropout", options.dropout, "In place of the config's dropouts");
  app.add_option("--batch-size", options.batch_size);
  app.add_option("--max-length", options.max_length);
  app.add_option("--max-steps", options.max_steps, "Stop early; the schedule stays");
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--epochs", options.epochs);
  app.add_option("--threads", options.threads);
  app.add_option("--head", options.head, "Safetensors file with classifier.weight and .bias to start from");
  app.add_option("--order", options.order, "Text file: the row numbers in the order of visits, all epochs");
  app.add_option("--losses", options.losses, "JSON-lines file: step and loss of each step");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.threads > 0) attune::set_num_threads(options.threads);
    attune::with_device(options.device, [&](auto device) {
      for (const std::uint64_t seed : options.seeds)
        options.precision == "bf16" ? run<attune::bfloat16>(options, seed, device)
                                    : run<float>(options, seed, device);
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "finetune_sst2: %s\n", error.what());
    return 1;
  }
  return 0;
}
