// Fine-tunes sentence embeddings (mean pooling, length 1) on pairs of sentences: with scores towards them,
// without scores by telling each pair from the other rows of its batch.
#include "training.hpp"

namespace {

struct Options : TrainingOptions {
  std::optional<std::string> text1_column, text2_column, score_column;
  bool header = false;
  float scale = 20.0f;

  attune::SentencePairOptions dataset() const {
    attune::SentencePairOptions o;
    const auto column = [](const std::optional<std::string>& name) {
      return name ? std::optional(attune::Column::parse(*name)) : std::nullopt;
    };
    o.text1_column = column(text1_column);
    o.text2_column = column(text2_column);
    o.score_column = column(score_column);
    if (header) o.header = true;
    o.max_length = max_length;
    return o;
  }
};

template <class Family, class T, class B>
void finetune(const Options& options, B device) {
  const auto tokenizer = attune::AutoTokenizer::from_pretrained(options.model);
  const attune::SentencePairDataset dataset(tokenizer, options.train, options.dataset());
  std::optional<attune::SentencePairDataset> eval_data;
  if (!options.eval.empty()) eval_data.emplace(tokenizer, options.eval, options.dataset());
  if (!dataset.has_scores() && options.accumulate > 1)
    throw attune::ConfigError(
        "--accumulate: without scores the rows of a batch are each other's wrong answers; use a "
        "larger --batch-size");

  auto model = attune::EncoderForSentenceEmbedding<Family, T, B>::from_pretrained(
      options.model, {.seed = options.seed}, device);
  if (options.freeze_layers > 0) model.freeze_layers(options.freeze_layers);
  attune::DataLoader loader(dataset, attune::RandomSampler(dataset.size(), options.seed),
                            {.batch_size = options.batch_size});
  std::fputs(attune::summarize(model, dataset, options.batch_size).to_string().c_str(), stderr);
  TrainingRun<B> run(options, model, loader);

  // Sequences b and B + b of a batch are a pair.
  const auto halves = [](const auto& embeddings) {
    const std::int64_t pairs = embeddings.shape()[0] / 2;
    return std::pair(attune::slice(embeddings, 0, 0, pairs), attune::slice(embeddings, 0, pairs, 2 * pairs));
  };
  const auto loss_of = [&](const attune::Batch& batch) {
    const auto [u, v] = halves(model(batch));
    return batch.targets.empty() ? attune::multiple_negatives_ranking_loss(u, v, options.scale)
                                 : attune::cosine_similarity_loss(u, v, batch.targets);
  };

  std::vector<std::pair<std::string, double>> metrics;
  const auto evaluate = [&] {
    if (!eval_data) return;
    model.eval();
    const attune::NoGradGuard no_grad;
    std::vector<float> cosines, scores;
    attune::DataLoader batches(*eval_data, attune::SequentialSampler(eval_data->size()), {.batch_size = 32});
    for (const auto& batch : batches) {
      const auto [u, v] = halves(model(batch));
      const auto values = attune::sum(u * v, {1}).to_vector();
      cosines.insert(cosines.end(), values.begin(), values.end());
      scores.insert(scores.end(), batch.targets.begin(), batch.targets.end());
    }
    model.train();
    if (scores.empty()) {
      double mean = 0.0;
      for (const float cosine : cosines)
        mean += static_cast<double>(cosine) / static_cast<double>(cosines.size());
      metrics = {{"cosine", mean}};
    } else {
      metrics = {{"pearson", attune::pearson(cosines, scores)},
                 {"spearman", attune::spearman(cosines, scores)}};
    }
    run.note(metrics);
  };
  train(run, model, loader, options.accumulate, loss_of, evaluate);

  model.save_pretrained(options.output);
  tokenizer.save_pretrained(options.output);
  if (metrics.empty()) evaluate();
  if (!metrics.empty()) std::printf("eval");
  for (const auto& [name, value] : metrics) std::printf(" %s=%.4f", name.c_str(), value);
  if (!metrics.empty()) std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Fine-tunes sentence embeddings on pairs of sentences, with or without scores.");
  Options options;
  options.add_to(app);
  app.add_option("--text1-column", options.text1_column,
                 "Name or number (from 0) of the first text's column");
  app.add_option("--text2-column", options.text2_column, "... of the second text's column");
  app.add_option("--score-column", options.score_column, "... of the score's column, if there is one");
  app.add_flag("--header", options.header, "The first line of the files names the columns");
  app.add_option("--scale", options.scale, "Multiplies cosines in the loss without scores")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run_example("finetune_embeddings", [&] {
    with_device_and_precision(options, [&]<class B, class T>(B device, T) {
      attune::with_encoder_family(options.model,
                                  [&]<class Family>(Family) { finetune<Family, T>(options, device); });
    });
  });
}
