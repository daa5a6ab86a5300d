#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/log.hpp>
#include <attune/text/bert_tokenizer.hpp>

#include "support.hpp"

using namespace attune;
using nlohmann::json;

namespace {

const std::vector<std::string> small_vocabulary{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
                                                "hello", "wor",   "##ld",  "Hello"};

/// A valid tokenizer.json to be broken.
json small_tokenizer() {
  const text_test::TemporaryFolder folder;
  BertTokenizer::from_vocab(small_vocabulary).save_pretrained(folder.string());
  return json::parse(text_test::read_file(folder / "tokenizer.json"));
}

/// What reading a folder with these files (name, content) ends with: "" or the kind of the error and its
/// message.
std::string outcome(const std::vector<std::pair<const char*, std::string>>& files) {
  const text_test::TemporaryFolder folder;
  for (const auto& [name, content] : files) text_test::write_file(folder / name, content);
  try {
    const auto tokenizer = BertTokenizer::from_pretrained(folder.string());
    tokenizer.encode("hello world [MASK] \xFF");
    return "";
  } catch (const FormatError& error) {
    return std::string("FormatError ") + error.what();
  } catch (const ConfigError& error) {
    return std::string("ConfigError ") + error.what();
  } catch (const IoError& error) {
    return std::string("IoError ") + error.what();
  }
}

void expect(const std::string& found, const char* kind, const char* part) {
  INFO("expected ", kind, " about ", part, ", found: ", found);
  CHECK(found.rfind(kind, 0) == 0);
  CHECK(found.find(part) != std::string::npos);
}

std::string lines_of(const std::vector<std::string>& tokens) {
  std::string lines;
  for (const std::string& token : tokens) lines += token + "\n";
  return lines;
}

}  // namespace

