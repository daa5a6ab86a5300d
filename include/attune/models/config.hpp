#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/formats/json.hpp>

namespace attune {

/// What the caller of from_pretrained() decides beside what config.json says.
struct PretrainedOptions {
  std::int64_t num_labels = 0;        ///< of a classification head; 0: as config.json says, else 2
  std::vector<std::string> labels{};  ///< their names in id order (id2label); gives num_labels as well
  std::string problem_type{};  ///< "single_label_classification", "multi_label_classification", "regression";
                               ///< empty: as config.json says, else from the labels as transformers does
  std::optional<double> hidden_dropout{};     ///< in place of the config's hidden dropout
  std::optional<double> attention_dropout{};  ///< in place of the config's attention dropout
  std::optional<double> classifier_dropout{};
  std::uint64_t seed = 42;  ///< of new parameters and of dropout
  bool frozen = false;  ///< nothing trains, and bfloat16 parameters never have a float master: for adapters
  /// Linear layers that a GGUF file holds in Q8_0, Q4_0 or Q4_1 are kept so, and dequantised where they are
  /// multiplied: a base of adapters ("QLoRA", Dettmers et al. 2023, arXiv:2305.14314). Needs `frozen`; the
  /// rest is as without.
  bool quantized = false;
  bool ignore_mismatched_sizes = false;  ///< parameters of another shape begin anew instead of being an error
};

enum class ProblemType { from_labels, single_label, multi_label, regression };

/// The labels of a classification head, as config.json holds them.
struct LabelConfig {
  std::int64_t num_labels = 2;
  std::vector<std::string> id2label{};  ///< num_labels names
  ProblemType problem_type = ProblemType::from_labels;
};

/// The fields of a BERT config.json, with transformers' defaults.
/// Source: transformers/models/bert/configuration_bert.py
struct BertConfig {
  std::int64_t vocab_size = 30522;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  std::int64_t max_position_embeddings = 512;
  std::int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  std::int64_t pad_token_id = 0;
  std::optional<double> classifier_dropout{};
  bool tie_word_embeddings = true;
  LabelConfig labels{};
  std::shared_ptr<const JsonObject>
      source{};  ///< the file it was read from: save() keeps fields that are not ours

  static constexpr const char* model_type = "bert";
  /// Reads `directory`/config.json. Throws IoError, FormatError, or ConfigError for a field whose value is
  /// not supported.
  static BertConfig from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  /// Writes config.json for the named architecture ("BertForSequenceClassification").
  void save(const std::string& directory, const std::string& architecture) const;
};

/// The fields of a RoBERTa or XLM-RoBERTa config.json, with transformers' defaults: BERT's. Of the positions
/// the first pad_token_id + 1 are never used. Source: transformers/models/roberta/configuration_roberta.py,
/// xlm_roberta/configuration_xlm_roberta.py
struct RobertaConfig : BertConfig {
  RobertaConfig() {
    vocab_size = 50265;
    pad_token_id = 1;
  }
  std::string model_type = "roberta";  ///< or "xlm-roberta": the same model under another name

  static bool is_model_type(const std::string& type) { return type == "roberta" || type == "xlm-roberta"; }
  static RobertaConfig from_pretrained(const std::string& directory, const PretrainedOptions& options = {});
  /// `architecture` is RoBERTa's ("RobertaModel"); for an XLM-RoBERTa its own is written.
  void save(const std::string& directory, const std::string& architecture) const;
};

/// The fields of a DistilBERT config.json, with transformers' defaults.
/// Source: transformers/models/distilbert/configuration_distilbert.py
struct DistilBertConfig {
  std::int64_t vocab_size = 30522;
  std::int64_t dim = 768;
  std::int64_t n_layers = 6;
  std::int64_t n_heads = 12;
  std::int64_t hidden_dim = 3072;
  std::string activation = "gelu";
  double dropout = 0.1;
  double attention_dropout = 0.1;
  double seq_classif_dropout = 0.2;
  std::int64_t max_position_embeddings = 512;
  bool sinusoidal_pos_embds = false;  ///< how the positions of a new model begin; they train all the same
  double initializer_range = 0.02;
  std::int64_t pad_token_id = 0;
  bool tie_word_embeddings = true;
  LabelConfig labels{};
  std::shared_ptr<const JsonObject> source{};

  static constexpr const char* model_type = "distilbert";
  static DistilBertConfig from_pretrained(const std::string& directory,
                                          const PretrainedOptions& options = {});
  void save(const std::string& directory, const std::string& architecture) const;
};

/// The model_type of a directory's config.json ("bert", "distilbert", ...). Throws ConfigError when it has
/// none.
std::string read_model_type(const std::string& directory);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/models/config.inl.hpp>
#endif
