// The files of sentence-transformers: what is written, what is honoured, what is refused.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "small_models.hpp"

using namespace attune;
using attune::testing::random_batch;
using attune::testing::small_config;
using attune::testing::TemporaryDirectory;

namespace {

using Model = BertForSentenceEmbedding<float, Cpu>;

void write(const TemporaryDirectory& directory, const std::string& name, const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(directory.path()) / name;
  std::filesystem::create_directories(path.parent_path());
  write_text_file(path.string(), text);
}

std::string modules(const std::string& types) {
  std::string text = "[";
  for (std::size_t begin = 0; begin < types.size();) {
    const std::size_t end = std::min(types.find(' ', begin), types.size());
    const std::string name = types.substr(begin, end - begin);
    text += text.size() > 1 ? "," : "";
    text += "{\"type\": \"sentence_transformers.models." + name + "\", \"path\": \"" +
            (name == "Transformer" ? "" : "1_" + name) + "\"}";
    begin = end + 1;
  }
  return text + "]";
}

/// The message of what a directory with these files is refused with.
std::string refusal(const std::vector<std::pair<std::string, std::string>>& files) {
  const TemporaryDirectory directory;
  for (const auto& [name, text] : files) write(directory, name, text);
  try {
    SentenceEmbeddingConfig::from_pretrained(directory.path());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  CAPTURE(text);
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("sentence embeddings: saved with sentence-transformers' files, and read back with them") {
  for (const Pooling pooling : {Pooling::mean, Pooling::cls}) {
    const TemporaryDirectory directory;
    Model model = Model::from_config(small_config());
    model.sentence_config.pooling = pooling;
    model.sentence_config.max_seq_length = 17;
    model.save_pretrained(directory.path());

    const auto parts = read_json(directory.path() + "/modules.json");
    REQUIRE(parts.size() == 3);
    CHECK(parts[0]["type"] == "sentence_transformers.models.Transformer");
    CHECK(parts[0]["path"] == "");
    CHECK(parts[1]["type"] == "sentence_transformers.models.Pooling");
    CHECK(parts[1]["path"] == "1_Pooling");
    CHECK(parts[2]["type"] == "sentence_transformers.models.Normalize");
    const auto pooled = read_json(directory.path() + "/1_Pooling/config.json");
    CHECK(pooled["word_embedding_dimension"] == 32);
    CHECK(pooled["pooling_mode_mean_tokens"] == (pooling == Pooling::mean));
    CHECK(pooled["pooling_mode_cls_token"] == (pooling == Pooling::cls));
    CHECK(read_json(directory.path() + "/sentence_bert_config.json")["max_seq_length"] == 17);
    CHECK(read_json(directory.path() + "/config_sentence_transformers.json")["similarity_fn_name"] ==
          "cosine");

    Model read = Model::from_pretrained(directory.path());
    CHECK(read.sentence_config.pooling == pooling);
    CHECK(read.max_seq_length() == 17);
    model.eval();
    read.eval();
    const Batch batch = random_batch({3, 5});
    CHECK(read(batch).to_vector() == model(batch).to_vector());
  }
}

TEST_CASE("sentence embeddings: pooling takes the mean of the states or the first one, and gradients flow") {
  Model model = Model::from_config(small_config());
  const Batch batch = random_batch({3, 5});
  const auto states =
      BertModel<float, Cpu>::from_config(small_config())(batch).last_hidden_state;  // equal seeds
  const auto first = l2_normalize(gather_rows(states, RowIndex<Cpu>(Cpu(), std::vector<std::int32_t>{0, 3})));
  model.sentence_config.pooling = Pooling::cls;
  const auto found = model(batch);
  const auto expected = first.to_vector();
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(found.to_vector()[i] == doctest::Approx(expected[i]).epsilon(1e-5));
  sum(found * found * found).backward();
  CHECK(audit_gradients(model.parameters()).passed());
  CHECK(!model.encoder.pooler->dense.weight.trainable());
}

TEST_CASE("sentence embeddings: the length is what the files say, and never more than the positions") {
  const TemporaryDirectory directory;
  Model::from_config(small_config()).save_pretrained(directory.path());  // 40 positions
  CHECK(Model::from_pretrained(directory.path()).max_seq_length() == 40);
  write(directory, "sentence_bert_config.json", "{\"max_seq_length\": 41}");
  CHECK(Model::from_pretrained(directory.path()).max_seq_length() == 40);
  write(directory, "sentence_bert_config.json", "{\"max_seq_length\": null}");
  write(directory, "tokenizer_config.json", "{\"model_max_length\": 30}");
  CHECK(Model::from_pretrained(directory.path()).max_seq_length() == 30);
  write(directory, "tokenizer_config.json", "{\"model_max_length\": 1e30}");
  CHECK(Model::from_pretrained(directory.path()).max_seq_length() == 40);
}

TEST_CASE("sentence embeddings: both spellings of a pooling mode, and what is refused") {
  const std::string all = modules("Transformer Pooling Normalize");
  const auto pooling_of = [&](const std::string& pooling) {
    const TemporaryDirectory directory;
    write(directory, "modules.json", all);
    write(directory, "1_Pooling/config.json", pooling);
    return SentenceEmbeddingConfig::from_pretrained(directory.path()).pooling;
  };
  CHECK(pooling_of("{\"pooling_mode\": \"cls\"}") == Pooling::cls);
  CHECK(pooling_of("{\"pooling_mode\": [\"mean\"]}") == Pooling::mean);
  CHECK(pooling_of("{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}") ==
        Pooling::cls);
  CHECK(pooling_of("{}") == Pooling::mean);
  const auto pooling = [&](const std::string& text) {
    return refusal({{"modules.json", all}, {"1_Pooling/config.json", text}});
  };
  CHECK(contains(pooling("{\"pooling_mode\": \"lasttoken\"}"),
                 "1_Pooling/config.json: pooling_mode: expected mean or cls, found lasttoken"));
  CHECK(contains(pooling("{\"pooling_mode_max_tokens\": true}"), "found max"));
  CHECK(contains(pooling("{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": true}"),
                 "found cls + mean"));
  CHECK(contains(pooling("{\"pooling_mode\": []}"), "found none"));
  CHECK(contains(pooling("{\"pooling_mode\": 3}"), "expected a string"));

  CHECK(contains(refusal({{"modules.json", modules("Transformer Pooling Dense")}}),
                 "module 2: type: expected Transformer, Pooling and Normalize in this order, found Dense"));
  CHECK(contains(refusal({{"modules.json", modules("Pooling Transformer")}}), "module 0"));
  CHECK(contains(refusal({{"modules.json", "{}"}}), "expected an array of modules"));
  CHECK(contains(refusal({{"modules.json", "[3]"}}), "module 0: expected an object"));
  CHECK(contains(refusal({{"modules.json", "[{\"type\": \"x.Transformer\", \"path\": \"0_Transformer\"}]"}}),
                 "the transformer lies in the folder '0_Transformer'"));
  CHECK(contains(refusal({{"modules.json",
                           "[{\"type\": \"Transformer\"},"
                           "{\"type\": \"Pooling\", \"path\": \"../elsewhere\"}]"}}),
                 "expected the name of a folder"));
  CHECK(contains(refusal({{"sentence_bert_config.json", "{\"max_seq_length\": 0}"}}),
                 "max_seq_length: expected a positive number"));
  CHECK(refusal({{"modules.json", modules("Transformer Pooling")}})
            .empty());  // scaled to length 1 all the same
  CHECK(refusal({}).empty());
}
