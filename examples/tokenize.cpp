// Prints the token ids of each line of a file, as the model in a directory reads them; or the text of each
// line of ids.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <attune/core/error.hpp>
#include <attune/text/auto_tokenizer.hpp>

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

std::ifstream open(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw attune::IoError(path, "cannot be opened for reading");
  return file;
}

/// Prints the text of each line of ids, with backslashes before line ends and backslashes that are in it.
void detokenize(const attune::AutoTokenizer& tokenizer, const std::string& input) {
  std::ifstream file = open(input);
  for (std::string line; std::getline(file, line);) {
    std::istringstream numbers(line);
    const std::vector<std::int32_t> ids(std::istream_iterator<std::int32_t>(numbers), {});
    std::string out;
    for (const char letter : tokenizer.decode(ids)) {
      if (letter == '\n' || letter == '\\') out += '\\';
      out += letter == '\n' ? 'n' : letter;
    }
    out += '\n';
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
}

void tokenize(const attune::AutoTokenizer& tokenizer, const std::string& input,
              const attune::EncodeOptions& options) {
  std::ifstream file = open(input);
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

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Prints the token ids of each line, separated by spaces, special tokens included.");
  std::string model_dir, input;
  attune::EncodeOptions options;
  bool decode = false;
  app.add_option("--model", model_dir,
                 "Directory with tokenizer.json, vocab.txt or vocab.json and merges.txt")
      ->required();
  app.add_option("--input", input, "Text file, one text a line")->required();
  app.add_option("--max-length", options.max_length,
                 "Most tokens of a line, special tokens included (0: no limit)");
  app.add_flag("--decode", decode, "The lines of the file are ids, separated by spaces: print their text");
  CLI11_PARSE(app, argc, argv);
  try {
    const auto tokenizer = attune::AutoTokenizer::from_pretrained(model_dir);
    if (decode)
      detokenize(tokenizer, input);
    else
      tokenize(tokenizer, input, options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenize: %s\n", error.what());
    return 1;
  }
  return 0;
}
