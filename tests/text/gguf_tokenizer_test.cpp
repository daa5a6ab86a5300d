// Tokenizers in GGUF files, against files that gguf-py wrote (generate_gguf_tokenizers.py) and the ids of
// Hugging Face's tokenizers.
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/formats/gguf.hpp>
#include <attune/text/gguf_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>

#include "support.hpp"

using namespace attune;
using nlohmann::json;

namespace {

std::string fixture(const std::string& name) {
  return std::string(ATTUNE_SOURCE_DIR) + "/tests/text/fixtures_gguf/" + name + ".gguf";
}
std::string folder(const std::string& name) {
  return std::string(ATTUNE_SOURCE_DIR) + "/tests/text/fixtures_tokenizer/" + name;
}

/// The ids and the text of every case that Hugging Face's tokenizer was asked.
void check_cases(const std::string& name, const Tokenizer& tokenizer) {
  INFO(name);
  std::istringstream cases(text_test::read_file(folder(name) + "/cases.jsonl"));
  int count = 0;
  for (std::string line; std::getline(cases, line);) {
    const json test = json::parse(line);
    if (test.contains("error") || test.contains("pair") || test.contains("max_length")) continue;
    INFO(line);
    const bool bare = test.contains("bare") && test["bare"] == true;
    const auto ids = test["ids"].get<std::vector<std::int32_t>>();
    CHECK(tokenizer.encode(test["text"].get<std::string>(), {.add_special_tokens = !bare}).ids == ids);
    CHECK(tokenizer.decode(ids) == test["decoded"]);
    ++count;
  }
  CHECK(count > 50);
}

/// A file with this metadata and no tensors.
void save(const std::string& path, const GgufMetadata& metadata) {
  save_gguf(path, metadata, {}, [](std::size_t) { return std::span<const std::byte>(); });
}

/// What is said of smollm's file when one of its fields is another, or missing.
std::string error_with(const std::string& key, const std::optional<GgufValue>& value) {
  const GgufFile good = GgufFile::open(fixture("smollm"));
  GgufMetadata changed;
  for (const auto& [name, old] : good.metadata().entries())
    if (name != key) changed.set(name, old);
  if (value) changed.set(key, *value);
  const text_test::TemporaryFolder folder;
  const std::string path = (folder / "x.gguf").string();
  save(path, changed);
  try {
    Tokenizer::from_pretrained(path);
  } catch (const ConfigError& error) {
    return std::string(error.what());
  } catch (const FormatError& error) {
    return std::string(error.what());
  }
  return "none";
}

}  // namespace

TEST_CASE("GGUF tokenizers: fields that gguf-py wrote give the ids of Hugging Face's tokenizers") {
  for (const char* name : {"smollm", "llama3", "gpt2", "llama2"}) {
    const Tokenizer tokenizer = Tokenizer::from_pretrained(fixture(name));
    check_cases(name, tokenizer);
    const Tokenizer original = Tokenizer::from_pretrained(folder(name));
    CHECK(tokenizer.vocab_size() == original.vocab_size() + 2);
    CHECK(tokenizer.model_max_length() == 512);
    for (const char* token : {"bos_token", "eos_token", "unk_token"})
      CHECK(tokenizer.special_token(token) == original.special_token(token));
    const text_test::TemporaryFolder saved;
    tokenizer.save_pretrained(saved.string());
    check_cases(name, Tokenizer::from_pretrained(saved.string()));
  }
  CHECK(Tokenizer::from_pretrained(fixture("smollm")).chat_template() == "{{ messages[0].content }}");
}

TEST_CASE("GGUF tokenizers: a directory becomes the fields that gguf-py and llama.cpp's converter write") {
  for (const char* name : {"smollm", "llama3", "gpt2"}) {
    INFO(name);
    const GgufFile wanted = GgufFile::open(fixture(name));
    const auto size = static_cast<std::int64_t>(wanted.metadata().strings("tokenizer.ggml.tokens").size());
    const GgufMetadata found = tokenizer_to_gguf(folder(name), size);
    std::size_t equal = 0;
    for (const auto& [key, value] : wanted.metadata().entries()) {
      if (!key.starts_with("tokenizer.") || key == "tokenizer.chat_template") continue;
      INFO(key);
      if (key == "tokenizer.ggml.add_sep_token") {  // written when a pair has no separator, too
        CHECK_FALSE(*wanted.metadata().boolean(key));
        continue;
      }
      const GgufValue* other = found.find(key);
      REQUIRE(other);
      CHECK(*other == value);
      ++equal;
    }
    CHECK(equal >= 6);
    const text_test::TemporaryFolder saved;
    GgufMetadata whole = found;
    whole.set("general.architecture", GgufValue::of_string("llama"));
    save((saved / "again.gguf").string(), whole);
    check_cases(name, Tokenizer::from_pretrained((saved / "again.gguf").string()));
  }
}

