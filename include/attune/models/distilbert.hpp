#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <attune/models/config.hpp>
#include <attune/models/encoder_heads.hpp>
#include <attune/models/encoder_input.hpp>
#include <attune/nn/embedding.hpp>

// DistilBERT (Sanh et al. 2019, arXiv:1910.01108) in the names of
// transformers/models/distilbert/modeling_distilbert.py: BERT's layers without token types and pooler.

namespace attune {

namespace detail {
/// Every norm of DistilBERT has this epsilon; its config has no field for it.
inline constexpr float distilbert_eps = 1e-12f;
}  // namespace detail

/// Words + positions, normalised: [N, C].
template <class T, class B>
struct DistilBertEmbeddings {
  Embedding<T, B> word_embeddings, position_embeddings;
  LayerNorm<T, B> norm;
  Dropout dropout;

  DistilBertEmbeddings(const B& device, const DistilBertConfig& c)
      : word_embeddings(device, c.vocab_size, c.dim, c.pad_token_id),
        position_embeddings(device, c.max_position_embeddings, c.dim),
        norm(device, c.dim, detail::distilbert_eps),
        dropout(make_dropout(c.dropout, "dropout")) {
    if (c.sinusoidal_pos_embds) position_embeddings.weight.state()->init = Init::sinusoidal;
  }

  Tensor<T, B> operator()(const EncoderInput<B>& input) const {
    const Tensor<T, B> sum = embedding_sum(input.ids, word_embeddings.weight, input.positions,
                                           position_embeddings.weight, RowIndex<B>(), Parameter<T, B>());
    return attune::dropout(norm(sum), dropout.mask(input.pass.random, input.pass.keys));
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("word_embeddings", self.word_embeddings);
    part("position_embeddings", self.position_embeddings);
    part("LayerNorm", self.norm);
    part("dropout", self.dropout);
  }
};

/// A post-norm layer under DistilBERT's names.
template <class T, class B>
struct DistilBertLayer : PostNormLayer<T, B> {
  using PostNormLayer<T, B>::PostNormLayer;

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    const std::int64_t features = self.qkv.weight.shape()[1];
    part("attention.q_lin", self.qkv.rows(0, features));
    part("attention.k_lin", self.qkv.rows(features, 2 * features));
    part("attention.v_lin", self.qkv.rows(2 * features, 3 * features));
    part("attention.dropout", self.attention_dropout);
    part("attention.out_lin", self.attention_output);
    part("sa_layer_norm", self.attention_norm);
    part("ffn.lin1", self.intermediate);
    part("ffn.lin2", self.output);
    part("ffn.dropout", self.output_dropout);
    part("output_layer_norm", self.output_norm);
  }
};

/// Embeddings and layers, as the part "distilbert" of a model with a head.
template <class T, class B>
struct DistilBertEncoder {
  DistilBertEmbeddings<T, B> embeddings;
  std::vector<DistilBertLayer<T, B>> layer;

  DistilBertEncoder(const B& device, const DistilBertConfig& c, bool) : embeddings(device, c) {
    const PostNormLayerOptions options{c.dim,
                                       c.hidden_dim,
                                       c.n_heads,
                                       detail::distilbert_eps,
                                       activation_from_name(c.activation, "activation"),
                                       make_dropout(c.attention_dropout, "attention_dropout"),
                                       Dropout{},
                                       make_dropout(c.dropout, "dropout")};
    for (std::int64_t i = 0; i < c.n_layers; ++i) layer.emplace_back(device, options);
  }

  Tensor<T, B> states(const EncoderInput<B>& input, bool checkpointed) const {
    return run_layers(layer, embeddings(input), input.pass, false, checkpointed);
  }
  Tensor<T, B> first_states(const EncoderInput<B>& input, bool checkpointed) const {
    return run_layers(layer, embeddings(input), input.pass, true, checkpointed);
  }
  Tensor<T, B> pool(const Tensor<T, B>&) const { return {}; }
  void freeze_pooler() {}

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("embeddings", self.embeddings);
    part("transformer.layer", self.layer);
  }
};

