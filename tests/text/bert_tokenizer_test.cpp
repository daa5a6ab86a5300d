#include <cstdlib>
#include <set>
#include <sstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/text/bert_tokenizer.hpp>

#include "cases.hpp"
#include "support.hpp"

using namespace attune;
using nlohmann::json;

namespace {

void check_folder(const std::filesystem::path& folder, const std::filesystem::path& model) {
  INFO(model.string());
  const auto tokenizer = BertTokenizer::from_pretrained(model.string());
  const json expected = json::parse(text_test::read_file(folder / "expected.json"));
  CHECK(tokenizer.vocab_size() == expected["vocab_size"]);
  CHECK(tokenizer.pad_token_id() == expected["pad"]);
  CHECK(tokenizer.unk_token_id() == expected["unk"]);
  CHECK(tokenizer.cls_token_id() == expected["cls"]);
  CHECK(tokenizer.sep_token_id() == expected["sep"]);
  CHECK(tokenizer.mask_token_id() == expected["mask"]);
  std::vector<std::int64_t> special;
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.is_special(static_cast<std::int32_t>(id))) special.push_back(id);
  CHECK(json(special) == expected["special"]);
  std::istringstream cases(text_test::read_file(folder / "cases.jsonl"));
  int count = 0, wrong = 0;
  for (std::string line; std::getline(cases, line) && wrong < 10; ++count)
    if (!text_test::check_case(tokenizer, json::parse(line))) ++wrong;
  CHECK(count >= 100);
}

std::vector<std::filesystem::path> folders(const std::filesystem::path& root) {
  std::set<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    if (entry.is_directory()) found.insert(entry.path());
  return {found.begin(), found.end()};
}

}  // namespace

TEST_CASE("everything equals Hugging Face's fast tokenizer on the fixtures") {
  CHECK(folders(text_test::fixtures()).size() == 7);
  for (const auto& folder : folders(text_test::fixtures())) check_folder(folder, folder);
}

TEST_CASE("a saved tokenizer gives the same when it is read again") {
  for (const auto& folder : folders(text_test::fixtures())) {
    const text_test::TemporaryFolder saved;
    BertTokenizer::from_pretrained(folder.string()).save_pretrained(saved.string());
    check_folder(folder, saved.string());
  }
}

TEST_CASE("everything equals Hugging Face's fast tokenizer on further fixtures") {
  const char* root = std::getenv("ATTUNE_TOKENIZER_FIXTURES");
  if (!root) {
    MESSAGE("skipped: ATTUNE_TOKENIZER_FIXTURES names no folder (tests/text/generate.py --random makes one)");
    return;
  }
  for (const auto& folder : folders(root)) check_folder(folder, folder);
}

TEST_CASE("real texts and vocabularies: the ids of whole files") {
  if (!std::filesystem::exists(text_test::shared_data())) {
    MESSAGE("skipped: no folder ", text_test::shared_data().string());
    return;
  }
  const json files = json::parse(text_test::read_file(text_test::fixtures() / "data_hashes.json"));
  CHECK(files.size() == 5);
  for (const json& file : files) {
    INFO(file.dump());
    const text_test::TemporaryFolder model;
    const std::string vocab = "bert-base-" + file["vocab"].get<std::string>() + "-vocab.txt";
    std::filesystem::copy_file(text_test::shared_data() / "vocab" / vocab, model / "vocab.txt");
    const auto tokenizer = BertTokenizer::from_pretrained(model.string());
    const auto lines = text_test::split_lines(
        text_test::read_file(text_test::shared_data() / file["file"].get<std::string>()));
    CHECK(lines.size() == file["lines"]);
    const EncodedBatch batch = tokenizer.encode_packed(lines, {}, {.add_special_tokens = false});
    text_test::Hash hash;
    for (std::int64_t row = 0; row < batch.size(); ++row) {
      for (const std::int32_t id : batch.row(row)) hash.add(id);
      hash.add(-1);
    }
    CHECK(hash.hex() == file["hash"]);
  }
}