TEST_CASE("GGUF tokenizers: fields that do not fit are refused by their names") {
  const auto names = [](const std::string& found, const std::string& field, const std::string& what) {
    INFO(found);
    CHECK(found.find("tokenizer.ggml." + field) != std::string::npos);
    CHECK(found.find(what) != std::string::npos);
  };
  const auto text = [](const char* value) { return GgufValue::of_string(value); };
  const auto types = [](std::int32_t first) {
    const auto size = GgufFile::open(fixture("smollm")).metadata().strings("tokenizer.ggml.tokens").size();
    std::vector<std::int32_t> values(size, 1);
    values[0] = first;
    return GgufValue::of_array(GgufArray::of_i32(values));
  };
  const std::string ggml = "tokenizer.ggml.";
  REQUIRE(error_with("other", text("x")) == "none");
  names(error_with(ggml + "model", std::nullopt), "model", "");
  names(error_with(ggml + "model", GgufValue::of_u32(1)), "model", "string");
  names(error_with(ggml + "model", text("bert")), "model", "bert");
  names(error_with(ggml + "pre", text("viking")), "pre", "viking");
  names(error_with(ggml + "tokens", std::nullopt), "tokens", "found 0");
  names(error_with(ggml + "tokens", text("abc")), "tokens", "array");
  names(error_with(ggml + "tokens", GgufValue::of_array(GgufArray::of_i32({1, 2}))), "tokens", "string");
  names(error_with(ggml + "token_type", types(7)), "token_type", "found 7");
  names(error_with(ggml + "token_type", types(-1)), "token_type", "found -1");
  names(error_with(ggml + "token_type", GgufValue::of_array(GgufArray::of_i32({1}))), "token_type",
        "found 1");
  names(error_with(ggml + "token_type", GgufValue::of_array(GgufArray::of_strings({"a"}))), "token_type",
        "integer");
  names(error_with(ggml + "merges", std::nullopt), "merges", "found none");
  names(error_with(ggml + "merges", GgufValue::of_array(GgufArray::of_strings({"a"}))), "merges", "0");
  names(error_with(ggml + "merges", GgufValue::of_array(GgufArray::of_strings({"no such"}))), "merges", "0");
  names(error_with(ggml + "bos_token_id", GgufValue::of_u32(1 << 20)), "bos_token_id", "1048576");
  names(error_with(ggml + "eos_token_id", text("</s>")), "eos_token_id", "integer");
  names(error_with(ggml + "add_bos_token", GgufValue::of_u32(1)), "add_bos_token", "bool");
}

TEST_CASE("GGUF tokenizers: what llama.cpp has no name for is not written") {
  const auto error = [](const std::string& directory, std::int64_t vocab_size = 4096) {
    try {
      tokenizer_to_gguf(directory, vocab_size);
    } catch (const Error& failure) {
      return std::string(failure.what());
    }
    return std::string("none");
  };
  const auto contains = [](const std::string& found, const char* what) {
    INFO(found);
    CHECK(found.find(what) != std::string::npos);
  };
  CHECK(error(folder("smollm")) == "none");
  contains(error(folder("smollm"), 0), "vocab_size: expected 1 to 16777216, found 0");
  contains(error(folder("smollm"), 10), "tokens, the model only 10");
  contains(error(folder("unigram")), "only BPE");
  contains(error(folder("word_piece")), "only BPE");
  contains(error(folder("llama2")), "byte fallback");
  contains(error(folder("prefix_space")), "pre_tokenizer");
  contains(error(folder("other_regexes")), "pre_tokenizer");
  contains(error("nowhere"), "nowhere");
  const text_test::TemporaryFolder broken;
  text_test::write_file(broken / "tokenizer.json", "[]");
  contains(error(broken.string()), "expected an object");
  json file = json::parse(text_test::read_file(folder("smollm") + "/tokenizer.json"));
  file["model"]["vocab"]["a"] = 1 << 30;
  text_test::write_file(broken / "tokenizer.json", file.dump());
  contains(error(broken.string()), "out of range");
  file["model"]["vocab"]["a"] = "b";
  text_test::write_file(broken / "tokenizer.json", file.dump());
  contains(error(broken.string()), "expected integers");
}
