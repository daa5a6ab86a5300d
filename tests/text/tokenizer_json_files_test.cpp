#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/text/regex.hpp>
#include <attune/text/tokenizer.hpp>
#include <attune/text/vocabulary.hpp>

#include "support.hpp"

using namespace attune;
using nlohmann::json;

namespace {

/// A byte-level tokenizer.json to be broken.
json small_tokenizer() {
  json vocabulary = json::object();
  for (int byte = 0; byte < 256; ++byte)
    vocabulary[detail::ByteAlphabet::get().encode(std::string(1, static_cast<char>(byte)))] = byte;
  vocabulary["he"] = 256;
  vocabulary["hel"] = 257;
  vocabulary["lo"] = 258;
  json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return {{"version", "1.0"},
          {"added_tokens", json::array({{{"id", 259}, {"content", "<s>"}, {"special", true}}})},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", byte_level},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", json::array({{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
                                    {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}})},
            {"pair", json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                                  {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}})},
            {"special_tokens",
             {{"<s>", {{"id", "<s>"}, {"ids", json::array({259})}, {"tokens", json::array({"<s>"})}}}}}}},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocabulary},
            {"merges", json::array({"h e", json::array({"he", "l"}), "l o"})}}}};
}

using Files = std::vector<std::pair<const char*, std::string>>;

/// What reading a folder with these files (name, content) and encoding ends with: "" or the kind of the error
/// and its message.
std::string outcome(const Files& files) {
  const text_test::TemporaryFolder folder;
  for (const auto& [name, content] : files) text_test::write_file(folder / name, content);
  try {
    const auto tokenizer = Tokenizer::from_pretrained(folder.string());
    const auto ids = tokenizer.encode("hello <s> wo\xC3\xA9rld 12 \xFF").ids;
    tokenizer.decode(ids);
    return "";
  } catch (const FormatError& error) {
    return std::string("FormatError ") + error.what();
  } catch (const ConfigError& error) {
    return std::string("ConfigError ") + error.what();
  } catch (const IoError& error) {
    return std::string("IoError ") + error.what();
  }
}

std::string with(const std::function<void(json&)>& change) {
  json tokenizer = small_tokenizer();
  change(tokenizer);
  return outcome({{"tokenizer.json", tokenizer.dump()}});
}

void expect(const std::string& found, const std::string& kind, const std::string& part) {
  INFO(found);
  CHECK(found.substr(0, kind.size()) == kind);
  CHECK(found.find(part) != std::string::npos);
}

json split(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

}  // namespace