TEST_CASE("batches give the same rows for every number of threads") {
  const auto tokenizer = BertTokenizer::from_pretrained((text_test::fixtures() / "uncased").string());
  std::vector<std::string> texts, pairs;
  for (int row = 0; row < 1000; ++row) {
    texts.push_back("hello " + std::to_string(row * 7919) + " caf\u00e9 \u4e2d\u56fd");
    pairs.push_back(
        row % 3 == 0 ? "" : "unaffable running " + std::string(static_cast<std::size_t>(row % 20), 'a'));
  }
  const int before = num_threads();
  for (const EncodeOptions& options : {EncodeOptions{}, EncodeOptions{.max_length = 12}}) {
    std::int64_t truncated = 0;
    std::vector<Encoding> expected;
    for (std::size_t row = 0; row < texts.size(); ++row) {
      expected.push_back(tokenizer.encode_pair(texts[row], pairs[row], options));
      truncated += expected.back().truncated ? 1 : 0;
    }
    CHECK((truncated > 0) == (options.max_length > 0));
    for (const int threads : {1, 2, 3, 4}) {
      set_num_threads(threads);
      const EncodedBatch batch = tokenizer.encode_packed(texts, pairs, options);
      const std::vector<Encoding> rows = tokenizer.encode_batch(texts, pairs, options);
      REQUIRE(batch.size() == 1000);
      REQUIRE(rows.size() == 1000);
      CHECK(batch.truncated_rows == truncated);
      for (std::size_t row = 0; row < texts.size(); ++row) {
        const auto ids = batch.row(static_cast<std::int64_t>(row));
        const auto types = batch.row_type_ids(static_cast<std::int64_t>(row));
        REQUIRE(std::vector(ids.begin(), ids.end()) == expected[row].ids);
        REQUIRE(std::vector(types.begin(), types.end()) == expected[row].type_ids);
        REQUIRE(rows[row].ids == expected[row].ids);
        REQUIRE(rows[row].offsets == expected[row].offsets);
      }
    }
  }
  set_num_threads(before);
}

TEST_CASE("invalid UTF-8 is read as replacement characters, which offsets count") {
  const auto tokenizer =
      BertTokenizer::from_vocab({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b"});
  const Encoding encoding = tokenizer.encode("a\xFF\xFE b \xE4\xB8");
  CHECK(encoding.ids == std::vector<std::int32_t>{2, 5, 6, 3});
  CHECK(encoding.offsets[2] == TextSpan{4, 5});
  CHECK(tokenizer
            .encode(std::string_view("a\x80"
                                     "b"))
            .ids == std::vector<std::int32_t>{2, 5, 7, 3});
}

TEST_CASE("different tokenizers on one thread do not mix up their words") {
  const std::vector<std::string> special{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  std::vector<std::string> one = special, other = special;
  one.insert(one.end(), {"word", "other"});
  other.insert(other.end(), {"other", "word"});
  const auto first = BertTokenizer::from_vocab(one), second = BertTokenizer::from_vocab(other);
  const std::vector<std::string> text{"word other word"};
  for (int round = 0; round < 3; ++round) {
    CHECK(first.encode_packed(text).ids == std::vector<std::int32_t>{2, 5, 6, 5, 3});
    CHECK(second.encode_packed(text).ids == std::vector<std::int32_t>{2, 6, 5, 6, 3});
  }
}

TEST_CASE("vocabularies: lookups, missing special tokens, options that are refused") {
  const auto tokenizer = BertTokenizer::from_vocab({"a", "[UNK]", "b"});
  CHECK(tokenizer.vocab_size() == 7);  // [SEP], [PAD], [CLS], [MASK] are added in this order
  CHECK(tokenizer.sep_token_id() == 3);
  CHECK(tokenizer.mask_token_id() == 6);
  CHECK(tokenizer.token_to_id("b") == 2);
  CHECK(tokenizer.token_to_id("[MASK]") == 6);
  CHECK_FALSE(tokenizer.token_to_id("c").has_value());
  CHECK(tokenizer.id_to_token(0) == "a");
  CHECK(tokenizer.id_to_token(5) == "[CLS]");
  CHECK_THROWS_AS(tokenizer.id_to_token(7), ConfigError);
  CHECK_THROWS_AS(tokenizer.id_to_token(-1), ConfigError);
  CHECK(tokenizer.decode(std::vector<std::int32_t>{0, 99, -5, 2}) == "a b");
  CHECK_THROWS_AS(BertTokenizer::from_vocab({"a"}), ConfigError);
  CHECK_THROWS_AS(BertTokenizer::from_vocab({"[UNK]", "\xFF"}), ConfigError);
  CHECK_THROWS_AS(BertTokenizer::from_vocab({"[UNK]"}, {.cls_token = ""}), ConfigError);
  CHECK_THROWS_AS(BertTokenizer::from_vocab({"[UNK]"}, {.max_input_chars_per_word = -1}), ConfigError);
  CHECK_THROWS_AS(tokenizer.encode("a", {.max_length = 1}), ConfigError);
  CHECK_THROWS_AS(tokenizer.encode("a", {.max_length = -7}), ConfigError);
  CHECK_THROWS_AS(tokenizer.encode("a", {.max_length = -7, .add_special_tokens = false}), ConfigError);
  CHECK_THROWS_AS(tokenizer.encode_pair("a", "b", {.max_length = 2}), ConfigError);
  const std::vector<std::string> two{"a", "b"}, one{"a"};
  CHECK_THROWS_AS(tokenizer.encode_packed(two, one), ShapeError);
  CHECK_THROWS_AS(tokenizer.encode_batch(two, one), ShapeError);
  CHECK(tokenizer.encode_packed({}).size() == 0);
}
