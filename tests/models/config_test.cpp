// Fields of config.json that are refused, each by name, and those that are honoured.
#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/models/auto.hpp>
#include <attune/models/config.hpp>
#include <attune/models/instances.hpp>

#include "golden.hpp"
#include "small_models.hpp"

using namespace attune;
using attune::testing::TemporaryDirectory;
using nlohmann::json;

namespace {

/// A golden case whose config.json has one field changed.
class ChangedConfig {
 public:
  ChangedConfig(const std::string& name, const std::string& field, const json& value) {
    json config = read_json(golden::case_path(name) + "/config.json");
    if (value.is_discarded())
      config.erase(field);
    else
      config[field] = value;
    write_json(path() + "/config.json", config);
    std::filesystem::copy_file(golden::case_path(name) + "/model.safetensors", path() + "/model.safetensors");
  }
  const std::string& path() const { return directory_.path(); }

 private:
  TemporaryDirectory directory_;
};

struct Refusal {
  const char* field;
  json value;
  const char* named = nullptr;  ///< the field that the message names, when it is another
};

template <class Model>
void check_refused(const std::string& name, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.field);
    CAPTURE(refusal.value.dump());
    const ChangedConfig changed(name, refusal.field, refusal.value);
    std::string message;
    try {
      Model::from_pretrained(changed.path());
    } catch (const ConfigError& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find(refusal.named ? refusal.named : refusal.field) != message.npos);
  }
}

const json absent = json(json::value_t::discarded);
constexpr std::int64_t huge = std::int64_t{1} << 40;

}  // namespace

TEST_CASE("config: what BERT refuses, it refuses by name") {
  check_refused<BertForSequenceClassification<float, Cpu>>(
      "bert_cls_gelu", {{"position_embedding_type", "relative_key"},
                        {"position_embedding_type", "relative_key_query"},
                        {"hidden_act", "selu"},
                        {"hidden_act", 3},
                        {"is_decoder", true},
                        {"add_cross_attention", true},
                        {"is_decoder", "yes"},
                        {"pruned_heads", {{"0", {1, 2}}}},
                        {"model_type", "gpt2"},
                        {"model_type", absent},
                        {"model_type", nullptr},
                        {"vocab_size", 0},
                        {"vocab_size", -1},
                        {"vocab_size", huge},
                        {"vocab_size", 60.5},
                        {"vocab_size", "60"},
                        {"vocab_size", 61, "bert.embeddings.word_embeddings.weight"},
                        {"hidden_size", 0},
                        {"hidden_size", 30, "num_attention_heads"},
                        {"hidden_size", huge},
                        {"hidden_size", 64, "checkpoint [60, 32], model [60, 64]"},
                        {"num_attention_heads", 0},
                        {"num_attention_heads", 5},
                        {"num_attention_heads", huge},
                        {"num_hidden_layers", 0},
                        {"num_hidden_layers", 1 << 20},
                        {"intermediate_size", -3},
                        {"max_position_embeddings", 0},
                        {"type_vocab_size", 0},
                        {"hidden_dropout_prob", 1.0},
                        {"hidden_dropout_prob", -0.1},
                        {"hidden_dropout_prob", "0.1"},
                        {"attention_probs_dropout_prob", 1.5},
                        {"classifier_dropout", 1.0},
                        {"layer_norm_eps", 0.0},
                        {"layer_norm_eps", -1e-12},
                        {"initializer_range", -0.02},
                        {"pad_token_id", 60},
                        {"pad_token_id", -1},
                        {"problem_type", "ranking"},
                        {"id2label", {"a", "b"}},
                        {"id2label", {{"0", 1}}},
                        {"tie_word_embeddings", 1}});
}

TEST_CASE("config: what DistilBERT refuses, it refuses by name") {
  check_refused<DistilBertForSequenceClassification<float, Cpu>>("distilbert_cls",
                                                                 {{"activation", "selu"},
                                                                  {"dim", 0},
                                                                  {"dim", 22, "n_heads"},
                                                                  {"n_heads", 7},
                                                                  {"n_layers", 0},
                                                                  {"n_layers", 1 << 20},
                                                                  {"hidden_dim", huge},
                                                                  {"dropout", 1.0},
                                                                  {"attention_dropout", -1.0},
                                                                  {"seq_classif_dropout", 2.0},
                                                                  {"vocab_size", 0},
                                                                  {"max_position_embeddings", 0},
                                                                  {"pad_token_id", 50},
                                                                  {"model_type", "bert"},
                                                                  {"is_decoder", true}});
}

TEST_CASE("config: what RoBERTa refuses, it refuses by name") {
  check_refused<RobertaForSequenceClassification<float, Cpu>>(
      "roberta_cls", {{"model_type", "bert"},
                      {"model_type", "camembert"},
                      {"pad_token_id", nullptr},
                      {"pad_token_id", 50},
                      {"pad_token_id", 17, "max_position_embeddings"},
                      {"max_position_embeddings", 2},
                      {"position_embedding_type", "relative_key"},
                      {"is_decoder", true},
                      {"hidden_size", 22, "num_attention_heads"},
                      {"classifier_dropout", 1.0}});
}

