#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/formats/gguf_checkpoint.hpp>
#include <attune/loss/linear_cross_entropy.hpp>
#include <attune/models/classification_loss.hpp>
#include <attune/models/decoder_input.hpp>
#include <attune/models/outputs.hpp>
#include <attune/models/pretrained_model.hpp>
#include <attune/nn/linear.hpp>

// The models that a decoder family (Llama, Mistral, Qwen2, Qwen3, GPT-2) makes with its heads. A Family names
// its config, its decoder and the parts as upstream names them; see LlamaFamily.

namespace attune {

namespace detail {

/// Config, decoder and loading, common to all heads.
template <class Derived, class Family, class T, class B>
class DecoderBase : public PretrainedModel<Derived, typename Family::Config, T, B> {
 public:
  using Config = typename Family::Config;
  using Decoder = typename Family::template Decoder<T, B>;

  static constexpr const char* base_model_prefix = Family::decoder_name;
  static constexpr CheckpointReader (*open_checkpoint)(const std::string&) = attune::open_checkpoint;
  static std::string layer_prefix() { return Derived::decoder_part(Family::layers); }
  static std::vector<std::string> ignored_keys() { return Family::ignored_keys(); }
  static std::vector<std::string> embedding_patterns() {
    std::vector<std::string> patterns;
    for (const char* name : Family::embeddings) patterns.push_back(Derived::decoder_part(name));
    return patterns;
  }
  static std::string architecture() { return std::string(Family::class_name) + Derived::head_name; }
  /// The name of a part of the decoder in this model.
  static std::string decoder_part(const char* part) { return std::string(Family::decoder_name) + "." + part; }

  Config config;
  Decoder decoder;

  std::int64_t num_layers() const { return static_cast<std::int64_t>(decoder.layers.size()); }
  const B& device() const { return device_; }
  std::int64_t vocab_size() const { return decoder.words().shape()[0]; }
  /// The most tokens that a sequence may have; 0: no bound but memory.
  std::int64_t max_positions() const { return Family::max_positions(config); }
  /// The tokens that end a text, as config.json says.
  std::vector<std::int32_t> eos_token_ids() const {
    return {config.eos_token_ids.begin(), config.eos_token_ids.end()};
  }

  /// Room for the keys and values of `sequences` texts of up to `capacity` tokens each.
  KvCache<T, B> make_cache(std::int64_t sequences, std::int64_t capacity) const {
    return KvCache<T, B>(device_, num_layers(), Family::kv_features(config), sequences, capacity);
  }

  /// A forecast of the bytes that activations take in a training step; see EncoderBase.
  std::int64_t activation_bytes(std::int64_t tokens, std::int64_t sequences) const;
  static std::int64_t head_bytes(const DecoderBase&, std::int64_t, std::int64_t) { return 0; }

 protected:
  DecoderBase(const Config& c, const B& device);

  /// The states after the last norm: of the given rows, or of all when there are none.
  Tensor<T, B> states(const Batch& batch, const std::vector<std::int32_t>* rows = nullptr) const;

 private:
  B device_;
};

template <class Derived, class Family, class T, class B>
std::int64_t DecoderBase<Derived, Family, T, B>::activation_bytes(std::int64_t tokens,
                                                                  std::int64_t sequences) const {
  const std::int64_t states = tokens * decoder.words().shape()[1] * static_cast<std::int64_t>(sizeof(T));
  std::int64_t bytes = 2 * states + Derived::head_bytes(*this, tokens, sequences), worst = 0;
  for (const auto& layer : decoder.layers) {
    const std::int64_t saved = layer.saved_bytes(tokens);
    bytes += this->gradient_checkpointing ? states : saved;
    worst = std::max(worst, layer.backward_bytes(tokens) + (this->gradient_checkpointing ? saved : 0));
  }
  return bytes + worst;
}

template <class Derived, class Family, class T, class B>
DecoderBase<Derived, Family, T, B>::DecoderBase(const Config& c, const B& device)
    : config(c), decoder(device, c), device_(device) {}

template <class Derived, class Family, class T, class B>
Tensor<T, B> DecoderBase<Derived, Family, T, B>::states(const Batch& batch,
                                                        const std::vector<std::int32_t>* rows) const {
  return decoder.states(
      make_decoder_input<T>(device_, config, batch, this->training(), this->draw(batch.size()), rows),
      this->gradient_checkpointing);
}

}  // namespace detail

/// The decoder alone: "LlamaModel".
template <class Family, class T, class B>
class DecoderModel : public detail::DecoderBase<DecoderModel<Family, T, B>, Family, T, B> {
  using Base = detail::DecoderBase<DecoderModel, Family, T, B>;

 public:
  static constexpr const char* head_name = "Model";
  static std::string decoder_part(const char* part) { return part; }

  /// Parameters are uninitialised: use from_pretrained() or from_config().
  DecoderModel(const typename Base::Config& c, const B& device);

  /// The last layer's normalised states, [N, C].
  EncoderOutput<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("", self.decoder);
  }
};

template <class Family, class T, class B>
DecoderModel<Family, T, B>::DecoderModel(const typename Base::Config& c, const B& device) : Base(c, device) {
  this->finish_construction();
}

template <class Family, class T, class B>
EncoderOutput<T, B> DecoderModel<Family, T, B>::operator()(const Batch& batch) const {
  return {this->states(batch), {}};
}

/// Predicts the next token: "LlamaForCausalLM".
template <class Family, class T, class B>
class DecoderForCausalLM : public detail::DecoderBase<DecoderForCausalLM<Family, T, B>, Family, T, B> {
  using Base = detail::DecoderBase<DecoderForCausalLM, Family, T, B>;

