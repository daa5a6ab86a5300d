#pragma once

#include <optional>
#include <string>
#include <vector>

#include <attune/models/config.hpp>
#include <attune/models/encoder_heads.hpp>
#include <attune/models/encoder_input.hpp>
#include <attune/nn/embedding.hpp>

// BERT (Devlin et al. 2018, arXiv:1810.04805) in the names of transformers/models/bert/modeling_bert.py.

namespace attune {

/// Words + positions + token types, normalised: [N, C].
template <class T, class B>
struct BertEmbeddings {
  Embedding<T, B> word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm<T, B> norm;
  Dropout dropout;

  BertEmbeddings(const B& device, const BertConfig& c)
      : word_embeddings(device, c.vocab_size, c.hidden_size, c.pad_token_id),
        position_embeddings(device, c.max_position_embeddings, c.hidden_size),
        token_type_embeddings(device, c.type_vocab_size, c.hidden_size),
        norm(device, c.hidden_size, static_cast<float>(c.layer_norm_eps)),
        dropout(make_dropout(c.hidden_dropout_prob, "hidden_dropout_prob")) {}

  Tensor<T, B> operator()(const EncoderInput<B>& input) const {
    const Tensor<T, B> sum =
        embedding_sum(input.ids, word_embeddings.weight, input.positions, position_embeddings.weight,
                      input.token_types, token_type_embeddings.weight);
    return attune::dropout(norm(sum), dropout.mask(input.pass.random, input.pass.keys));
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("word_embeddings", self.word_embeddings);
    part("position_embeddings", self.position_embeddings);
    part("token_type_embeddings", self.token_type_embeddings);
    part("LayerNorm", self.norm);
    part("dropout", self.dropout);
  }
};

/// A post-norm layer under BERT's names.
template <class T, class B>
struct BertLayer : PostNormLayer<T, B> {
  using PostNormLayer<T, B>::PostNormLayer;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    const std::int64_t features = self.qkv.weight.shape()[1];
    part("attention.self.query", self.qkv.rows(0, features));
    part("attention.self.key", self.qkv.rows(features, 2 * features));
    part("attention.self.value", self.qkv.rows(2 * features, 3 * features));
    part("attention.self.dropout", self.attention_dropout);
    part("attention.output.dense", self.attention_output);
    part("attention.output.dropout", self.attention_output_dropout);
    part("attention.output.LayerNorm", self.attention_norm);
    part("intermediate.dense", self.intermediate);
    part("output.dense", self.output);
    part("output.dropout", self.output_dropout);
    part("output.LayerNorm", self.output_norm);
  }
};

/// The first token's state through a dense layer and tanh: [B, C].
template <class T, class B>
struct BertPooler {
  Linear<T, B> dense;

  Tensor<T, B> operator()(const Tensor<T, B>& first_rows) const { return dense(first_rows, Unary::tanh); }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("dense", self.dense);
  }
};

/// Embeddings, layers and pooler, as the part "bert" of a model with a head.
template <class T, class B>
struct BertEncoder {
  BertEmbeddings<T, B> embeddings;
  std::vector<BertLayer<T, B>> layer;
  std::optional<BertPooler<T, B>> pooler;

  BertEncoder(const B& device, const BertConfig& c, bool add_pooling_layer) : embeddings(device, c) {
    const PostNormLayerOptions options{
        c.hidden_size,
        c.intermediate_size,
        c.num_attention_heads,
        static_cast<float>(c.layer_norm_eps),
        activation_from_name(c.hidden_act),
        make_dropout(c.attention_probs_dropout_prob, "attention_probs_dropout_prob"),
        make_dropout(c.hidden_dropout_prob, "hidden_dropout_prob"),
        make_dropout(c.hidden_dropout_prob, "hidden_dropout_prob")};
    for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) layer.emplace_back(device, options);
    if (add_pooling_layer)
      pooler.emplace(BertPooler<T, B>{Linear<T, B>(device, c.hidden_size, c.hidden_size)});
  }

  /// The states of all tokens, [N, C].
  Tensor<T, B> states(const EncoderInput<B>& input, bool checkpointed) const {
    return run_layers(layer, embeddings(input), input.pass, false, checkpointed);
  }
  /// The states of the first tokens alone, [B, C]: the last layer computes no other rows.
  Tensor<T, B> first_states(const EncoderInput<B>& input, bool checkpointed) const {
    return run_layers(layer, embeddings(input), input.pass, true, checkpointed);
  }
  /// For models that keep the pooler in the checkpoint and never read it.
  void freeze_pooler() {
    if (!pooler) return;
    pooler->dense.weight.freeze();
    pooler->dense.bias.freeze();
  }
  /// What pooler_output is made of; empty without a pooler. rows [B, C].
  Tensor<T, B> pool(const Tensor<T, B>& rows) const { return pooler ? (*pooler)(rows) : Tensor<T, B>(); }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("embeddings", self.embeddings);
    part("encoder.layer", self.layer);
    if (self.pooler) part("pooler", *self.pooler);
  }
};

