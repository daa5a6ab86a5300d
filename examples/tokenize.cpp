// Prints the token ids of each line of a file, as the model in a directory reads them.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <attune/core/error.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>

namespace {

void print_ids(const attune::EncodedBatch& batch) {
  std::string out;
  for (std::int64_t row = 0; row < batch.size(); ++row) {
    for (const std::int32_t id : batch.row(row)) {
      out += std::to_string(id);
      out += ' ';
    }
    if (batch.row(row).empty())
      out += '\n';
    else
      out.back() = '\n';
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
}

template <class Tokenizer>
void tokenize(const Tokenizer& tokenizer, const std::string& input, const attune::EncodeOptions& options) {
  std::ifstream file(input, std::ios::binary);
  if (!file) throw attune::IoError(input, "cannot be opened for reading");

  constexpr std::size_t lines_at_once = 16384;
  std::vector<std::string> lines;
  std::int64_t truncated = 0;
  const auto flush = [&] {
    const attune::EncodedBatch batch = tokenizer.encode_packed(lines, {}, options);
    truncated += batch.truncated_rows;
    print_ids(batch);
    lines.clear();
  };
  for (std::string line; std::getline(file, line);) {
    lines.push_back(std::move(line));
    if (lines.size() == lines_at_once) flush();
  }
  flush();
  if (truncated > 0)
    std::fprintf(stderr, "%lld lines were cut to %lld tokens\n", static_cast<long long>(truncated),
                 static_cast<long long>(options.max_length));
}

/// BERT's own tokenizer where there is one, otherwise whatever tokenizer.json describes.
void tokenize(const std::string& model_dir, const std::string& input, const attune::EncodeOptions& options) {
  if (std::filesystem::exists(model_dir + "/vocab.txt"))
    tokenize(attune::BertTokenizer::from_pretrained(model_dir), input, options);
  else
    tokenize(attune::Tokenizer::from_pretrained(model_dir), input, options);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Prints the token ids of each line, separated by spaces, special tokens included.");
  std::string model_dir, input;
  attune::EncodeOptions options;
  app.add_option("--model", model_dir, "Directory with tokenizer.json, vocab.txt or vocab.json and merges.txt")->required();
  app.add_option("--input", input, "Text file, one text a line")->required();
  app.add_option("--max-length", options.max_length,
                 "Most tokens of a line, special tokens included (0: no limit)");
  CLI11_PARSE(app, argc, argv);
  try {
    tokenize(model_dir, input, options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenize: %s\n", error.what());
    return 1;
  }
  return 0;
}
