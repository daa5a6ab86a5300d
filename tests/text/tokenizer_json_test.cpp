#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>

#include "cases.hpp"
#include "support.hpp"

using namespace attune;
using nlohmann::json;

namespace {

std::filesystem::path fixtures() {
  return std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/text/fixtures_tokenizer";
}

std::vector<std::filesystem::path> folders(const std::filesystem::path& root) {
  std::set<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    if (entry.is_directory()) found.insert(entry.path());
  return {found.begin(), found.end()};
}

void check_folder(const std::filesystem::path& folder, const std::filesystem::path& model) {
  INFO(model.string());
  const auto tokenizer = Tokenizer::from_pretrained(model.string());
  const json expected = json::parse(text_test::read_file(folder / "expected.json"));
  CHECK(tokenizer.vocab_size() == expected["vocab_size"]);
  for (const char* name : {"bos", "eos", "unk", "sep", "pad", "cls", "mask"}) {
    const auto id = tokenizer.special_token_id(std::string(name) + "_token");
    CHECK(id.has_value() == !expected[name].is_null());
    if (id) CHECK(*id == expected[name]);
  }
  std::vector<std::int64_t> special;
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.is_special(static_cast<std::int32_t>(id))) special.push_back(id);
  CHECK(json(special) == expected["special"]);
  std::istringstream cases(text_test::read_file(folder / "cases.jsonl"));
  int count = 0, wrong = 0;
  for (std::string line; std::getline(cases, line) && wrong < 10; ++count)
    if (!text_test::check_case(tokenizer, json::parse(line))) ++wrong;
  CHECK(count >= 80);
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids) {
  TokenStream stream(tokenizer, false);
  std::string text;
  for (const std::int32_t id : ids) {
    const std::string part = stream.push(id);
    const json written(part);
    CHECK_NOTHROW(written.dump());  // valid UTF-8
    text += part;
  }
  return text + stream.finish();
}

/// Of this thread, which alone works on a single text.
template <class AnyTokenizer>
double seconds_to_encode(const AnyTokenizer& tokenizer, const std::string& text) {
  const std::vector<std::string> texts{text};
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double begin = now();
  CHECK(tokenizer.encode_packed(texts).ids.size() <= 4 * text.size());
  return now() - begin;
}

/// Calls f on a thread whose stack is a megabyte: a level of recursion for each character would not fit.
template <class F>
void on_small_stack(const F& f) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, std::size_t{1} << 20);
  pthread_t thread;
  const auto run = [](void* function) -> void* {
    (*static_cast<const F*>(function))();
    return nullptr;
  };
  REQUIRE(::pthread_create(&thread, &attributes, run, const_cast<F*>(&f)) == 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
}

template <class AnyTokenizer>
void check_linear_time(const AnyTokenizer& tokenizer) {
  for (const std::string unit : {"a", " ", "ab1 ", "\u8bdd", "e\u0301\u0323", "\n ", "\xFF"}) {
    INFO(unit);
    const auto repeated = [&](std::size_t bytes) {
      std::string text;
      while (text.size() < bytes) text += unit;
      return text;
    };
    seconds_to_encode(tokenizer, repeated(20000));
    // A quadratic step would take a hundred times as long. Up to three attempts: what else the machine does
    // costs caches, and so processor time, too.
    double small = 0.0, large = 0.0;
    for (int attempt = 0; attempt < 3; ++attempt) {
      small = seconds_to_encode(tokenizer, repeated(100000));
      large = seconds_to_encode(tokenizer, repeated(1000000));
      if (large < 30 * small + 0.1) break;
    }
    CHECK(large < 30 * small + 0.1);
  }
}

}  // namespace

TEST_CASE("tokenizer.json: everything equals Hugging Face's tokenizers on the fixtures") {
  CHECK(folders(fixtures()).size() == 14);
  for (const auto& folder : folders(fixtures())) check_folder(folder, folder);
}

TEST_CASE("tokenizer.json: a saved tokenizer gives the same when it is read again") {
  for (const auto& folder : folders(fixtures())) {
    const text_test::TemporaryFolder saved;
    Tokenizer::from_pretrained(folder.string()).save_pretrained((saved / "deep").string());
    check_folder(folder, saved / "deep");
  }
}