/// Dense, activation, norm, and the words' embeddings as the decoder: logits of every word. Its parts have
/// other names in each model.
template <class T, class B>
struct BertPredictions {
  Unary activation;
  Linear<T, B> dense;
  LayerNorm<T, B> norm;
  Linear<T, B> decoder;  ///< empty when tied: the words' embeddings and `bias`
  Parameter<T, B> bias;

  BertPredictions(const B& device, const BertConfig& c, Unary act)
      : activation(act),
        dense(device, c.hidden_size, c.hidden_size),
        norm(device, c.hidden_size, static_cast<float>(c.layer_norm_eps)),
        bias(device, {c.vocab_size}, Init::zeros) {
    if (c.tie_word_embeddings) return;
    decoder = Linear<T, B>(device, c.hidden_size, c.vocab_size);
    bias.freeze();  // upstream keeps it in the file and does not use it
  }
  /// rows [N, C] to logits [N, V].
  Tensor<T, B> operator()(const BertEncoder<T, B>& encoder, const Tensor<T, B>& rows) const {
    const Tensor<T, B> h = norm(dense(rows, activation));
    return decoder.weight ? decoder(h) : linear(h, encoder.embeddings.word_embeddings.weight, bias);
  }
};

/// What BERT calls its parts; see encoder_heads.hpp.
struct BertFamily {
  using Config = BertConfig;
  template <class T, class B>
  using Encoder = BertEncoder<T, B>;
  static constexpr const char* class_name = "Bert";
  static constexpr const char* encoder_name = "bert";
  static constexpr const char* layers = "encoder.layer.";
  static std::vector<std::string> ignored_keys() {
    return {"*embeddings.position_ids", "*embeddings.token_type_ids", "cls.predictions.decoder.weight",
            "cls.predictions.decoder.bias"};
  }
  static std::int64_t num_layers(const Config& c) { return c.num_hidden_layers; }

  /// Pooled first token, dropout, linear.
  template <class T, class B>
  struct SequenceHead {
    Dropout dropout;
    Linear<T, B> classifier;

    static constexpr bool pools = true;
    SequenceHead(const B& device, const Config& c)
        : dropout(make_dropout(c.classifier_dropout.value_or(c.hidden_dropout_prob), "classifier_dropout")),
          classifier(device, c.hidden_size, c.labels.num_labels) {}

    /// first [B, C], the last layer's state of each first token, to logits [B, num_labels].
    Tensor<T, B> operator()(const Encoder<T, B>& bert, const Tensor<T, B>& first,
                            const EncoderPass<B>& pass) const {
      return classifier(attune::dropout((*bert.pooler)(first), dropout.mask(pass.random, pass.picked_keys)));
    }
    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& part) {
      part("dropout", self.dropout);
      part("classifier", self.classifier);
    }
  };

  template <class T, class B>
  struct TokenHead : TokenClassifier<T, B> {
    TokenHead(const B& device, const Config& c)
        : TokenClassifier<T, B>{
              make_dropout(c.classifier_dropout.value_or(c.hidden_dropout_prob), "classifier_dropout"),
              Linear<T, B>(device, c.hidden_size, c.labels.num_labels)} {}
  };

  template <class T, class B>
  struct MaskedLMHead : BertPredictions<T, B> {
    MaskedLMHead(const B& device, const Config& c)
        : BertPredictions<T, B>(device, c, activation_from_name(c.hidden_act)) {}

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& part) {
      part("cls.predictions.transform.dense", self.dense);
      part("cls.predictions.transform.LayerNorm", self.norm);
      part("cls.predictions.decoder", self.decoder);
      part("cls.predictions.bias", self.bias);
    }
  };
};

template <class T, class B>
using BertModel = EncoderModel<BertFamily, T, B>;
template <class T, class B>
using BertForSequenceClassification = EncoderForSequenceClassification<BertFamily, T, B>;
template <class T, class B>
using BertForTokenClassification = EncoderForTokenClassification<BertFamily, T, B>;
template <class T, class B>
using BertForMaskedLM = EncoderForMaskedLM<BertFamily, T, B>;
template <class T, class B>
using BertForSentenceEmbedding = EncoderForSentenceEmbedding<BertFamily, T, B>;

}  // namespace attune
