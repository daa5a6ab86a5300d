// What save_pretrained writes, from_pretrained reads back; mismatched heads, label maps.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <algorithm>

#include "golden.hpp"
#include "small_models.hpp"

using namespace attune;
using attune::testing::small_config;
using attune::testing::TemporaryDirectory;

namespace {

using Classifier = BertForSequenceClassification<float, Cpu>;

template <class Model>
std::vector<float> outputs(Model& model, const Batch& batch) {
  model.eval();
  const auto to_floats = [](const auto& tensor) {
    const auto values = tensor.to_vector();
    return std::vector<float>(values.begin(), values.end());
  };
  if constexpr (requires { model(batch).logits; })
    return to_floats(model(batch).logits);
  else if constexpr (requires { model(batch).last_hidden_state; })
    return to_floats(model(batch).last_hidden_state);
  else
    return to_floats(model(batch));
}

template <class Model>
void check_round_trip(const std::string& name) {
  CAPTURE(name);
  const std::string from = golden::case_path(name);
  const TemporaryDirectory directory;
  const std::string to = directory.path() + "/made/on/the/way";
  Model first = Model::from_pretrained(from);
  REQUIRE(first.load_report().complete());
  first.save_pretrained(to);
  Model second = Model::from_pretrained(to);
  CHECK(second.load_report().complete());
  const Batch batch = golden::Expected(from).batch();
  CHECK(outputs(first, batch) == outputs(second, batch));

  // Every field that was there is still there, unless it is one that we write ourselves.
  const auto before = read_json(from + "/config.json"), after = read_json(to + "/config.json");
  for (const auto& item : before.items()) {
    const std::string& key = item.key();
    const auto& value = item.value();
    CAPTURE(key);
    if ((key == "id2label" || key == "label2id") && name.find("cls") == name.npos &&
        name.find("token") == name.npos)
      continue;
    REQUIRE(after.contains(key));
    if (value.is_number_float())
      CHECK(after[key].template get<double>() == value.template get<double>());
    else
      CHECK(after[key] == value);
  }
  const auto saved = SafetensorsFile::open(to + "/model.safetensors");
  CHECK(saved.metadata().at("format") == "pt");
}

}  // namespace

TEST_CASE("saving: the same logits bit for bit, and every field of the config") {
  check_round_trip<Classifier>("bert_cls_gelu");
  check_round_trip<Classifier>("bert_cls_multi_label");
  check_round_trip<Classifier>("bert_cls_regression_1");
  check_round_trip<Classifier>("bert_cls_no_padding_idx");
  check_round_trip<BertForTokenClassification<float, Cpu>>("bert_token");
  check_round_trip<BertForMaskedLM<float, Cpu>>("bert_mlm");
  check_round_trip<BertForMaskedLM<float, Cpu>>("bert_mlm_untied");
  check_round_trip<BertForSentenceEmbedding<float, Cpu>>("bert_embed_cosine");
  check_round_trip<DistilBertForSequenceClassification<float, Cpu>>("distilbert_cls");
  check_round_trip<DistilBertForTokenClassification<float, Cpu>>("distilbert_token");
  check_round_trip<DistilBertForMaskedLM<float, Cpu>>("distilbert_mlm");
  check_round_trip<RobertaForSequenceClassification<float, Cpu>>("roberta_cls");
  check_round_trip<RobertaForSequenceClassification<float, Cpu>>("xlm_roberta_cls");
  check_round_trip<RobertaForTokenClassification<float, Cpu>>("roberta_token");
  check_round_trip<RobertaForMaskedLM<float, Cpu>>("roberta_mlm");
  check_round_trip<RobertaForMaskedLM<float, Cpu>>("roberta_mlm_untied");
  check_round_trip<RobertaForSentenceEmbedding<float, Cpu>>("roberta_embed_cosine");
}