TEST_CASE(
    "vocab.txt: line ends, white space at ends, empty lines and repeated tokens as Hugging Face reads them") {
  const text_test::TemporaryFolder folder;
  text_test::write_file(folder / "vocab.txt", "[UNK]\r\na \r\nb\xE3\x80\x80\n\n\na\nc");
  const auto tokenizer = BertTokenizer::from_pretrained(folder.string());
  CHECK(tokenizer.token_to_id("a") == 5);
  CHECK(tokenizer.token_to_id("b") == 2);
  CHECK(tokenizer.token_to_id("c") == 6);
  CHECK(tokenizer.token_to_id("[SEP]") == 5);  // numbered from the number of different tokens on
  CHECK(tokenizer.encode("a b c").ids == std::vector<std::int32_t>{7, 5, 2, 6, 5});
  CHECK(tokenizer.model_max_length() == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("tokenizer_config.json counts for Bert's class, tokenizer.json for the generic one") {
  json tokenizer = small_tokenizer();
  tokenizer["normalizer"]["lowercase"] = false;
  const auto first_id = [&](const char* config) {
    const text_test::TemporaryFolder folder;
    text_test::write_file(folder / "tokenizer.json", tokenizer.dump());
    if (config) text_test::write_file(folder / "tokenizer_config.json", config);
    return BertTokenizer::from_pretrained(folder.string()).encode("Hello").ids[1];
  };
  std::vector<std::string> messages;
  set_log_sink([&](LogLevel, std::string_view message) { messages.emplace_back(message); });
  CHECK(first_id(nullptr) == 5);
  CHECK(messages.size() == 1);  // the contradiction is told
  CHECK(first_id(R"({"tokenizer_class": "BertTokenizer"})") == 5);
  CHECK(first_id(R"({"do_lower_case": false})") == 8);
  CHECK(messages.size() == 2);
  CHECK(first_id(R"({"tokenizer_class": "PreTrainedTokenizerFast"})") == 8);
  CHECK(first_id(R"({"tokenizer_class": "TokenizersBackend"})") == 8);
  CHECK(messages.size() == 2);
  set_log_sink({});
}

TEST_CASE("options survive saving") {
  BertTokenizerOptions options{.do_lower_case = false,
                               .strip_accents = true,
                               .tokenize_chinese_chars = false,
                               .model_max_length = 77,
                               .clean_up_tokenization_spaces = true};
  for (const bool plain : {true, false}) {
    if (!plain) {
      options.clean_text = false;
      options.max_input_chars_per_word = 3;
      options.continuing_subword_prefix = "~";
    }
    const text_test::TemporaryFolder folder;
    BertTokenizer::from_vocab(small_vocabulary, options).save_pretrained((folder / "deep").string());
    const BertTokenizerOptions read = BertTokenizer::from_pretrained((folder / "deep").string()).options();
    CHECK(read.do_lower_case == options.do_lower_case);
    CHECK(read.strip_accents == options.strip_accents);
    CHECK(read.tokenize_chinese_chars == options.tokenize_chinese_chars);
    CHECK(read.clean_text == options.clean_text);
    CHECK(read.max_input_chars_per_word == options.max_input_chars_per_word);
    CHECK(read.continuing_subword_prefix == options.continuing_subword_prefix);
    CHECK(read.model_max_length == 77);
    CHECK(read.clean_up_tokenization_spaces);
    CHECK(read.added_tokens.size() == 5);
  }
}

TEST_CASE("vocab.txt is written so that line numbers stay ids") {
  const text_test::TemporaryFolder folder;
  auto tokens = small_vocabulary;
  tokens.insert(tokens.end(), {"two\nlines", "last"});
  BertTokenizer::from_vocab(tokens).save_pretrained(folder.string());
  CHECK(text_test::read_file(folder / "vocab.txt") == lines_of(small_vocabulary) + "\nlast\n");
  const auto read = BertTokenizer::from_pretrained(folder.string());
  CHECK(read.token_to_id("two\nlines") == 9);
  std::filesystem::remove(folder / "tokenizer.json");
  CHECK(BertTokenizer::from_pretrained(folder.string()).token_to_id("last") == 10);
}

TEST_CASE("missing files and folders") {
  expect(outcome({}), "IoError", "neither");
  expect(outcome({{"tokenizer_config.json", "{}"}}), "IoError", "neither");
  CHECK_THROWS_AS(BertTokenizer::from_pretrained("/nonexistent/folder"), IoError);
  const text_test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "vocab.txt");
  CHECK_THROWS_AS(BertTokenizer::from_pretrained(folder.string()), IoError);
  text_test::write_file(folder / "file", "");
  CHECK_THROWS_AS(BertTokenizer::from_vocab(small_vocabulary).save_pretrained((folder / "file").string()),
                  IoError);
}

TEST_CASE("other kinds of tokenizers are refused by name") {
  const auto with = [](const std::function<void(json&)>& change) {
    json tokenizer = small_tokenizer();
    change(tokenizer);
    return outcome({{"tokenizer.json", tokenizer.dump()}});
  };
  CHECK(with([](json&) {}) == "");
  expect(with([](json& t) { t["model"]["type"] = "BPE"; }), "ConfigError", "\"BPE\"");
  expect(with([](json& t) { t["model"]["type"] = "Unigram"; }), "ConfigError", "\"Unigram\"");
  expect(with([](json& t) { t["normalizer"] = {{"type", "Lowercase"}}; }), "ConfigError", "\"Lowercase\"");
  expect(with([](json& t) {
           t["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array()}};
         }),
         "ConfigError", "\"Sequence\"");
  expect(with([](json& t) { t["normalizer"] = nullptr; }), "ConfigError", "normalizer");
  expect(with([](json& t) {
           t["pre_tokenizer"] = {{"type", "Whitespace"}};
         }),
         "ConfigError", "\"Whitespace\"");
  expect(with([](json& t) { t.erase("pre_tokenizer"); }), "ConfigError", "pre_tokenizer");
  expect(with([](json& t) { t["post_processor"]["type"] = "RobertaProcessing"; }), "ConfigError",
         "\"RobertaProcessing\"");
  expect(with([](json& t) { t["post_processor"]["pair"].erase(0); }), "ConfigError", "template");
  expect(with([](json& t) { t["post_processor"]["pair"][3]["Sequence"]["type_id"] = 0; }), "ConfigError",
         "template");
  expect(with([](json& t) { t["decoder"]["type"] = "ByteLevel"; }), "ConfigError", "\"ByteLevel\"");
  CHECK(with([](json& t) { t["post_processor"] = nullptr; }) == "");
  CHECK(with([](json& t) { t["decoder"] = nullptr; }) == "");
  CHECK(with([](json& t) { t["model"].erase("type"); }) == "");
  expect(with([](json& t) {
           t["model"].erase("type");
           t["model"]["merges"] = json::array();
         }),
         "ConfigError", "\"BPE\"");
  const std::string vocabulary = lines_of(small_vocabulary);
  const auto config = [&](const char* text) {
    return outcome({{"vocab.txt", vocabulary}, {"tokenizer_config.json", text}});
  };
  CHECK(config(R"({"tokenizer_class": "DistilBertTokenizerFast"})") == "");
  expect(config(R"({"tokenizer_class": "BertJapaneseTokenizer"})"), "ConfigError",
         "\"BertJapaneseTokenizer\"");
  expect(config(R"({"tokenizer_class": "RobertaTokenizer"})"), "ConfigError", "\"RobertaTokenizer\"");
}

TEST_CASE("malformed files end in a typed error that names file and field") {
  const auto with = [](const std::function<void(json&)>& change) {
    json tokenizer = small_tokenizer();
    change(tokenizer);
    return outcome({{"tokenizer.json", tokenizer.dump()}});
  };
  expect(outcome({{"tokenizer.json", ""}}), "FormatError", "tokenizer.json");
  expect(outcome({{"tokenizer.json", "[]"}}), "FormatError", "tokenizer.json");
  expect(outcome({{"tokenizer.json", std::string(100000, '[')}}), "FormatError", "tokenizer.json");
  expect(outcome({{"tokenizer.json", "{}"}}), "ConfigError", "normalizer");
  expect(with([](json& t) { t["model"] = 3; }), "ConfigError", "model");
  expect(with([](json& t) { t["model"].erase("vocab"); }), "ConfigError", "vocab");
  expect(with([](json& t) { t["model"]["vocab"] = json::array(); }), "ConfigError", "vocab");
  expect(with([](json& t) { t["model"]["vocab"]["hello"] = -1; }), "FormatError", "hello");
  expect(with([](json& t) { t["model"]["vocab"]["hello"] = 1.5; }), "FormatError", "hello");
  expect(with([](json& t) { t["model"]["vocab"]["hello"] = "5"; }), "FormatError", "hello");
  expect(with([](json& t) { t["model"]["vocab"]["hello"] = 1LL << 40; }), "FormatError", "hello");
  expect(with([](json& t) { t["model"]["vocab"].erase("[UNK]"); }), "ConfigError", "[UNK]");
  expect(with([](json& t) { t["model"]["max_input_chars_per_word"] = -1; }), "ConfigError",
         "max_input_chars");
  expect(with([](json& t) { t["added_tokens"] = 1; }), "ConfigError", "added_tokens");
  expect(with([](json& t) { t["added_tokens"][0].erase("id"); }), "ConfigError", "id");
  expect(with([](json& t) { t["added_tokens"][0]["content"] = 5; }), "ConfigError", "content");
  expect(with([](json& t) { t["added_tokens"][0]["lstrip"] = "yes"; }), "ConfigError", "lstrip");
  expect(with([](json& t) { t["post_processor"]["pair"] = "x"; }), "ConfigError", "pair");
  expect(with([](json& t) { t["normalizer"]["lowercase"] = "x"; }), "ConfigError", "lowercase");
  // A sparse vocabulary is no reason to reserve memory for what lies between.
  CHECK(with([](json& t) { t["model"]["vocab"]["far"] = 2147483647; }) == "");

  const std::string vocabulary = lines_of(small_vocabulary);
  expect(outcome({{"vocab.txt", ""}}), "ConfigError", "[UNK]");
  expect(outcome({{"vocab.txt", vocabulary + "\xFF\xFE\n"}}), "FormatError", "vocab.txt at 10");
  expect(outcome({{"vocab.txt", vocabulary + std::string(std::size_t{17} << 20, 'x')}}), "FormatError",
         "vocab.txt");
  const auto config = [&](const char* text) {
    return outcome({{"vocab.txt", vocabulary}, {"tokenizer_config.json", text}});
  };
  expect(config("{"), "FormatError", "tokenizer_config.json");
  expect(config(R"({"do_lower_case": "yes"})"), "ConfigError", "do_lower_case");
  expect(config(R"({"strip_accents": 1})"), "ConfigError", "strip_accents");
  expect(config(R"({"model_max_length": 0})"), "ConfigError", "model_max_length");
  expect(config(R"({"model_max_length": "512"})"), "ConfigError", "model_max_length");
  CHECK(config(R"({"model_max_length": 1000000000000000019884624838656})") == "");
  expect(config(R"({"cls_token": 5})"), "ConfigError", "cls_token");
  expect(config(R"({"cls_token": null})"), "ConfigError", "cls_token");
  expect(config(R"({"cls_token": ""})"), "ConfigError", "special token");
  expect(config(R"({"unk_token": "<u>"})"), "ConfigError", "<u>");
  expect(config(R"({"added_tokens_decoder": []})"), "ConfigError", "added_tokens_decoder");
  expect(config(R"({"added_tokens_decoder": {"x": {"content": "a"}}})"), "ConfigError", "token id");
  expect(config(R"({"added_tokens_decoder": {"99999999999999999999": {"content": "a"}}})"), "ConfigError",
         "token id");
  expect(config(R"({"additional_special_tokens": "a"})"), "ConfigError", "additional_special_tokens");
  expect(config(R"({"additional_special_tokens": [1]})"), "ConfigError", "additional_special_tokens");
  expect(outcome({{"vocab.txt", vocabulary}, {"special_tokens_map.json", "[1]"}}), "FormatError",
         "special_tokens_map.json");
  expect(outcome({{"vocab.txt", vocabulary}, {"added_tokens.json", R"({"a": "b"})"}}), "ConfigError",
         "added_tokens.json");
}

TEST_CASE("every truncation and every flipped byte of the files is read or ends in a typed error") {
  const text_test::TemporaryFolder saved;
  BertTokenizer::from_vocab({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##\u00e9"})
      .save_pretrained(saved.string());
  // outcome() lets anything else than a typed error through, and that fails the test.
  int errors = 0, tries = 0;
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"}) {
    const std::string good = name == std::string("vocab.txt")
                                 ? text_test::read_file(saved / name)
                                 : json::parse(text_test::read_file(saved / name)).dump();
    std::vector<std::pair<const char*, std::string>> files{{name, good}};
    if (name != std::string("tokenizer.json") && name != std::string("vocab.txt"))
      files.emplace_back("vocab.txt", text_test::read_file(saved / "vocab.txt"));
    REQUIRE(outcome(files) == "");
    const auto attempt = [&](std::string broken) {
      files[0].second = std::move(broken);
      ++tries;
      errors += outcome(files).empty() ? 0 : 1;
    };
    for (std::size_t length = 0; length < good.size(); ++length) attempt(good.substr(0, length));
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (const int flip : {0x01, 0x20, 0x80}) {
        std::string broken = good;
        broken[at] = static_cast<char>(broken[at] ^ flip);
        attempt(std::move(broken));
      }
    }
  }
  CHECK(tries > 5000);
  CHECK(errors > tries / 2);
}