TEST_CASE("tokenizer.json: what is not supported is refused by name") {
  REQUIRE(with([](json&) {}) == "");
  const auto refused = [](const char* field, const json& value, const char* part) {
    expect(with([&](json& t) { t[field] = value; }), "ConfigError", part);
  };
  refused("normalizer", {{"type", "Nmt"}}, "\"Nmt\"");
  refused("normalizer", {{"type", "ByteLevel"}}, "\"ByteLevel\"");
  refused("pre_tokenizer", {{"type", "UnicodeScripts"}}, "\"UnicodeScripts\"");
  refused("pre_tokenizer", {{"type", "FixedLength"}, {"length", 5}}, "\"FixedLength\"");
  refused("post_processor", {{"type", "Else"}}, "\"Else\"");
  refused("decoder", {{"type", "CTC"}}, "\"CTC\"");
  expect(with([](json& t) { t["model"]["type"] = "WordLevel"; }), "ConfigError", "\"WordLevel\"");
  expect(with([](json& t) { t["model"]["dropout"] = 0.1; }), "ConfigError", "dropout");
  expect(with([](json& t) {
           t["pre_tokenizer"] = {{"type", "Sequence"},
                                 {"pretokenizers", json::array({t["pre_tokenizer"], {{"type", "Digits"}}})}};
         }),
         "ConfigError", "behind ByteLevel");
  refused("post_processor",
          {{"type", "Sequence"},
           {"processors",
            json::array({small_tokenizer()["post_processor"], small_tokenizer()["post_processor"]})}},
          "behind another");
  refused("pre_tokenizer", split(R"([a&&b])"), "an intersection");
  refused("pre_tokenizer", split(R"([a[bc]])"), "a bracket in a bracket");
  refused("pre_tokenizer", split(R"(\h+)"), "\\h");
  refused("pre_tokenizer", split(R"((?m:a.b))"), "(?m");
  refused("pre_tokenizer", split(R"((?(1)a|b))"), "(?(");
  refused("pre_tokenizer", split(R"((*VERB)a)"), "(*");
  expect(outcome({{"vocab.json", "{\"a\": 0}"},
                  {"merges.txt", ""},
                  {"tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer"})"}}),
         "ConfigError", "\"CLIPTokenizer\"");
}

TEST_CASE("tokenizer.json: malformed files end in a typed error that names file and field") {
  expect(outcome({}), "IoError", "neither");
  expect(outcome({{"vocab.json", "{\"a\": 0}"}}), "IoError", "neither");
  CHECK_THROWS_AS(Tokenizer::from_pretrained("/nonexistent/folder"), IoError);
  expect(outcome({{"tokenizer.json", ""}}), "FormatError", "tokenizer.json");
  expect(outcome({{"tokenizer.json", "[]"}}), "FormatError", "expected an object");
  expect(outcome({{"tokenizer.json", std::string(100000, '[')}}), "FormatError", "tokenizer.json");
  expect(outcome({{"tokenizer.json", "{}"}}), "ConfigError", "model");
  expect(with([](json& t) { t["model"] = 3; }), "ConfigError", "model");
  expect(with([](json& t) { t["model"].erase("vocab"); }), "ConfigError", "vocab");
  expect(with([](json& t) { t["model"].erase("merges"); }), "ConfigError", "merges");
  expect(with([](json& t) { t["model"]["type"] = 4; }), "ConfigError", "type");
  expect(with([](json& t) { t["model"]["vocab"] = json::array(); }), "ConfigError", "vocab");
  expect(with([](json& t) { t["model"]["vocab"] = json::object(); }), "FormatError", "merge");
  expect(with([](json& t) { t["model"]["vocab"]["he"] = -1; }), "FormatError", "\"he\"");
  expect(with([](json& t) { t["model"]["vocab"]["he"] = 1.5; }), "FormatError", "\"he\"");
  expect(with([](json& t) { t["model"]["vocab"]["he"] = 1LL << 40; }), "FormatError", "\"he\"");
  expect(with([](json& t) { t["model"]["vocab"]["far"] = 2147483647; }), "ConfigError", "2147483647");
  expect(with([](json& t) { t["model"]["merges"] = "h e"; }), "ConfigError", "merges");
  expect(with([](json& t) { t["model"]["merges"][0] = "h  e"; }), "FormatError", "merges at 0");
  expect(with([](json& t) { t["model"]["merges"][0] = "he"; }), "FormatError", "merges at 0");
  expect(with([](json& t) { t["model"]["merges"][0] = 7; }), "FormatError", "merges at 0");
  expect(with([](json& t) { t["model"]["merges"][1] = json::array({"he"}); }), "FormatError", "merges at 1");
  expect(with([](json& t) { t["model"]["merges"][1] = "zz l"; }), "FormatError", "\"zz\"");
  expect(with([](json& t) { t["model"]["merges"][1] = "o o"; }), "FormatError", "\"oo\"");
  expect(with([](json& t) { t["model"]["unk_token"] = "<unk>"; }), "ConfigError", "<unk>");
  expect(with([](json& t) { t["model"]["byte_fallback"] = "yes"; }), "ConfigError", "byte_fallback");
  expect(with([](json& t) { t["added_tokens"] = 1; }), "ConfigError", "added_tokens");
  expect(with([](json& t) { t["added_tokens"][0].erase("content"); }), "ConfigError", "content");
  expect(with([](json& t) { t["added_tokens"][0]["lstrip"] = "x"; }), "ConfigError", "lstrip");
  expect(with([](json& t) { t["normalizer"] = "NFC"; }), "ConfigError", "normalizer");
  expect(with([](json& t) { t["normalizer"].erase("type"); }), "ConfigError", "type");
  expect(with([](json& t) { t["normalizer"] = {{"type", "Sequence"}}; }), "ConfigError", "normalizers");
  expect(with([](json& t) {
           t["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "!!"}};
         }),
         "FormatError", "base64");
  expect(with([](json& t) {
           t["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "////fw=="}};
         }),
         "FormatError", "precompiled_charsmap");
  expect(with([](json& t) {
           json many = json::array();
           for (int at = 0; at < 100; ++at) many.push_back({{"type", "NFC"}});
           t["normalizer"] = {{"type", "Sequence"}, {"normalizers", many}};
         }),
         "ConfigError", "too many");
  const auto pre = [](const json& value) { return with([&](json& t) { t["pre_tokenizer"] = value; }); };
  expect(pre(split("(a")), "ConfigError", "cannot be compiled");
  expect(pre(split("[a")), "ConfigError", "cannot be compiled");
  expect(pre(split("a\\")), "ConfigError", "cannot be compiled");
  expect(pre(split("\\p{Nonsense}")), "ConfigError", "cannot be compiled");
  expect(pre(split(std::string(100000, 'a'))), "ConfigError", "65536");
  expect(pre(split(std::string(2000, '(') + std::string(2000, ')'))), "ConfigError", "cannot be compiled");
  expect(pre({{"type", "Split"}, {"pattern", {{"String", ""}}}, {"behavior", "Removed"}}), "ConfigError",
         "String");
  expect(pre({{"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Sideways"}}), "ConfigError",
         "Sideways");
  expect(pre({{"type", "Split"}, {"behavior", "Removed"}}), "ConfigError", "pattern");
  expect(pre({{"type", "Metaspace"}, {"replacement", "ab"}}), "ConfigError", "replacement");
  expect(pre({{"type", "Metaspace"}, {"prepend_scheme", "last"}}), "ConfigError", "prepend_scheme");
  const auto post = [](const std::function<void(json&)>& change) {
    return with([&](json& t) { change(t["post_processor"]); });
  };
  expect(post([](json& p) { p["single"] = 5; }), "ConfigError", "single");
  expect(post([](json& p) { p["single"].erase(1); }), "ConfigError", "A once");
  expect(post([](json& p) { p["pair"].push_back(p["pair"][0]); }), "ConfigError", "A and B");
  expect(post([](json& p) { p["single"][0]["SpecialToken"]["id"] = "<x>"; }), "ConfigError", "<x>");
  expect(post([](json& p) { p["special_tokens"]["<s>"]["ids"][0] = 260; }), "ConfigError", "below 260");
  expect(post([](json& p) { p["special_tokens"]["<s>"]["ids"][0] = -1; }), "ConfigError", "below 260");
  expect(post([](json& p) { p["single"][0]["SpecialToken"]["type_id"] = -4; }), "ConfigError", "type_id");
  expect(post([](json& p) { p = {{"type", "BertProcessing"}, {"sep", "x"}}; }), "ConfigError", "cls");
  expect(with([](json& t) {
           t["decoder"] = {{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}};
         }),
         "ConfigError", "content");
  expect(with([](json& t) {
           t["decoder"] = {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}};
         }),
         "ConfigError", "start");
  const auto unigram = [](const std::function<void(json&)>& change) {
    return with([&](json& t) {
      t["pre_tokenizer"] = nullptr;
      t["post_processor"] = nullptr;
      t["model"] = {{"type", "Unigram"},
                    {"unk_id", 0},
                    {"vocab", json::array({json::array({"<unk>", 0.0}), json::array({"h", -1.5})})}};
      change(t["model"]);
    });
  };
  CHECK(unigram([](json&) {}) == "");
  expect(unigram([](json& m) { m["unk_id"] = 2; }), "ConfigError", "unk_id");
  expect(unigram([](json& m) { m["unk_id"] = nullptr; }), "ConfigError", "no unknown token");
  expect(unigram([](json& m) { m["vocab"] = json::object(); }), "ConfigError", "vocab");
  expect(unigram([](json& m) { m["vocab"][1][1] = "x"; }), "FormatError", "vocab[1]");
  expect(unigram([](json& m) { m["vocab"] = json::array(); }), "ConfigError", "unk_id");
  expect(with([](json& t) {
           t["pre_tokenizer"] = nullptr;
           t["model"] = {{"type", "WordPiece"}, {"vocab", {{"a", 0}}}};
         }),
         "ConfigError", "[UNK]");
}

TEST_CASE("vocab.json, merges.txt and configurations: malformed ones end in a typed error") {
  const json vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const auto merges = [&](const std::string& lines) {
    return outcome({{"vocab.json", vocabulary.dump()}, {"merges.txt", lines}});
  };
  CHECK(merges("#version: 0.2\na b\n") == "");
  CHECK(merges("a b\r\n") == "");
  CHECK(merges("") == "");
  expect(merges("a b\n\na b\n"), "FormatError", "merges.txt at 2");
  expect(merges("ab\n"), "FormatError", "merges.txt at 1");
  expect(merges("a b c\n"), "FormatError", "merges.txt at 1");
  expect(merges("#version: 0.2\na x\n"), "FormatError", "merges.txt at 2");
  expect(merges("b a\n"), "FormatError", "\"ba\"");
  expect(merges("a \xFF\n"), "FormatError", "not valid UTF-8");
  expect(outcome({{"vocab.json", "{"}, {"merges.txt", ""}}), "FormatError", "vocab.json");
  expect(outcome({{"vocab.json", "[]"}, {"merges.txt", ""}}), "ConfigError", "vocab");
  expect(outcome({{"vocab.json", "{}"}, {"merges.txt", ""}}), "ConfigError", "empty");
  expect(outcome({{"vocab.json", R"({"a": "b"})"}, {"merges.txt", ""}}), "FormatError", "\"a\"");
  const auto config = [&](const char* text) {
    return outcome({{"tokenizer.json", small_tokenizer().dump()}, {"tokenizer_config.json", text}});
  };
  CHECK(config(R"({"model_max_length": 1000000000000000019884624838656})") == "");
  expect(config("{"), "FormatError", "tokenizer_config.json");
  expect(config(R"({"model_max_length": 0})"), "ConfigError", "model_max_length");
  expect(config(R"({"eos_token": 5})"), "ConfigError", "eos_token");
  expect(config(R"({"added_tokens_decoder": []})"), "ConfigError", "added_tokens_decoder");
  expect(config(R"({"added_tokens_decoder": {"x": {"content": "a"}}})"), "ConfigError", "token id");
  expect(config(R"({"additional_special_tokens": "a"})"), "ConfigError", "additional_special_tokens");
  expect(config(R"({"chat_template": 3})"), "ConfigError", "chat_template");
  expect(config(R"({"chat_template": [{"name": "a"}]})"), "ConfigError", "template");
  expect(outcome({{"vocab.json", vocabulary.dump()},
                  {"merges.txt", ""},
                  {"tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer"})"}}),
         "ConfigError", "lacks");
}

TEST_CASE("configurations: special tokens, chat templates, lengths") {
  const text_test::TemporaryFolder folder;
  text_test::write_file(folder / "tokenizer.json", small_tokenizer().dump());
  text_test::write_file(folder / "tokenizer_config.json",
                        R"({"eos_token": "<end>", "bos_token": {"content": "<s>", "lstrip": false},
                            "additional_special_tokens": ["<more>"], "model_max_length": 77,
                            "chat_template": [{"name": "tools", "template": "T"},
                                              {"name": "default", "template": "D"}]})");
  const auto tokenizer = Tokenizer::from_pretrained(folder.string());
  CHECK(tokenizer.bos_token_id() == 259);
  CHECK(tokenizer.eos_token_id() == 260);
  CHECK(tokenizer.token_to_id("<more>") == 261);
  CHECK(tokenizer.vocab_size() == 262);
  CHECK(tokenizer.model_max_length() == 77);
  CHECK(tokenizer.chat_template() == "D");
  CHECK(tokenizer.encode("lo<end>").ids == std::vector<std::int32_t>{259, 258, 260});
  text_test::write_file(folder / "chat_template.jinja", "from a file");
  CHECK(Tokenizer::from_pretrained(folder.string()).chat_template() == "from a file");
  tokenizer.save_pretrained((folder / "saved").string());
  const auto read = Tokenizer::from_pretrained((folder / "saved").string());
  CHECK(read.chat_template() == "D");
  CHECK(read.model_max_length() == 77);
  CHECK(read.encode("lo<end><more>").ids == std::vector<std::int32_t>{259, 258, 260, 261});
}

TEST_CASE("every truncation and every flipped byte of tokenizer.json is read or ends in a typed error") {
  json small = small_tokenizer();
  json vocabulary = json::object();
  for (const char* token : {"h", "e", "l", "o", "he", "hel", "lo"}) vocabulary[token] = vocabulary.size();
  small["model"]["vocab"] = vocabulary;
  small["post_processor"] = nullptr;
  small["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers", json::array({split(R"(\p{L}+(?!x)|\d{1,3}+)"), small["pre_tokenizer"]})}};
  const std::string good = small.dump();
  REQUIRE(outcome({{"tokenizer.json", good}}) == "");
  int errors = 0, tries = 0;
  const auto attempt = [&](std::string broken) {
    ++tries;
    errors += outcome({{"tokenizer.json", std::move(broken)}}).empty() ? 0 : 1;
  };
  for (std::size_t length = 0; length < good.size(); ++length) attempt(good.substr(0, length));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const int flip : {0x01, 0x20, 0x80}) {
      std::string broken = good;
      broken[at] = static_cast<char>(broken[at] ^ flip);
      attempt(std::move(broken));
    }
  CHECK(tries > 2000);
  CHECK(errors > tries / 3);
}

TEST_CASE("a regular expression that takes too long ends in an error") {
  const detail::Regex regex("(a+)+$", "test");
  CHECK_THROWS_AS(regex.find(std::string(60, 'a') + "b", 0), ConfigError);
  const detail::Regex deep("(?:a|b)*c", "test");
  CHECK_FALSE(static_cast<bool>(deep.find(std::string(3000, 'a'), 0)));
}
