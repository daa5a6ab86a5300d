// Goes on with the pretraining of a BERT, RoBERTa or DistilBERT on lines of text: masked tokens are
// predicted.
#include "training.hpp"

#include <cmath>

namespace {

struct Options : TrainingOptions {
  double mlm_probability = 0.15;
};

template <class Family, class T, class B>
void pretrain(const Options& options, B device) {
  const auto tokenizer = attune::AutoTokenizer::from_pretrained(options.model);
  attune::MaskedLanguageModelingOptions data_options;
  data_options.max_length = options.max_length;
  data_options.masking = {.mlm_probability = options.mlm_probability, .seed = options.seed};
  const attune::MaskedLanguageModelingDataset dataset(tokenizer, options.train, data_options);
  std::optional<attune::MaskedLanguageModelingDataset> eval_data;
  if (!options.eval.empty()) eval_data.emplace(tokenizer, options.eval, data_options);

  auto model = attune::EncoderForMaskedLM<Family, T, B>::from_pretrained(options.model,
                                                                         {.seed = options.seed}, device);
  if (options.freeze_layers > 0) model.freeze_layers(options.freeze_layers);
  attune::DataLoader loader(dataset, attune::RandomSampler(dataset.size(), options.seed),
                            {.batch_size = options.batch_size});
  std::fputs(attune::summarize(model, dataset, options.batch_size).to_string().c_str(), stderr);
  TrainingRun<B> run(options, model, loader);

  double eval_loss = std::nan("");
  const auto evaluate = [&] {
    if (!eval_data) return;
    // The logits of all tokens are [N, V]: too many to keep, so the loss alone is taken.
    model.eval();
    const attune::NoGradGuard no_grad;
    double sum = 0.0, count = 0.0;
    attune::DataLoader batches(*eval_data, attune::SequentialSampler(eval_data->size()), {.batch_size = 16});
    for (const auto& batch : batches) {
      const double rows = attune::counted_rows(batch);
      if (rows > 0.0) sum += rows * static_cast<double>(model(batch).loss.item());
      count += rows;
    }
    model.train();
    eval_loss = sum / count;
    run.note({{"loss", eval_loss}, {"perplexity", std::exp(eval_loss)}});
  };
  train(
      run, model, loader, options.accumulate, [&](const attune::Batch& batch) { return model(batch).loss; },
      evaluate);

  model.save_pretrained(options.output);
  tokenizer.save_pretrained(options.output);
  if (std::isnan(eval_loss)) evaluate();
  if (eval_data) std::printf("eval loss=%.4f perplexity=%.4f\n", eval_loss, std::exp(eval_loss));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Goes on with the pretraining of a BERT, RoBERTa or DistilBERT on a text file, one text a line.");
  Options options;
  options.add_to(app);
  app.add_option("--mlm-probability", options.mlm_probability, "Share of the tokens to predict")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run_example("pretrain_mlm", [&] {
    with_device_and_precision(options, [&]<class B, class T>(B device, T) {
      attune::with_encoder_family(options.model,
                                  [&]<class Family>(Family) { pretrain<Family, T>(options, device); });
    });
  });
}
