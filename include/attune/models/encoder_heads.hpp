#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/models/classification_loss.hpp>
#include <attune/models/encoder_input.hpp>
#include <attune/models/outputs.hpp>
#include <attune/models/pretrained_model.hpp>
#include <attune/models/sentence_embedding_config.hpp>
#include <attune/ops/l2_normalize.hpp>
#include <attune/ops/mean_pool.hpp>

// The models that an encoder family (BERT, RoBERTa, DistilBERT) makes with its heads. A Family names its
// config, its encoder and the parts of each head as upstream names them; see BertFamily.

namespace attune {

namespace detail {

/// Config, encoder and loading, common to all heads.
template <class Derived, class Family, class T, class B>
class EncoderBase : public PretrainedModel<Derived, typename Family::Config, T, B> {
 public:
  using Config = typename Family::Config;
  using Encoder = typename Family::template Encoder<T, B>;

  static constexpr const char* base_model_prefix = Family::encoder_name;
  static constexpr CheckpointReader (*open_checkpoint)(const std::string&) = nullptr;
  static std::string layer_prefix() { return Derived::encoder_part(Family::layers); }
  static std::vector<std::string> ignored_keys() { return Family::ignored_keys(); }
  static std::vector<std::string> embedding_patterns() { return {"*embeddings.*"}; }
  static std::string architecture() { return std::string(Family::class_name) + Derived::head_name; }
  /// The name of a part of the encoder in this model.
  static std::string encoder_part(const char* part) { return std::string(Family::encoder_name) + "." + part; }

  Config config;
  Encoder encoder;

  std::int64_t num_layers() const { return Family::num_layers(config); }
  const B& device() const { return device_; }
  /// A forecast of the bytes that activations take in a training step: what is kept for backward and
  /// backward's own at its worst, without the allocator's rounding.
  std::int64_t activation_bytes(std::int64_t tokens, std::int64_t sequences) const;
  /// Whether the last layer computes the first tokens' rows alone.
  static constexpr bool picks_first = false;
  /// What the head adds.
  static std::int64_t head_bytes(const Config&, std::int64_t, std::int64_t) { return 0; }

 protected:
  EncoderBase(const Config& c, const B& device, bool pooler);

  EncoderInput<B> input(const Batch& batch, bool pick_first) const;

 private:
  B device_;
};

template <class Derived, class Family, class T, class B>
std::int64_t EncoderBase<Derived, Family, T, B>::activation_bytes(std::int64_t tokens,
                                                                  std::int64_t sequences) const {
  const std::int64_t features = encoder.embeddings.word_embeddings.weight.shape()[1];
  const std::int64_t states = tokens * features * static_cast<std::int64_t>(sizeof(T));
  std::int64_t bytes = 2 * states + Derived::head_bytes(config, tokens, sequences);
  std::int64_t worst = 0;
  for (std::size_t i = 0; i < encoder.layer.size(); ++i) {
    const bool last = Derived::picks_first && i + 1 == encoder.layer.size();
    const std::int64_t rows = last ? sequences : tokens;
    bytes += this->gradient_checkpointing ? states : encoder.layer[i].saved_bytes(tokens, rows);
    worst =
        std::max(worst, encoder.layer[i].backward_bytes(rows) +
                            (this->gradient_checkpointing ? encoder.layer[i].saved_bytes(tokens, rows) : 0));
  }
  return bytes + worst;
}

template <class Derived, class Family, class T, class B>
EncoderBase<Derived, Family, T, B>::EncoderBase(const Config& c, const B& device, bool pooler)
    : config(c), encoder(device, c, pooler), device_(device) {}

template <class Derived, class Family, class T, class B>
EncoderInput<B> EncoderBase<Derived, Family, T, B>::input(const Batch& batch, bool pick_first) const {
  auto input = make_encoder_input(device_, batch, this->draw(batch.size()), pick_first, config.pad_token_id);
  if constexpr (requires { Family::prepare(device_, batch, config, input); })
    Family::prepare(device_, batch, config, input);
  return input;
}

}  // namespace detail

/// Dropout and linear over every token, as all families classify tokens.
template <class T, class B>
struct TokenClassifier {
  Dropout dropout;
  Linear<T, B> classifier;

  /// states [N, C] to logits [N, num_labels].
  Tensor<T, B> operator()(const Tensor<T, B>& states, const EncoderPass<B>& pass) const {
    return classifier(attune::dropout(states, dropout.mask(pass.random, pass.keys)));
  }
  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("dropout", self.dropout);
    part("classifier", self.classifier);
  }
};

/// The encoder alone: "BertModel".
template <class Family, class T, class B>
class EncoderModel : public detail::EncoderBase<EncoderModel<Family, T, B>, Family, T, B> {
  using Base = detail::EncoderBase<EncoderModel, Family, T, B>;