 public:
  static constexpr const char* head_name = Family::causal_lm;

  Linear<T, B> lm_head;  ///< its weight is empty when tied: the words' embeddings
  LinearCrossEntropyOptions loss_options{};

  DecoderForCausalLM(const typename Base::Config& c, const B& device);

  /// Without labels: logits [N, V]. With labels (N, each token's own id or ignore_index): the mean loss of
  /// predicting every labelled token from those before it in its sequence, and no logits, since they are
  /// never held whole. Throws ConfigError when no token is labelled.
  ModelOutput<T, B> operator()(const Batch& batch) const;

  /// Reads the next tokens of each sequence (none: it is left alone) on top of what the cache holds, and
  /// returns the logits after the last of them, [sequences with tokens, V]. Records no graph. Throws
  /// ShapeError or ConfigError when they do not fit the cache.
  Tensor<T, B> next_logits(const std::vector<std::vector<std::int32_t>>& tokens, KvCache<T, B>& cache) const;

  /// For each token of the batch the row of states that logits are made of; see generation/evaluate.hpp.
  Tensor<T, B> states_of(const Batch& batch, const std::vector<std::int32_t>& rows) const {
    return this->states(batch, &rows);
  }
  Tensor<T, B> logits_of(const Tensor<T, B>& states) const;

  /// The logits and their gradient of the chunk that is held, and what may be added to the weight's rows.
  static std::int64_t head_bytes(const Base& model, std::int64_t tokens, std::int64_t) {
    const std::int64_t vocabulary = model.decoder.words().shape()[0];
    const std::int64_t held = std::min(tokens * vocabulary, held_logits(model.decoder.words().device(), {}));
    const bool padded = detail::padded_classes<B>(vocabulary) != vocabulary;
    return held *
               static_cast<std::int64_t>(sizeof(Wide<T>) + (sizeof(T) == sizeof(Wide<T>) ? 0 : sizeof(T))) +
           (padded ? model.decoder.words().shape().size() * static_cast<std::int64_t>(sizeof(T)) : 0);
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part(Family::decoder_name, self.decoder);
    part("lm_head", self.lm_head);
  }

 private:
  const Parameter<T, B>& head_weight() const {
    return lm_head.weight ? lm_head.weight : this->decoder.words();
  }
};

template <class Family, class T, class B>
DecoderForCausalLM<Family, T, B>::DecoderForCausalLM(const typename Base::Config& c, const B& device)
    : Base(c, device) {
  if (!c.tie_word_embeddings)
    lm_head = Linear<T, B>(device, this->decoder.words().shape()[1], c.vocab_size, false);
  if (lm_head.weight) lm_head.weight.state()->may_be_quantized = false;  // the loss reads its rows
  this->finish_construction();
}

template <class Family, class T, class B>
ModelOutput<T, B> DecoderForCausalLM<Family, T, B>::operator()(const Batch& batch) const {
  if (batch.labels.empty()) return {{}, logits_of(this->states(batch))};
  const CausalTargets targets = causal_targets(batch, loss_options.ignore_index);
  if (targets.rows.empty()) throw ConfigError("causal language model: no token of the batch has a label");
  const Tensor<T, B> rows = this->states(batch, &targets.rows);
  return {linear_cross_entropy(rows, head_weight(), targets.labels, loss_options), {}};
}

template <class Family, class T, class B>
Tensor<T, B> DecoderForCausalLM<Family, T, B>::next_logits(
    const std::vector<std::vector<std::int32_t>>& tokens, KvCache<T, B>& cache) const {
  const NoGradGuard guard;
  const auto input = make_cached_input(this->device(), this->config, tokens, cache);
  const Tensor<T, B> rows = this->decoder.states(input, false);
  cache.finish();
  return logits_of(rows);
}

template <class Family, class T, class B>
Tensor<T, B> DecoderForCausalLM<Family, T, B>::logits_of(const Tensor<T, B>& states) const {
  return linear(states, head_weight(), Parameter<T, B>());
}

/// A classifier or regressor of sequences by their last token: "LlamaForSequenceClassification".
template <class Family, class T, class B>
class DecoderForSequenceClassification
    : public detail::DecoderBase<DecoderForSequenceClassification<Family, T, B>, Family, T, B> {
  using Base = detail::DecoderBase<DecoderForSequenceClassification, Family, T, B>;

 public:
  static constexpr const char* head_name = "ForSequenceClassification";

  Linear<T, B> score;
  /// Class weights and label smoothing of the single-label loss.
  CrossEntropyLossOptions loss_options{};

  DecoderForSequenceClassification(const typename Base::Config& c, const B& device);

  /// Logits [B, num_labels], and the loss when the batch has labels or targets. Above the last layer's
  /// attention only the last tokens' rows are computed.
  ModelOutput<T, B> operator()(const Batch& batch) const;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part(Family::decoder_name, self.decoder);
    part("score", self.score);
  }
};

template <class Family, class T, class B>
DecoderForSequenceClassification<Family, T, B>::DecoderForSequenceClassification(
    const typename Base::Config& c, const B& device)
    : Base(c, device), score(device, this->decoder.words().shape()[1], c.labels.num_labels, false) {
  this->finish_construction();
}

template <class Family, class T, class B>
ModelOutput<T, B> DecoderForSequenceClassification<Family, T, B>::operator()(const Batch& batch) const {
  const std::vector<std::int32_t> rows = last_rows(batch.segments);
  const Tensor<T, B> logits = score(this->states(batch, &rows));
  return {sequence_classification_loss(logits, batch, this->config.labels, loss_options), logits};
}

}  // namespace attune
