// Fine-tunes a BERT, RoBERTa or DistilBERT to classify sentences or pairs of sentences, evaluates it, and
// saves a directory that transformers loads.
#include "training.hpp"

namespace {

struct Options : TrainingOptions {
  std::optional<std::string> text_column, pair_column, label_column;
  bool header = false;

  attune::TextClassificationOptions dataset(std::vector<std::string> labels) const {
    attune::TextClassificationOptions o;
    const auto column = [](const std::optional<std::string>& name) {
      return name ? std::optional(attune::Column::parse(*name)) : std::nullopt;
    };
    o.text_column = column(text_column);
    o.pair_column = column(pair_column);
    o.label_column = column(label_column);
    if (header) o.header = true;
    o.labels = std::move(labels);
    o.max_length = max_length;
    return o;
  }
};

std::vector<std::pair<std::string, double>> metrics_of(const attune::Predictions& predictions) {
  const auto classes = predictions.classes();
  const auto average = predictions.num_labels == 2 ? attune::Average::binary : attune::Average::macro;
  return {{"accuracy", attune::accuracy(classes, predictions.labels)},
          {"f1", attune::f1(classes, predictions.labels, {.average = average})},
          {"mcc", attune::matthews_correlation(classes, predictions.labels)},
          {"loss", predictions.loss}};
}

void write_report(const Options& options, const std::string& log,
                  const attune::TextClassificationDataset& data, const attune::Predictions& predictions) {
  attune::RunReport report;
  report.title = "Fine-tuning " + std::filesystem::path(options.model).filename().string();
  for (const auto& [name, value] : metrics_of(predictions)) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.4f", value);
    report.results.push_back({name, text});
  }
  report.facts = {{"training file", options.train},
                  {"evaluation file", options.eval},
                  {"epochs", std::to_string(options.epochs)},
                  {"batch size", std::to_string(options.batch_size * options.accumulate)},
                  {"precision", options.precision}};
  report.charts = attune::charts_of_log(log);
  report.labels = data.id2label();
  report.confusion =
      attune::confusion_matrix(predictions.classes(), predictions.labels, predictions.num_labels);
  for (const auto& m :
       attune::worst_mistakes(predictions.logits, predictions.num_labels, predictions.labels, 20))
    report.mistakes.push_back({data.text(m.row), data.has_pairs() ? data.pair(m.row) : std::string(),
                               data.id2label()[static_cast<std::size_t>(m.expected)],
                               data.id2label()[static_cast<std::size_t>(m.predicted)], m.confidence});
  attune::write_report(options.report, report);
}

template <class Family, class T, class B>
void finetune(const Options& options, B device) {
  const auto tokenizer = attune::AutoTokenizer::from_pretrained(options.model);
  const attune::TextClassificationDataset dataset(tokenizer, options.train, options.dataset({}));
  std::optional<attune::TextClassificationDataset> eval_data;
  if (!options.eval.empty()) eval_data.emplace(tokenizer, options.eval, options.dataset(dataset.id2label()));

  auto model = attune::EncoderForSequenceClassification<Family, T, B>::from_pretrained(
      options.model, {.labels = dataset.id2label(), .seed = options.seed}, device);
  if (options.freeze_layers > 0) model.freeze_layers(options.freeze_layers);

  attune::DataLoader loader(dataset, attune::RandomSampler(dataset.size(), options.seed),
                            {.batch_size = options.batch_size});
  std::fputs(attune::summarize(model, dataset, options.batch_size).to_string().c_str(), stderr);
  TrainingRun<B> run(options, model, loader);
  std::optional<attune::Predictions> predictions;
  train(
      run, model, loader, options.accumulate, [&](const attune::Batch& batch) { return model(batch).loss; },
      [&] {
        if (!eval_data) return;
        predictions = attune::predict(model, *eval_data);
        run.note(metrics_of(*predictions));
      });

  model.save_pretrained(options.output);
  tokenizer.save_pretrained(options.output);
  if (!eval_data) return;
  if (!predictions) predictions = attune::predict(model, *eval_data);
  if (!options.report.empty()) write_report(options, run.log_file(), *eval_data, *predictions);
  const auto metrics = metrics_of(*predictions);
  std::printf("eval accuracy=%.4f f1=%.4f mcc=%.4f\n", metrics[0].second, metrics[1].second,
              metrics[2].second);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes a BERT, RoBERTa or DistilBERT to classify sentences or pairs of sentences.");
  Options options;
  options.add_to(app);
  app.add_option("--text-column", options.text_column, "Name or number (from 0) of the text's column");
  app.add_option("--pair-column", options.pair_column, "... of the second text's column, if there is one");
  app.add_option("--label-column", options.label_column, "... of the label's column");
  app.add_flag("--header", options.header, "The first line of the files names the columns");
  CLI11_PARSE(app, argc, argv);
  return run_example("finetune_classifier", [&] {
    with_device_and_precision(options, [&]<class B, class T>(B device, T) {
      attune::with_encoder_family(options.model,
                                  [&]<class Family>(Family) { finetune<Family, T>(options, device); });
    });
  });
}
