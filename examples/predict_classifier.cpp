// Classifies each line of a text file with a fine-tuned model and writes JSON lines: label, score, logits.
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/text/auto_tokenizer.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace {

template <class Model, class B>
void predict(const std::string& model_dir, const std::string& input, std::ostream& output,
             std::int64_t max_length, B device) {
  const auto tokenizer = attune::AutoTokenizer::from_pretrained(model_dir);
  auto model = Model::from_pretrained(model_dir, {}, device);
  if (!model.load_report().missing.empty())
    throw attune::ConfigError(model_dir +
                              ": not a fine-tuned classifier: " + model.load_report().to_string());
  model.eval();
  const attune::NoGradGuard no_grad;

  std::ifstream file(input, std::ios::binary);
  if (!file) throw attune::IoError(input, "cannot be opened for reading");
  const auto classify = [&](const std::vector<std::string>& lines) {
    const auto logits =
        model(attune::make_batch(tokenizer.encode_packed(lines, {}, {.max_length = max_length}))).logits;
    const auto values = logits.to_vector();
    const auto labels = static_cast<std::size_t>(logits.shape().back());
    for (std::size_t row = 0; row < lines.size(); ++row) {
      const std::vector<float> numbers(values.begin() + static_cast<std::ptrdiff_t>(row * labels),
                                       values.begin() + static_cast<std::ptrdiff_t>((row + 1) * labels));
      const auto scores = attune::label_scores(numbers, model.config.labels.problem_type);
      const auto best =
          static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
      nlohmann::ordered_json line;
      line["label"] = model.config.labels.id2label[best];
      line["score"] = attune::shortest_decimal(scores[best]);
      for (const float number : numbers) line["logits"].push_back(attune::shortest_decimal(number));
      output << line.dump() << '\n';
    }
  };
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(std::move(line));
    if (lines.size() == 64) {
      classify(lines);
      lines.clear();
    }
  }
  if (!lines.empty()) classify(lines);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Classifies each line of a text file; writes a JSON line with label, score and logits for each.");
  std::string model_dir, input, output, device = "auto";
  std::int64_t max_length = 128;
  app.add_option("--model", model_dir, "Directory of a fine-tuned classifier")->required();
  app.add_option("--input", input, "Text file, one text a line")->required();
  app.add_option("--output", output, "JSON-lines file")->required();
  app.add_option("--max-length", max_length, "Most tokens of a text, special tokens included")
      ->capture_default_str();
  app.add_option("--device", device)->capture_default_str()->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  CLI11_PARSE(app, argc, argv);
  try {
    std::ofstream file(output, std::ios::binary);
    if (!file) throw attune::IoError(output, "cannot be opened for writing");
    attune::with_device(device, [&]<class B>(B backend) {
      attune::with_encoder_family(model_dir, [&]<class Family>(Family) {
        predict<attune::EncoderForSequenceClassification<Family, float, B>>(model_dir, input, file,
                                                                            max_length, backend);
      });
    });
    file.close();
    if (!file) throw attune::IoError(output, "cannot be written");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "predict_classifier: %s\n", error.what());
    return 1;
  }
  return 0;
}