 public:
  static constexpr const char* head_name = "Model";
  static std::string encoder_part(const char* part) { return part; }

  /// Parameters are uninitialised: use from_pretrained() or from_config().
  EncoderModel(const typename Base::Config& c, const B& device);

  EncoderOutput<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("", self.encoder);
  }
};

template <class Family, class T, class B>
EncoderModel<Family, T, B>::EncoderModel(const typename Base::Config& c, const B& device)
    : Base(c, device, true) {
  this->finish_construction();
}

template <class Family, class T, class B>
EncoderOutput<T, B> EncoderModel<Family, T, B>::operator()(const Batch& batch) const {
  const auto input = this->input(batch, true);
  const Tensor<T, B> states = this->encoder.states(input, this->gradient_checkpointing);
  return {states, this->encoder.pool(gather_rows(states, input.pass.picked))};
}

/// A classifier or regressor of sequences: "BertForSequenceClassification".
template <class Family, class T, class B>
class EncoderForSequenceClassification
    : public detail::EncoderBase<EncoderForSequenceClassification<Family, T, B>, Family, T, B> {
  using Base = detail::EncoderBase<EncoderForSequenceClassification, Family, T, B>;
  using Head = typename Family::template SequenceHead<T, B>;

 public:
  static constexpr const char* head_name = "ForSequenceClassification";
  static constexpr bool picks_first = true;

  Head head;
  /// Class weights and label smoothing of the single-label loss.
  CrossEntropyLossOptions loss_options{};

  EncoderForSequenceClassification(const typename Base::Config& c, const B& device);

  /// Logits [B, num_labels], and the loss when the batch has labels or targets. Only the first token's row of
  /// the last layer is computed.
  ModelOutput<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part(Family::encoder_name, self.encoder);
    part("", self.head);
  }
};

template <class Family, class T, class B>
EncoderForSequenceClassification<Family, T, B>::EncoderForSequenceClassification(
    const typename Base::Config& c, const B& device)
    : Base(c, device, Head::pools), head(device, c) {
  this->finish_construction();
}

template <class Family, class T, class B>
ModelOutput<T, B> EncoderForSequenceClassification<Family, T, B>::operator()(const Batch& batch) const {
  const auto input = this->input(batch, true);
  const Tensor<T, B> logits =
      head(this->encoder, this->encoder.first_states(input, this->gradient_checkpointing), input.pass);
  return {sequence_classification_loss(logits, batch, this->config.labels, loss_options), logits};
}

/// A classifier of tokens (named entities): "BertForTokenClassification".
template <class Family, class T, class B>
class EncoderForTokenClassification
    : public detail::EncoderBase<EncoderForTokenClassification<Family, T, B>, Family, T, B> {
  using Base = detail::EncoderBase<EncoderForTokenClassification, Family, T, B>;

 public:
  static constexpr const char* head_name = "ForTokenClassification";

  typename Family::template TokenHead<T, B> head;
  CrossEntropyLossOptions loss_options{};

  EncoderForTokenClassification(const typename Base::Config& c, const B& device);

  /// Logits [N, num_labels], and the loss over the tokens whose label is not ignore_index.
  ModelOutput<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part(Family::encoder_name, self.encoder);
    part("", self.head);
  }
};

template <class Family, class T, class B>
EncoderForTokenClassification<Family, T, B>::EncoderForTokenClassification(const typename Base::Config& c,
                                                                           const B& device)
    : Base(c, device, false), head(device, c) {
  this->finish_construction();
}

template <class Family, class T, class B>
ModelOutput<T, B> EncoderForTokenClassification<Family, T, B>::operator()(const Batch& batch) const {
  const auto input = this->input(batch, false);
  const Tensor<T, B> logits = head(this->encoder.states(input, this->gradient_checkpointing), input.pass);
  if (batch.labels.empty()) return {{}, logits};
  return {cross_entropy(logits, batch.labels, loss_options), logits};
}

/// Predicts masked tokens, with the words' embeddings as decoder: "BertForMaskedLM".
template <class Family, class T, class B>
class EncoderForMaskedLM : public detail::EncoderBase<EncoderForMaskedLM<Family, T, B>, Family, T, B> {
  using Base = detail::EncoderBase<EncoderForMaskedLM, Family, T, B>;

 public:
  static constexpr const char* head_name = "ForMaskedLM";

  /// Logits and their gradient of the tokens to predict: one in seven by default.
  static std::int64_t head_bytes(const typename Base::Config& c, std::int64_t tokens, std::int64_t) {
    return tokens / 7 * 2 * c.vocab_size * static_cast<std::int64_t>(sizeof(T));
  }

  typename Family::template MaskedLMHead<T, B> head;
  CrossEntropyLossOptions loss_options{};

  EncoderForMaskedLM(const typename Base::Config& c, const B& device);