TEST_CASE("tokenizer.json: everything equals Hugging Face's tokenizers on further fixtures") {
  const char* root = std::getenv("ATTUNE_TOKENIZER_JSON_FIXTURES");
  if (!root) {
    MESSAGE(
        "skipped: ATTUNE_TOKENIZER_JSON_FIXTURES names no folder (tests/text/generate_tokenizers.py "
        "--random makes one)");
    return;
  }
  for (const auto& folder : folders(root)) check_folder(folder, folder);
}

TEST_CASE("streams give what decode gives, in whole characters") {
  for (const auto& folder : folders(fixtures())) {
    INFO(folder.string());
    const auto tokenizer = Tokenizer::from_pretrained(folder.string());
    std::istringstream cases(text_test::read_file(folder / "cases.jsonl"));
    for (std::string line; std::getline(cases, line);) {
      const json test = json::parse(line);
      if (test.contains("error")) continue;
      const auto ids = test["ids"].get<std::vector<std::int32_t>>();
      INFO(line);
      CHECK(streamed(tokenizer, ids) == tokenizer.decode(ids));
    }
  }
  // Ids in no order make bytes that are no text.
  const auto tokenizer = Tokenizer::from_pretrained((fixtures() / "gpt2").string());
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int32_t> ids;
    for (int at = 0; at < 40; ++at)
      ids.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(tokenizer.vocab_size() + 2)));
    CHECK(streamed(tokenizer, ids) == tokenizer.decode(ids));
  }
  TokenStream stream(tokenizer);
  CHECK(stream.push(tokenizer.eos_token_id()).empty());
  CHECK(stream.finish().empty());
}

TEST_CASE("tokenizer.json: batches give the same rows for every number of threads") {
  const int before = num_threads();
  for (const char* name : {"llama3", "unigram", "word_piece"}) {
    const auto tokenizer = Tokenizer::from_pretrained((fixtures() / name).string());
    std::vector<std::string> texts, pairs;
    for (int row = 0; row < 400; ++row) {
      texts.push_back("hello " + std::to_string(row * 7919) + " caf\u00e9 \u4e2d\u56fd");
      pairs.push_back(row % 3 == 0 ? "" : "citizens " + std::string(static_cast<std::size_t>(row % 20), 'a'));
    }
    for (const EncodeOptions& options : {EncodeOptions{}, EncodeOptions{.max_length = 12}}) {
      std::vector<Encoding> expected;
      for (std::size_t row = 0; row < texts.size(); ++row)
        expected.push_back(tokenizer.encode_pair(texts[row], pairs[row], options));
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        const EncodedBatch batch = tokenizer.encode_packed(texts, pairs, options);
        const std::vector<Encoding> rows = tokenizer.encode_batch(texts, pairs, options);
        REQUIRE(batch.size() == 400);
        for (std::size_t row = 0; row < texts.size(); ++row) {
          const auto ids = batch.row(static_cast<std::int64_t>(row));
          REQUIRE(std::vector(ids.begin(), ids.end()) == expected[row].ids);
          REQUIRE(rows[row].ids == expected[row].ids);
          REQUIRE(rows[row].offsets == expected[row].offsets);
        }
      }
    }
  }
  set_num_threads(before);
}

TEST_CASE("a million characters take linear time and little stack") {
  for (const char* name :
       {"gpt2", "qwen2", "other_regexes", "llama2", "unigram", "end_of_word", "word_piece"}) {
    INFO(name);
    const auto tokenizer = Tokenizer::from_pretrained((fixtures() / name).string());
    on_small_stack([&] { check_linear_time(tokenizer); });
  }
  const auto bert = BertTokenizer::from_pretrained((text_test::fixtures() / "uncased").string());
  on_small_stack([&] { check_linear_time(bert); });
}