TEST_CASE("config: RoBERTa and XLM-RoBERTa are one model with two names") {
  const RobertaConfig fresh;
  CHECK(fresh.vocab_size == 50265);
  CHECK(fresh.pad_token_id == 1);
  const ChangedConfig no_size("xlm_roberta_cls", "vocab_size", absent);
  CHECK(RobertaConfig::from_pretrained(no_size.path()).vocab_size == 30522);
  const ChangedConfig no_pad("xlm_roberta_cls", "pad_token_id", absent);
  CHECK(RobertaConfig::from_pretrained(no_pad.path()).pad_token_id == 1);
  for (const char* name : {"roberta_cls", "xlm_roberta_cls"}) {
    const auto config = RobertaConfig::from_pretrained(golden::case_path(name));
    const auto model = with_encoder_family(
        golden::case_path(name), [](auto family) { return std::string(decltype(family)::class_name); });
    CHECK(model == "Roberta");
    const TemporaryDirectory saved;
    config.save(saved.path(), "RobertaModel");
    const auto json = read_json(saved.path() + "/config.json");
    CHECK(json["model_type"] == (name[0] == 'x' ? "xlm-roberta" : "roberta"));
    CHECK(json["architectures"][0] == (name[0] == 'x' ? "XLMRobertaModel" : "RobertaModel"));
  }
}

TEST_CASE("RoBERTa: positions follow from the ids; what does not fit is refused") {
  Batch batch;
  batch.input_ids = {0, 5, 1, 7, 2, 9, 1};
  const std::vector<std::int32_t> columns{4, 5, 6};
  batch.segments.append(4);
  batch.segments.append(columns);
  RobertaConfig config;
  CHECK(RobertaFamily::position_ids(batch, config) == std::vector<std::int32_t>{2, 3, 1, 4, 2, 3, 1});
  CHECK(RobertaFamily::max_length(config) == 510);

  auto model =
      RobertaForSequenceClassification<float, Cpu>::from_pretrained(golden::case_path("roberta_cls"));
  model.eval();
  const auto alone = model(batch).logits.to_vector();
  batch.token_type_ids = {0, 0, 1, 1, 0, 1, 1};  // the model has one type: a pair's are not read
  CHECK(model(batch).logits.to_vector() == alone);
  Batch longest;
  longest.input_ids.assign(17, 5);
  longest.segments.append(17);
  CHECK_THROWS_AS(model(longest), ShapeError);  // 16 fit
}

TEST_CASE("config: options are checked as well") {
  using Model = BertForSequenceClassification<float, Cpu>;
  const std::string path = golden::case_path("bert_cls_gelu");
  const auto message = [&](const PretrainedOptions& options) {
    try {
      Model::from_pretrained(path, options);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message({.num_labels = 2, .labels = {"a", "b", "c"}}).find("num_labels") != std::string::npos);
  CHECK(message({.num_labels = -1}).find("num_labels") != std::string::npos);
  CHECK(message({.problem_type = "none"}).find("problem_type") != std::string::npos);
  CHECK(message({.hidden_dropout = 1.0}).find("hidden_dropout_prob") != std::string::npos);
  CHECK(message({.attention_dropout = -0.5}).find("attention_probs_dropout_prob") != std::string::npos);
  CHECK(message({.classifier_dropout = 1.0}).find("classifier_dropout") != std::string::npos);
  CHECK(message({}).empty());
  const Model model = Model::from_pretrained(path, {.hidden_dropout = 0.25, .attention_dropout = 0.5});
  CHECK(model.config.hidden_dropout_prob == 0.25);
  CHECK(model.config.attention_probs_dropout_prob == 0.5);
  CHECK(model.head.dropout.probability == 0.25f);  // classifier_dropout is null: the hidden one counts
}

TEST_CASE("config: defaults where a field is absent, null where a padding row is not wanted") {
  for (const char* name : {"bert_cls_gelu", "distilbert_cls"}) {
    const ChangedConfig none(name, "pad_token_id", nullptr), absent_one(name, "pad_token_id", absent);
    const TemporaryDirectory saved;
    const auto check = [&](const auto& config, const auto& other, const char* architecture) {
      CHECK(config.pad_token_id == -1);
      CHECK(other.pad_token_id == 0);
      config.save(saved.path(), architecture);
      CHECK(read_json(saved.path() + "/config.json")["pad_token_id"].is_null());
    };
    if (read_model_type(none.path()) == "bert")
      check(BertConfig::from_pretrained(none.path()), BertConfig::from_pretrained(absent_one.path()),
            "BertModel");
    else
      check(DistilBertConfig::from_pretrained(none.path()),
            DistilBertConfig::from_pretrained(absent_one.path()), "DistilBertModel");
  }
  const ChangedConfig swish("bert_cls_silu", "hidden_act", "swish");
  CHECK_NOTHROW(BertForSequenceClassification<float, Cpu>::from_pretrained(swish.path()));
}

TEST_CASE("config: sinusoidal_pos_embds says how the positions of a new DistilBERT begin") {
  const ChangedConfig changed("distilbert_cls", "sinusoidal_pos_embds", true);
  DistilBertConfig config = DistilBertConfig::from_pretrained(changed.path());
  CHECK(config.sinusoidal_pos_embds);
  const TemporaryDirectory saved;
  config.save(saved.path(), "DistilBertModel");
  CHECK(read_json(saved.path() + "/config.json")["sinusoidal_pos_embds"] == true);

  config.dim = 6;
  config.n_heads = 1;
  const auto model = DistilBertForSequenceClassification<float, Cpu>::from_config(config);
  const auto positions = model.encoder.embeddings.position_embeddings.weight.value().to_vector();
  // transformers' _create_sinusoidal_embeddings(n_pos, 6), rows 1 and 4
  const float row_1[] = {0.84147096f, 0.54030228f, 0.04639922f, 0.99892300f, 0.00215443f, 0.99999768f};
  const float row_4[] = {-0.75680250f, -0.65364361f, 0.18459873f, 0.98281395f, 0.00861763f, 0.99996287f};
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(positions[6 + i] == doctest::Approx(row_1[i]).epsilon(1e-6));
    CHECK(positions[24 + i] == doctest::Approx(row_4[i]).epsilon(1e-6));
  }
}