/// What DistilBERT calls its parts; see encoder_heads.hpp.
struct DistilBertFamily {
  using Config = DistilBertConfig;
  template <class T, class B>
  using Encoder = DistilBertEncoder<T, B>;
  static constexpr const char* class_name = "DistilBert";
  static constexpr const char* encoder_name = "distilbert";
  static constexpr const char* layers = "transformer.layer.";
  static std::vector<std::string> ignored_keys() {
    return {"*embeddings.position_ids", "vocab_projector.weight"};
  }
  static std::int64_t num_layers(const Config& c) { return c.n_layers; }

  /// First token, dense and ReLU, dropout, linear.
  template <class T, class B>
  struct SequenceHead {
    Linear<T, B> pre_classifier, classifier;
    Dropout dropout;

    static constexpr bool pools = false;
    SequenceHead(const B& device, const Config& c)
        : pre_classifier(device, c.dim, c.dim),
          classifier(device, c.dim, c.labels.num_labels),
          dropout(make_dropout(c.seq_classif_dropout, "seq_classif_dropout")) {}

    Tensor<T, B> operator()(const Encoder<T, B>&, const Tensor<T, B>& first,
                            const EncoderPass<B>& pass) const {
      return classifier(
          attune::dropout(pre_classifier(first, Unary::relu), dropout.mask(pass.random, pass.picked_keys)));
    }
    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& part) {
      part("pre_classifier", self.pre_classifier);
      part("classifier", self.classifier);
      part("dropout", self.dropout);
    }
  };

  template <class T, class B>
  struct TokenHead : TokenClassifier<T, B> {
    TokenHead(const B& device, const Config& c)
        : TokenClassifier<T, B>{make_dropout(c.dropout, "dropout"),
                                Linear<T, B>(device, c.dim, c.labels.num_labels)} {}
  };

  /// Dense, activation, norm, and the words' embeddings as the decoder.
  template <class T, class B>
  struct MaskedLMHead {
    Unary activation;
    Linear<T, B> vocab_transform;
    LayerNorm<T, B> vocab_layer_norm;
    Linear<T, B> vocab_projector;  ///< its weight is empty when tied: the words' embeddings

    MaskedLMHead(const B& device, const Config& c)
        : activation(activation_from_name(c.activation, "activation")),
          vocab_transform(device, c.dim, c.dim),
          vocab_layer_norm(device, c.dim, detail::distilbert_eps) {
      vocab_projector.bias = Parameter<T, B>(device, {c.vocab_size}, Init::zeros);
      if (!c.tie_word_embeddings)
        vocab_projector.weight = Parameter<T, B>(device, {c.vocab_size, c.dim}, Init::normal);
    }
    Tensor<T, B> operator()(const Encoder<T, B>& distilbert, const Tensor<T, B>& rows) const {
      return linear(
          vocab_layer_norm(vocab_transform(rows, activation)),
          vocab_projector.weight ? vocab_projector.weight : distilbert.embeddings.word_embeddings.weight,
          vocab_projector.bias);
    }
    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& part) {
      part("vocab_transform", self.vocab_transform);
      part("vocab_layer_norm", self.vocab_layer_norm);
      part("vocab_projector", self.vocab_projector);
    }
  };
};

template <class T, class B>
using DistilBertModel = EncoderModel<DistilBertFamily, T, B>;
template <class T, class B>
using DistilBertForSequenceClassification = EncoderForSequenceClassification<DistilBertFamily, T, B>;
template <class T, class B>
using DistilBertForTokenClassification = EncoderForTokenClassification<DistilBertFamily, T, B>;
template <class T, class B>
using DistilBertForMaskedLM = EncoderForMaskedLM<DistilBertFamily, T, B>;
template <class T, class B>
using DistilBertForSentenceEmbedding = EncoderForSentenceEmbedding<DistilBertFamily, T, B>;

}  // namespace attune