TEST_CASE("different tokenizers on one thread do not mix up their words") {
  const auto first = Tokenizer::from_pretrained((fixtures() / "gpt2").string());
  const auto second = Tokenizer::from_pretrained((fixtures() / "llama3").string());
  const std::vector<std::string> text{"Before we proceed any further"};
  const auto expected_first = first.encode_packed(text).ids, expected_second = second.encode_packed(text).ids;
  CHECK(expected_first != expected_second);
  for (int round = 0; round < 3; ++round) {
    CHECK(first.encode_packed(text).ids == expected_first);
    CHECK(second.encode_packed(text).ids == expected_second);
  }
}

TEST_CASE("lookups, special tokens and options that are refused") {
  const auto tokenizer = Tokenizer::from_pretrained((fixtures() / "llama3").string());
  CHECK(tokenizer.bos_token_id() == 0);
  CHECK(tokenizer.special_token("bos_token") == "<|begin_of_text|>");
  CHECK(tokenizer.special_token("mask_token").empty());
  CHECK_THROWS_AS(tokenizer.mask_token_id(), ConfigError);
  CHECK(tokenizer.token_to_id("\u0120the").has_value());
  CHECK(tokenizer.id_to_token(*tokenizer.token_to_id("\u0120the")) == "\u0120the");
  CHECK_FALSE(tokenizer.token_to_id("no such token").has_value());
  CHECK_THROWS_AS(tokenizer.id_to_token(-1), ConfigError);
  CHECK_THROWS_AS(tokenizer.id_to_token(static_cast<std::int32_t>(tokenizer.vocab_size())), ConfigError);
  CHECK(tokenizer.decode(std::vector<std::int32_t>{-5, 1 << 30}) == "");
  CHECK(tokenizer.special_tokens_per_row(false) == 1);
  CHECK(tokenizer.special_tokens_per_row(true) == 2);
  CHECK_THROWS_AS(tokenizer.encode_pair("a", "b", {.max_length = 1}), ConfigError);
  CHECK_THROWS_AS(tokenizer.encode("a", {.max_length = -7, .add_special_tokens = false}), ConfigError);
  const std::vector<std::string> two{"a", "b"}, one{"a"};
  CHECK_THROWS_AS(tokenizer.encode_packed(two, one), ShapeError);
  CHECK(tokenizer.encode_packed({}).size() == 0);
}

TEST_CASE("GPT-2's real vocabulary from vocab.json and merges.txt") {
  const auto vocab = text_test::shared_data() / "vocab";
  if (!std::filesystem::exists(vocab)) {
    MESSAGE("skipped: no folder ", vocab.string());
    return;
  }
  const text_test::TemporaryFolder model;
  std::filesystem::copy_file(vocab / "gpt2-vocab.json", model / "vocab.json");
  std::filesystem::copy_file(vocab / "gpt2-merges.txt", model / "merges.txt");
  const auto tokenizer = Tokenizer::from_pretrained(model.string());
  CHECK(tokenizer.vocab_size() == 50257);
  CHECK(tokenizer.eos_token_id() == 50256);
  CHECK(tokenizer.encode("Hello world<|endoftext|>").ids == std::vector<std::int32_t>{15496, 995, 50256});
  const json files = json::parse(text_test::read_file(fixtures() / "data_hashes.json"));
  CHECK(files.size() == 4);
  for (const json& file : files) {
    INFO(file.dump());
    const std::string text = text_test::read_file(text_test::shared_data() / file["file"].get<std::string>());
    const auto lines = text_test::split_lines(text);
    CHECK(lines.size() == file["lines"]);
    const EncodedBatch batch = tokenizer.encode_packed(lines);
    text_test::Hash hash;
    for (std::int64_t row = 0; row < batch.size(); ++row) {
      for (const std::int32_t id : batch.row(row)) hash.add(id);
      hash.add(-1);
    }
    CHECK(hash.hex() == file["hash"]);
    // Bytes that are tokens, so whatever goes in comes out.
    CHECK(tokenizer.decode(tokenizer.encode(text).ids) == text);
  }
}

