// attune's side of encode.py: WordPiece over the lines of a file.
#include <CLI/CLI.hpp>
#include <attune/core/parallel.hpp>
#include <attune/text/bert_tokenizer.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  CLI::App app("Times the encoding of a file's lines (up to the first tab), as encode.py does.");
  std::string model, data;
  int threads = 0, rounds = 5, repeat = 20;
  app.add_option("--model", model, "Directory with the tokenizer")->required();
  app.add_option("--data", data, "Text file")->required();
  app.add_option("--threads", threads);
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber);
  app.add_option("--repeat", repeat, "How often the file is encoded in a round")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    if (threads > 0) attune::set_num_threads(threads);
    const auto tokenizer = attune::BertTokenizer::from_pretrained(model);
    std::vector<std::string> texts;
    std::ifstream file(data);
    std::size_t bytes = 0;
    for (std::string line; std::getline(file, line);) {
      texts.push_back(line.substr(0, line.find('\t')));
      bytes += texts.back().size();
    }
    std::vector<double> times;
    std::size_t tokens = 0;
    for (int round = 0; round <= rounds; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < repeat; ++i) tokens = tokenizer.encode_packed(texts).ids.size();
      const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
      if (round > 0) times.push_back(taken.count() / repeat);
    }
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    std::printf(
        "{\"rows\": %zu, \"tokens\": %zu, \"threads\": %d, \"median_ms\": %.3f, \"mb_per_second\": %.1f}\n",
        texts.size(), tokens, attune::num_threads(), median, static_cast<double>(bytes) / median * 1e-3);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "encode: %s\n", error.what());
    return 1;
  }
  return 0;
}
