#pragma once

#include <filesystem>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/models/config.hpp>

namespace attune::detail {

inline JsonObject read_config_file(const std::string& directory) {
  return JsonObject::read(directory + (directory.empty() || directory.ends_with('/') ? "" : "/") +
                          "config.json");
}

inline void check_model_type(const JsonObject& config, const char* expected_type) {
  const auto type = config.get<std::string>("model_type");
  if (type != expected_type)
    config.refuse("model_type", std::string("expected ") + expected_type + ", found " + type);
}

/// Fields that change the computation in ways that no encoder here has.
inline void refuse_unsupported(const JsonObject& config) {
  for (const char* field : {"is_decoder", "add_cross_attention"})
    if (config.get(field, false)) config.refuse(field, "true is not supported");
  const auto position = config.get("position_embedding_type", "absolute");
  if (position != "absolute")
    config.refuse("position_embedding_type", "expected absolute, found " + position);
  if (config.has("pruned_heads") && !config.json()["pruned_heads"].empty())
    config.refuse("pruned_heads", "pruned heads are not supported");
}

/// A bound keeps products of two sizes far from overflow and a typing error from reserving all memory.
inline std::int64_t positive(const JsonObject& config, const char* field, std::int64_t fallback,
                             std::int64_t largest = std::int64_t{1} << 24) {
  const auto value = config.get<std::int64_t>(field, fallback);
  if (value < 1 || value > largest)
    config.refuse(field, "expected 1 to " + std::to_string(largest) + ", found " + std::to_string(value));
  return value;
}

inline double probability(const JsonObject& config, const char* field, double fallback) {
  const double value = config.get<double>(field, fallback);
  if (!(value >= 0.0 && value < 1.0))
    config.refuse(field, "expected a probability below 1, found " + std::to_string(value));
  return value;
}

inline double positive_number(const JsonObject& config, const char* field, double fallback,
                              double below = 1e3) {
  const double value = config.get<double>(field, fallback);
  if (!(value > 0.0 && value < below))
    config.refuse(field, "expected a positive number, found " + std::to_string(value));
  return value;
}

inline constexpr std::int64_t most_layers = 1000;

/// -1 where the file says null: no row of the word embedding is a padding row.
inline std::int64_t pad_token(const JsonObject& config, std::int64_t fallback, std::int64_t vocab_size) {
  if (config.json().contains("pad_token_id") && !config.has("pad_token_id")) return -1;
  const auto id = config.get<std::int64_t>("pad_token_id", fallback);
  if (id < 0 || id >= vocab_size)
    config.refuse("pad_token_id", "expected null or an id below vocab_size " + std::to_string(vocab_size) +
                                      ", found " + std::to_string(id));
  return id;
}

inline ProblemType problem_type_from_name(const std::string& name) {
  if (name.empty()) return ProblemType::from_labels;
  if (name == "single_label_classification") return ProblemType::single_label;
  if (name == "multi_label_classification") return ProblemType::multi_label;
  if (name == "regression") return ProblemType::regression;
  throw ConfigError(
      "problem_type: expected single_label_classification, multi_label_classification or regression, "
      "found '" +
      name + "'");
}

inline LabelConfig read_labels(const JsonObject& config, const PretrainedOptions& options) {
  LabelConfig labels;
  const auto names = config.find<std::map<std::string, std::string>>("id2label");
  const auto stored =
      names ? static_cast<std::int64_t>(names->size()) : config.get<std::int64_t>("num_labels", 2);
  labels.num_labels = !options.labels.empty()  ? static_cast<std::int64_t>(options.labels.size())
                      : options.num_labels > 0 ? options.num_labels
                                               : stored;
  if (options.num_labels < 0 || labels.num_labels < 1 || labels.num_labels > (1 << 24))
    throw ConfigError("num_labels: expected at least 1, found " +
                      std::to_string(options.num_labels < 0 ? options.num_labels : labels.num_labels));
  if (options.num_labels > 0 && options.num_labels != labels.num_labels)
    throw ConfigError("num_labels: " + std::to_string(options.num_labels) + " does not agree with " +
                      std::to_string(options.labels.size()) + " labels");
  labels.id2label = options.labels;
  for (std::int64_t id = static_cast<std::int64_t>(labels.id2label.size()); id < labels.num_labels; ++id) {
    const auto found =
        names && stored == labels.num_labels ? names->find(std::to_string(id)) : decltype(names->end())();
    const bool named = names && stored == labels.num_labels && found != names->end();
    labels.id2label.push_back(named ? found->second : "LABEL_" + std::to_string(id));
  }
  labels.problem_type = problem_type_from_name(options.problem_type.empty() ? config.get("problem_type", "")
                                                                            : options.problem_type);
  return labels;
}

inline const char* problem_type_name(ProblemType type) {
  switch (type) {
    case ProblemType::single_label:
      return "single_label_classification";
    case ProblemType::multi_label:
      return "multi_label_classification";
    case ProblemType::regression:
      return "regression";
    case ProblemType::from_labels:
      break;
  }
  return nullptr;
}

/// Sets a field of an object. Initialiser lists would compile a conversion for each length of a name.
ATTUNE_INLINE void set_field(nlohmann::json& object, const char* key, nlohmann::json value) {
  object[key] = std::move(value);
}

/// The source's fields with ours on top.
inline void write_config(const std::string& directory, const std::string& architecture,
                         const char* model_type, const JsonObject* source, const LabelConfig& labels,
                         nlohmann::json ours) {
  nlohmann::json config = source ? source->json() : nlohmann::json::object();
  set_field(ours, "model_type", model_type);
  set_field(ours, "architectures", nlohmann::json::array());
  ours["architectures"].push_back(nlohmann::json(architecture));
  // What is written are float masters. The newer of the two names is "dtype".
  const bool old_name = config.contains("torch_dtype") && !config.contains("dtype");
  set_field(ours, old_name ? "torch_dtype" : "dtype", std::string("float32"));
  config.update(ours);
  config.erase("id2label");
  config.erase("label2id");
  config.erase("num_labels");
  if (architecture.find("Classification") != std::string::npos) {
    for (std::int64_t id = 0; id < labels.num_labels; ++id) {
      const std::string number = std::to_string(id);
      const auto at = static_cast<std::size_t>(id);
      const std::string name = at < labels.id2label.size() ? labels.id2label[at] : "LABEL_" + number;
      config["id2label"][number] = name;
      config["label2id"][name] = id;
    }
    if (const char* type = problem_type_name(labels.problem_type)) set_field(config, "problem_type", type);
  }
  make_directories(directory);
  write_json((std::filesystem::path(directory) / "config.json").string(), config);
}

/// BERT's fields, and RoBERTa's; what is absent stays as it is in `c`.
ATTUNE_INLINE void read_bert_fields(const JsonObject& config, const PretrainedOptions& options,
                                    BertConfig& c) {
  refuse_unsupported(config);
  c.vocab_size = positive(config, "vocab_size", c.vocab_size);
  c.hidden_size = positive(config, "hidden_size", c.hidden_size);
  c.num_hidden_layers = positive(config, "num_hidden_layers", c.num_hidden_layers, most_layers);
  c.num_attention_heads = positive(config, "num_attention_heads", c.num_attention_heads);
  c.intermediate_size = positive(config, "intermediate_size", c.intermediate_size);
  c.hidden_act = config.get("hidden_act", c.hidden_act);
  c.hidden_dropout_prob = probability(config, "hidden_dropout_prob", c.hidden_dropout_prob);
  c.attention_probs_dropout_prob =
      probability(config, "attention_probs_dropout_prob", c.attention_probs_dropout_prob);
  c.max_position_embeddings = positive(config, "max_position_embeddings", c.max_position_embeddings);
  c.type_vocab_size = positive(config, "type_vocab_size", c.type_vocab_size);
  c.initializer_range = positive_number(config, "initializer_range", c.initializer_range);
  c.layer_norm_eps = positive_number(config, "layer_norm_eps", c.layer_norm_eps);
  c.pad_token_id = pad_token(config, c.pad_token_id, c.vocab_size);
  if (config.has("classifier_dropout")) c.classifier_dropout = probability(config, "classifier_dropout", 0.0);
  c.tie_word_embeddings = config.get("tie_word_embeddings", true);
  c.labels = read_labels(config, options);
  if (options.hidden_dropout) c.hidden_dropout_prob = *options.hidden_dropout;
  if (options.attention_dropout) c.attention_probs_dropout_prob = *options.attention_dropout;
  if (options.classifier_dropout) c.classifier_dropout = *options.classifier_dropout;
  if (c.hidden_size % c.num_attention_heads != 0)
    config.refuse("num_attention_heads", "must divide hidden_size " + std::to_string(c.hidden_size) +
                                             ", found " + std::to_string(c.num_attention_heads));
  c.source = std::make_shared<const JsonObject>(config);
}

ATTUNE_INLINE nlohmann::json bert_fields(const BertConfig& c) {
  nlohmann::json ours = nlohmann::json::object();
  set_field(ours, "vocab_size", c.vocab_size);
  set_field(ours, "hidden_size", c.hidden_size);
  set_field(ours, "num_hidden_layers", c.num_hidden_layers);
  set_field(ours, "num_attention_heads", c.num_attention_heads);
  set_field(ours, "intermediate_size", c.intermediate_size);
  set_field(ours, "hidden_act", c.hidden_act);
  set_field(ours, "hidden_dropout_prob", c.hidden_dropout_prob);
  set_field(ours, "attention_probs_dropout_prob", c.attention_probs_dropout_prob);
  set_field(ours, "max_position_embeddings", c.max_position_embeddings);
  set_field(ours, "type_vocab_size", c.type_vocab_size);
  set_field(ours, "initializer_range", c.initializer_range);
  set_field(ours, "layer_norm_eps", c.layer_norm_eps);
  set_field(ours, "tie_word_embeddings", c.tie_word_embeddings);
  set_field(ours, "classifier_dropout", nullptr);
  set_field(ours, "pad_token_id", nullptr);
  if (c.pad_token_id >= 0) set_field(ours, "pad_token_id", c.pad_token_id);
  if (c.classifier_dropout) set_field(ours, "classifier_dropout", *c.classifier_dropout);
  return ours;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE BertConfig BertConfig::from_pretrained(const std::string& directory,
                                                     const PretrainedOptions& options) {
  const JsonObject config = detail::read_config_file(directory);
  detail::check_model_type(config, model_type);
  BertConfig c;
  detail::read_bert_fields(config, options, c);
  return c;
}

ATTUNE_INLINE void BertConfig::save(const std::string& directory, const std::string& architecture) const {
  detail::write_config(directory, architecture, model_type, source.get(), labels, detail::bert_fields(*this));
}

ATTUNE_INLINE RobertaConfig RobertaConfig::from_pretrained(const std::string& directory,
                                                           const PretrainedOptions& options) {
  const JsonObject config = detail::read_config_file(directory);
  RobertaConfig c;
  c.model_type = config.get<std::string>("model_type");
  if (!is_model_type(c.model_type))
    config.refuse("model_type", "expected roberta or xlm-roberta, found " + c.model_type);
  if (c.model_type == "xlm-roberta") c.vocab_size = BertConfig().vocab_size;
  detail::read_bert_fields(config, options, c);
  if (c.pad_token_id < 0)
    config.refuse("pad_token_id", "expected an id, found null: positions count from it");
  if (c.max_position_embeddings <= c.pad_token_id + 1)
    config.refuse("max_position_embeddings",
                  "expected more than pad_token_id + 1, which are not used, found " +
                      std::to_string(c.max_position_embeddings));
  return c;
}

ATTUNE_INLINE void RobertaConfig::save(const std::string& directory, const std::string& architecture) const {
  const std::string own = model_type == "xlm-roberta" ? "XLM" + architecture : architecture;
  detail::write_config(directory, own, model_type.c_str(), source.get(), labels, detail::bert_fields(*this));
}

ATTUNE_INLINE DistilBertConfig DistilBertConfig::from_pretrained(const std::string& directory,
                                                                 const PretrainedOptions& options) {
  const JsonObject config = detail::read_config_file(directory);
  detail::check_model_type(config, model_type);
  detail::refuse_unsupported(config);
  DistilBertConfig c;
  c.vocab_size = detail::positive(config, "vocab_size", c.vocab_size);
  c.dim = detail::positive(config, "dim", c.dim);
  c.n_layers = detail::positive(config, "n_layers", c.n_layers, detail::most_layers);
  c.n_heads = detail::positive(config, "n_heads", c.n_heads);
  c.hidden_dim = detail::positive(config, "hidden_dim", c.hidden_dim);
  c.activation = config.get("activation", c.activation);
  c.dropout = detail::probability(config, "dropout", c.dropout);
  c.attention_dropout = detail::probability(config, "attention_dropout", c.attention_dropout);
  c.seq_classif_dropout = detail::probability(config, "seq_classif_dropout", c.seq_classif_dropout);
  c.max_position_embeddings = detail::positive(config, "max_position_embeddings", c.max_position_embeddings);
  c.sinusoidal_pos_embds = config.get("sinusoidal_pos_embds", c.sinusoidal_pos_embds);
  c.initializer_range = detail::positive_number(config, "initializer_range", c.initializer_range);
  c.pad_token_id = detail::pad_token(config, c.pad_token_id, c.vocab_size);
  c.tie_word_embeddings = config.get("tie_word_embeddings", true);
  c.labels = detail::read_labels(config, options);
  if (options.hidden_dropout) c.dropout = *options.hidden_dropout;
  if (options.attention_dropout) c.attention_dropout = *options.attention_dropout;
  if (options.classifier_dropout) c.seq_classif_dropout = *options.classifier_dropout;
  if (c.dim % c.n_heads != 0)
    config.refuse("n_heads",
                  "must divide dim " + std::to_string(c.dim) + ", found " + std::to_string(c.n_heads));
  c.source = std::make_shared<const JsonObject>(config);
  return c;
}

ATTUNE_INLINE void DistilBertConfig::save(const std::string& directory,
                                          const std::string& architecture) const {
  nlohmann::json ours = nlohmann::json::object();
  detail::set_field(ours, "vocab_size", vocab_size);
  detail::set_field(ours, "dim", dim);
  detail::set_field(ours, "n_layers", n_layers);
  detail::set_field(ours, "n_heads", n_heads);
  detail::set_field(ours, "hidden_dim", hidden_dim);
  detail::set_field(ours, "activation", activation);
  detail::set_field(ours, "dropout", dropout);
  detail::set_field(ours, "attention_dropout", attention_dropout);
  detail::set_field(ours, "seq_classif_dropout", seq_classif_dropout);
  detail::set_field(ours, "max_position_embeddings", max_position_embeddings);
  detail::set_field(ours, "sinusoidal_pos_embds", sinusoidal_pos_embds);
  detail::set_field(ours, "initializer_range", initializer_range);
  detail::set_field(ours, "tie_word_embeddings", tie_word_embeddings);
  detail::set_field(ours, "pad_token_id", nullptr);
  if (pad_token_id >= 0) detail::set_field(ours, "pad_token_id", pad_token_id);
  detail::write_config(directory, architecture, model_type, source.get(), labels, std::move(ours));
}

ATTUNE_INLINE std::string read_model_type(const std::string& directory) {
  return detail::read_config_file(directory).get<std::string>("model_type");
}

}  // namespace attune
