#include <attune/attune.hpp>
#include <cstdio>
#include <string>

template <attune::Backend B>
void finetune(B device, const std::string& model_dir, const std::string& train_file) {
  auto tokenizer = attune::BertTokenizer::from_pretrained(model_dir);
  auto model = attune::BertForSequenceClassification<float, B>::from_pretrained(model_dir, {.num_labels = 2}, device);

  attune::TextClassificationDataset dataset(tokenizer, train_file, {.labels = {"0", "1"}, .max_length = 128});
  attune::DataLoader loader(dataset, attune::RandomSampler(dataset.size(), /*seed=*/42), {.batch_size = 16});

  constexpr int epochs = 4;
  attune::AdamW optimizer(model.parameters(), {.lr = 2e-5, .eps = 1e-8});
  auto scheduler = attune::linear_schedule_with_warmup(
      optimizer, {.warmup_steps = 0, .total_steps = loader.size() * epochs});

  for (int epoch = 1; epoch <= epochs; ++epoch) {
    model.train();
    for (const auto& batch : loader) {
      optimizer.zero_grad();
      auto output = model(batch);
      output.loss.backward();
      optimizer.step();
      scheduler.step();
    }
  }

  model.save_pretrained("model_save");
  tokenizer.save_pretrained("model_save");
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: finetune_bert MODEL_DIR TRAIN_FILE\n", stderr);
    return 2;
  }
  attune::with_device("auto", [&](auto device) { finetune(device, argv[1], argv[2]); });
}