  /// Logits [N, V], and the loss over the tokens whose label is not ignore_index. In training only those
  /// tokens' rows of logits are computed: [labelled tokens, V], in order.
  ModelOutput<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part(Family::encoder_name, self.encoder);
    part("", self.head);
  }
};

template <class Family, class T, class B>
EncoderForMaskedLM<Family, T, B>::EncoderForMaskedLM(const typename Base::Config& c, const B& device)
    : Base(c, device, false), head(device, c) {
  this->finish_construction();
}

template <class Family, class T, class B>
ModelOutput<T, B> EncoderForMaskedLM<Family, T, B>::operator()(const Batch& batch) const {
  const auto input = this->input(batch, false);
  const Tensor<T, B> states = this->encoder.states(input, this->gradient_checkpointing);
  if (batch.labels.empty()) return {{}, head(this->encoder, states)};
  if (!this->training()) {
    const Tensor<T, B> logits = head(this->encoder, states);
    return {cross_entropy(logits, batch.labels, loss_options), logits};
  }
  std::vector<std::int32_t> rows, labels;
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] == loss_options.ignore_index) continue;
    rows.push_back(static_cast<std::int32_t>(i));
    labels.push_back(batch.labels[i]);
  }
  const Tensor<T, B> logits = head(this->encoder, gather_rows(states, RowIndex<B>(this->device(), rows)));
  return {cross_entropy(logits, labels, loss_options), logits};
}

/// Sentence embeddings: the mean of the last layer's states or the first token's, as sentence-transformers'
/// files say, scaled to length 1. The parameters are those of the bare encoder; what is saved is read by
/// sentence-transformers and transformers.
template <class Family, class T, class B>
class EncoderForSentenceEmbedding
    : public detail::EncoderBase<EncoderForSentenceEmbedding<Family, T, B>, Family, T, B> {
  using Base = detail::EncoderBase<EncoderForSentenceEmbedding, Family, T, B>;

 public:
  static constexpr const char* head_name = "Model";
  static std::string encoder_part(const char* part) { return part; }

  /// The pooling, and the length that texts are to be cut to: see max_seq_length().
  SentenceEmbeddingConfig sentence_config{};

  EncoderForSentenceEmbedding(const typename Base::Config& c, const B& device);

  /// As the other models', with sentence-transformers' files when the directory has them. Throws ConfigError
  /// for a pooling mode other than mean and cls and for modules that are not supported.
  static EncoderForSentenceEmbedding from_pretrained(const std::string& directory,
                                                     const PretrainedOptions& options = {},
                                                     const B& device = B());
  /// What transformers reads, and what makes it a SentenceTransformer. Throws IoError.
  void save_pretrained(const std::string& directory) const;
  /// The most tokens of a text that the model is meant for: EncodeOptions::max_length for its texts.
  std::int64_t max_seq_length() const {
    std::int64_t positions = this->config.max_position_embeddings;
    if constexpr (requires { Family::max_length(this->config); })
      positions = Family::max_length(this->config);
    return sentence_config.max_seq_length > 0 ? std::min(sentence_config.max_seq_length, positions)
                                              : positions;
  }

  /// Embeddings [B, C]. For losses see loss/embedding_loss.hpp.
  Tensor<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("", self.encoder);
  }
};

template <class Family, class T, class B>
EncoderForSentenceEmbedding<Family, T, B>::EncoderForSentenceEmbedding(const typename Base::Config& c,
                                                                       const B& device)
    : Base(c, device, true) {
  this->finish_construction();
  this->encoder.freeze_pooler();
}

template <class Family, class T, class B>
Tensor<T, B> EncoderForSentenceEmbedding<Family, T, B>::operator()(const Batch& batch) const {
  if (sentence_config.pooling == Pooling::cls)
    return l2_normalize(this->encoder.first_states(this->input(batch, true), this->gradient_checkpointing));
  const auto input = this->input(batch, false);
  return l2_normalize(
      mean_pool(this->encoder.states(input, this->gradient_checkpointing), input.pass.segments));
}

template <class Family, class T, class B>
EncoderForSentenceEmbedding<Family, T, B> EncoderForSentenceEmbedding<Family, T, B>::from_pretrained(
    const std::string& directory, const PretrainedOptions& options, const B& device) {
  const auto sentence_config = SentenceEmbeddingConfig::from_pretrained(directory);
  EncoderForSentenceEmbedding model = Base::from_pretrained(directory, options, device);
  model.sentence_config = sentence_config;
  return model;
}

template <class Family, class T, class B>
void EncoderForSentenceEmbedding<Family, T, B>::save_pretrained(const std::string& directory) const {
  Base::save_pretrained(directory);
  SentenceEmbeddingConfig written = sentence_config;
  written.max_seq_length = max_seq_length();
  written.save(directory, this->encoder.embeddings.word_embeddings.weight.shape()[1]);
}

}  // namespace attune