TEST_CASE("saving: a bfloat16 model writes its float masters") {
  using Half = BertForSequenceClassification<bfloat16, Cpu>;
  const std::string from = golden::case_path("bert_cls_gelu");
  const TemporaryDirectory directory;
  Half model = Half::from_pretrained(from);
  model.save_pretrained(directory.path());
  const auto before = SafetensorsFile::open(from + "/model.safetensors");
  const auto after = SafetensorsFile::open(directory.path() + "/model.safetensors");
  REQUIRE(after.entries().size() == before.entries().size());
  for (const auto& entry : before.entries()) {
    CAPTURE(entry.name);
    const auto* found = after.find(entry.name);
    REQUIRE(found);
    REQUIRE(found->dtype == DType::f32);
    const auto a = before.bytes(entry), b = after.bytes(*found);
    CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  }
  CHECK(read_json(directory.path() + "/config.json")["dtype"] == "float32");
  // Frozen parameters have no master: what is written is the value as rounded.
  model.freeze("*embeddings*");
  model.save_pretrained(directory.path());
  const auto frozen = SafetensorsFile::open(directory.path() + "/model.safetensors");
  CHECK(frozen.find("bert.embeddings.word_embeddings.weight")->dtype == DType::bf16);
  Half again = Half::from_pretrained(directory.path());
  const Batch batch = golden::Expected(from).batch();
  CHECK(outputs(again, batch) == outputs(model, batch));
}

TEST_CASE("saving: label names given, kept, made up") {
  const std::string from = golden::variant_path("config_v4");
  const TemporaryDirectory directory;
  const std::vector<std::string> names{"no", "perhaps", "yes"};
  Classifier::from_pretrained(from, {.labels = names}).save_pretrained(directory.path());
  auto json = read_json(directory.path() + "/config.json");
  CHECK(json["id2label"] == nlohmann::json({{"0", "no"}, {"1", "perhaps"}, {"2", "yes"}}));
  CHECK(json["label2id"] == nlohmann::json({{"no", 0}, {"perhaps", 1}, {"yes", 2}}));
  CHECK(json["torch_dtype"] == "float32");
  CHECK(!json.contains("dtype"));
  CHECK(json["finetuning_task"] == "mnli");
  CHECK(Classifier::from_pretrained(directory.path()).config.labels.id2label == names);

  // A model without a file behind it.
  const Classifier fresh = Classifier::from_config(small_config(0.0, 4));
  fresh.save_pretrained(directory.path());
  json = read_json(directory.path() + "/config.json");
  CHECK(json["id2label"].size() == 4);
  CHECK(json["id2label"]["3"] == "LABEL_3");
  CHECK(json["architectures"] == nlohmann::json({"BertForSequenceClassification"}));
  CHECK(json["model_type"] == "bert");
  const Classifier read = Classifier::from_pretrained(directory.path());
  CHECK(read.config.labels.num_labels == 4);
  CHECK(read.load_report().complete());

  Classifier::from_pretrained(directory.path(), {.problem_type = "multi_label_classification"})
      .save_pretrained(directory.path());
  CHECK(read_json(directory.path() + "/config.json")["problem_type"] == "multi_label_classification");
}

TEST_CASE("loading: a head of another size is an error, or begins anew") {
  const std::string from = golden::case_path("bert_cls_gelu");
  try {
    Classifier::from_pretrained(from, {.num_labels = 5});
    FAIL("loaded");
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    CHECK(message.find("classifier.weight: checkpoint [3, 32], model [5, 32]") != message.npos);
    CHECK(message.find("classifier.bias: checkpoint [3], model [5]") != message.npos);
    CHECK(message.find("ignore_mismatched_sizes") != message.npos);
  }
  const auto load = [&](std::uint64_t seed) {
    return Classifier::from_pretrained(from,
                                       {.num_labels = 5, .seed = seed, .ignore_mismatched_sizes = true});
  };
  const Classifier model = load(1);
  CHECK(model.load_report().mismatched.size() == 2);
  CHECK(model.load_report().missing.empty());
  const auto weight = model.head.classifier.weight.value().to_vector();
  double squares = 0.0;
  for (const float value : weight) squares += double{value} * double{value};
  // 160 numbers of standard deviation 0.02: their rms is within 4 standard errors, 0.02 / sqrt(320).
  CHECK(std::sqrt(squares / double(weight.size())) == doctest::Approx(0.02).epsilon(4 / std::sqrt(320.0)));
  CHECK(model.head.classifier.bias.value().to_vector() == std::vector<float>(5, 0.0f));
  CHECK(load(1).head.classifier.weight.value().to_vector() == weight);
  CHECK(load(2).head.classifier.weight.value().to_vector() != weight);
  // The rest is the checkpoint's, whatever the seed.
  CHECK(load(2).encoder.pooler->dense.weight.value().to_vector() ==
        model.encoder.pooler->dense.weight.value().to_vector());
}

