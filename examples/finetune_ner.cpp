// Fine-tunes a BERT, RoBERTa or DistilBERT to tag words (named entities) from CoNLL columns or JSON lines.
#include "training.hpp"

namespace {

struct Options : TrainingOptions {
  std::vector<std::string> tags;
};

template <class Family, class T, class B>
void finetune(const Options& options, B device) {
  const auto tokenizer = attune::AutoTokenizer::from_pretrained(options.model);
  const attune::TokenClassificationDataset dataset(
      tokenizer, options.train, {.labels = options.tags, .max_length = options.max_length});
  std::optional<attune::TokenClassificationDataset> eval_data;
  if (!options.eval.empty())
    eval_data.emplace(
        tokenizer, options.eval,
        attune::TokenClassificationOptions{.labels = dataset.id2label(), .max_length = options.max_length});

  auto model = attune::EncoderForTokenClassification<Family, T, B>::from_pretrained(
      options.model, {.labels = dataset.id2label(), .seed = options.seed}, device);
  if (options.freeze_layers > 0) model.freeze_layers(options.freeze_layers);
  attune::DataLoader loader(dataset, attune::RandomSampler(dataset.size(), options.seed),
                            {.batch_size = options.batch_size});
  std::fputs(attune::summarize(model, dataset, options.batch_size).to_string().c_str(), stderr);
  TrainingRun<B> run(options, model, loader);

  std::vector<std::pair<std::string, double>> metrics;
  const auto evaluate = [&] {
    if (!eval_data) return;
    const auto predictions = attune::predict(model, *eval_data);
    const auto classes = predictions.classes();
    const auto spans = attune::span_scores(
        attune::tags_of(predictions.segments, classes, predictions.labels, dataset.id2label()),
        attune::tags_of(predictions.segments, predictions.labels, predictions.labels, dataset.id2label()));
    metrics = {{"accuracy", spans.accuracy},
               {"precision", spans.precision},
               {"recall", spans.recall},
               {"f1", spans.f1},
               {"loss", predictions.loss}};
    run.note(metrics);
  };
  train(
      run, model, loader, options.accumulate, [&](const attune::Batch& batch) { return model(batch).loss; },
      evaluate);

  model.save_pretrained(options.output);
  tokenizer.save_pretrained(options.output);
  if (metrics.empty()) evaluate();
  if (!metrics.empty())
    std::printf("eval accuracy=%.4f precision=%.4f recall=%.4f f1=%.4f\n", metrics[0].second,
                metrics[1].second, metrics[2].second, metrics[3].second);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Fine-tunes a BERT, RoBERTa or DistilBERT to tag words, from CoNLL columns or JSON lines with tokens "
      "and tags.");
  Options options;
  options.add_to(app);
  app.add_option("--tags", options.tags,
                 "The tags in the order of their ids (default: all that occur, sorted)")
      ->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  return run_example("finetune_ner", [&] {
    with_device_and_precision(options, [&]<class B, class T>(B device, T) {
      attune::with_encoder_family(options.model,
                                  [&]<class Family>(Family) { finetune<Family, T>(options, device); });
    });
  });
}
