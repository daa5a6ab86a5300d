// Writes the sentence embedding of each line of a text file: a safetensors file with "embeddings" [lines,
// features].
#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/text/auto_tokenizer.hpp>

#include <cstdio>
#include <fstream>

namespace {

template <class Model, class B>
void embed(const std::string& model_dir, const std::string& input, const std::string& output,
           std::int64_t max_length, B device) {
  const auto tokenizer = attune::AutoTokenizer::from_pretrained(model_dir);
  auto model = Model::from_pretrained(model_dir, {}, device);
  if (max_length == 0) max_length = model.max_seq_length();
  model.eval();
  const attune::NoGradGuard no_grad;

  std::ifstream file(input, std::ios::binary);
  if (!file) throw attune::IoError(input, "cannot be opened for reading");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(std::move(line));

  std::vector<float> embeddings;
  std::int64_t features = 0;
  constexpr std::size_t at_once = 64;
  for (std::size_t begin = 0; begin < lines.size(); begin += at_once) {
    const auto rows = std::span(lines).subspan(begin, std::min(at_once, lines.size() - begin));
    const auto output_rows =
        model(attune::make_batch(tokenizer.encode_packed(rows, {}, {.max_length = max_length})));
    features = output_rows.shape().back();
    const auto values = output_rows.to_vector();
    embeddings.insert(embeddings.end(), values.begin(), values.end());
  }
  attune::save_safetensors(output, {{"embeddings", attune::DType::f32,
                                     attune::Shape{static_cast<std::int64_t>(lines.size()), features},
                                     std::as_bytes(std::span(embeddings))}});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes the embedding of each line of a text file, scaled to length 1.");
  std::string model_dir, input, output, device = "auto";
  std::int64_t max_length = 0;
  app.add_option("--model", model_dir, "Hugging Face model directory")->required();
  app.add_option("--input", input, "Text file, one text a line")->required();
  app.add_option("--output", output, "Safetensors file")->required();
  app.add_option("--max-length", max_length,
                 "Most tokens of a text, special tokens included (0: as the model's files say)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--device", device)->capture_default_str()->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  CLI11_PARSE(app, argc, argv);
  try {
    attune::with_device(device, [&]<class B>(B backend) {
      attune::with_encoder_family(model_dir, [&]<class Family>(Family) {
        embed<attune::EncoderForSentenceEmbedding<Family, float, B>>(model_dir, input, output, max_length,
                                                                     backend);
      });
    });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "embed: %s\n", error.what());
    return 1;
  }
  return 0;
}