TEST_CASE("loading: a checkpoint of something else, a missing directory") {
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(Classifier::from_pretrained(directory.path()), IoError);
  CHECK_THROWS_AS(Classifier::from_pretrained(golden::case_path("distilbert_cls")), ConfigError);
  std::filesystem::copy_file(golden::case_path("bert_cls_gelu") + "/config.json",
                             directory.path() + "/config.json");
  CHECK_THROWS_AS(Classifier::from_pretrained(directory.path()), IoError);
  const std::vector<float> number{1.0f};
  save_safetensors(directory.path() + "/model.safetensors", {{"other", DType::f32, {1}, {}}},
                   [&](std::size_t) { return std::as_bytes(std::span(number)); });
  CHECK_THROWS_AS(Classifier::from_pretrained(directory.path()), ConfigError);
}

TEST_CASE("saving: where no directory can be made") {
  const TemporaryDirectory directory;
  const std::string file = directory.path() + "/file";
  write_text_file(file, "");
  const Classifier model = Classifier::from_config(small_config());
  CHECK_THROWS_AS(model.save_pretrained(file + "/below"), IoError);
}

TEST_CASE("new models: the padding row of the words' embedding is zero, as transformers makes it") {
  BertConfig config = small_config();
  config.pad_token_id = 7;
  const auto row = [](const auto& model, std::int64_t at) {
    return model.encoder.embeddings.word_embeddings.weight.rows(at, at + 1).value().to_vector();
  };
  const std::vector<float> zeros(32, 0.0f);
  const Classifier model = Classifier::from_config(config);
  CHECK(row(model, 7) == zeros);
  CHECK(row(model, 6) != zeros);
  config.pad_token_id = -1;
  CHECK(row(Classifier::from_config(config), 7) != zeros);

  DistilBertConfig distilbert;
  distilbert.vocab_size = 20;
  distilbert.dim = 32;
  distilbert.n_layers = distilbert.n_heads = 1;
  distilbert.hidden_dim = 8;
  distilbert.pad_token_id = 3;
  CHECK(row(DistilBertForMaskedLM<float, Cpu>::from_config(distilbert), 3) == zeros);

  RobertaConfig roberta;  // and that of the positions' embedding
  static_cast<BertConfig&>(roberta) = config;
  roberta.pad_token_id = 2;
  const auto xlm = RobertaForMaskedLM<float, Cpu>::from_config(roberta);
  CHECK(row(xlm, 2) == zeros);
  const auto& places = xlm.encoder.embeddings.position_embeddings.weight;
  CHECK(places.rows(2, 3).value().to_vector() == zeros);
  CHECK(places.rows(3, 4).value().to_vector() != zeros);

  // An embedding that begins anew beside a checkpoint of another vocabulary.
  const TemporaryDirectory directory;
  config.pad_token_id = 7;
  config.vocab_size = 40;
  Classifier::from_config(config).save_pretrained(directory.path());
  config.vocab_size = 50;
  config.save(directory.path(), "BertForSequenceClassification");
  CHECK(row(Classifier::from_pretrained(directory.path(), {.ignore_mismatched_sizes = true}), 7) == zeros);
}