namespace {

/// A tokenizer.json's model in a GGUF file's words.
TokenizerParts parts_of(const char* name, const char* model, const char* pre) {
  const json file = json::parse(text_test::read_file(fixtures() / name / "tokenizer.json"));
  TokenizerParts parts;
  parts.model = model;
  parts.pre = pre;
  std::size_t size = file["model"]["vocab"].size();
  for (const json& token : file["added_tokens"]) size = std::max(size, token["id"].get<std::size_t>() + 1);
  parts.tokens.resize(size);
  parts.token_types.assign(size, 1);
  for (const auto& [token, id] : file["model"]["vocab"].items()) parts.tokens[id] = token;
  for (const json& token : file["added_tokens"]) {
    parts.tokens[token["id"]] = token["content"];
    parts.token_types[token["id"]] = token["special"] ? 3 : 4;
  }
  for (std::size_t id = 0; id < size; ++id) parts.scores.push_back(-static_cast<float>(id));
  for (const json& merge : file["model"]["merges"])
    parts.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  return parts;
}

void check_same_ids(const char* name, const Tokenizer& tokenizer) {
  INFO(name);
  const auto expected = Tokenizer::from_pretrained((fixtures() / name).string());
  std::istringstream cases(text_test::read_file(fixtures() / name / "cases.jsonl"));
  for (std::string line; std::getline(cases, line);) {
    const json test = json::parse(line);
    if (test.contains("error")) continue;
    INFO(line);
    CHECK(tokenizer.encode(test["text"].get<std::string>()).ids ==
          expected.encode(test["text"].get<std::string>()).ids);
    const auto ids = test["ids"].get<std::vector<std::int32_t>>();
    CHECK(tokenizer.decode(ids) == expected.decode(ids));
  }
}

}  // namespace

TEST_CASE("from_parts: the tokenizer that a GGUF file's fields describe") {
  TokenizerParts smollm = parts_of("smollm", "gpt2", "smollm");
  smollm.eos_token_id = 0;
  smollm.chat_template = "{{ messages }}";
  const auto tokenizer = Tokenizer::from_parts(smollm);
  check_same_ids("smollm", tokenizer);
  CHECK(tokenizer.eos_token_id() == 0);
  CHECK(tokenizer.chat_template() == "{{ messages }}");
  check_same_ids("gpt2", Tokenizer::from_parts(parts_of("gpt2", "gpt2", "gpt-2")));
  TokenizerParts llama3 = parts_of("llama3", "gpt2", "llama-bpe");
  llama3.bos_token_id = 0;
  check_same_ids("llama3", Tokenizer::from_parts(llama3));
  TokenizerParts llama2 = parts_of("llama2", "llama", "default");
  llama2.unk_token_id = 0;
  llama2.bos_token_id = 1;
  llama2.token_types[0] = 2;
  const auto sentence_piece = Tokenizer::from_parts(llama2);
  check_same_ids("llama2", sentence_piece);
  const text_test::TemporaryFolder saved;
  sentence_piece.save_pretrained(saved.string());
  check_same_ids("llama2", Tokenizer::from_pretrained(saved.string()));
}

TEST_CASE("from_parts: fields that do not fit are refused by name") {
  const TokenizerParts good = parts_of("smollm", "gpt2", "smollm");
  const auto message = [&](const auto& change) {
    TokenizerParts parts = good;
    change(parts);
    try {
      Tokenizer::from_parts(parts, "model.gguf");
      return std::string();
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  const auto names = [](const std::string& text, const char* part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  CHECK(message([](TokenizerParts&) {}) == "");
  names(message([](TokenizerParts& p) { p.model = "rwkv"; }), "\"rwkv\"");
  names(message([](TokenizerParts& p) { p.pre = "viking"; }), "\"viking\"");
  names(message([](TokenizerParts& p) { p.tokens.clear(); }), "tokens");
  names(message([](TokenizerParts& p) { p.tokens[3] = "\xFF"; }), "token 3");
  names(message([](TokenizerParts& p) { p.token_types.pop_back(); }), "token_type");
  names(message([](TokenizerParts& p) { p.token_types[0] = 9; }), "token_type");
  names(message([](TokenizerParts& p) { p.merges.clear(); }), "merges");
  names(message([](TokenizerParts& p) { p.merges[4] = "nospace"; }), "merges at 4");
  names(message([](TokenizerParts& p) { p.bos_token_id = 1 << 20; }), "bos_token_id");
  names(message([](TokenizerParts& p) {
          p.model = "llama";
          p.scores.clear();
        }),
        "scores");
}
