#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <attune/models/bert.hpp>

// RoBERTa (Liu et al. 2019, arXiv:1907.11692) and XLM-RoBERTa (Conneau et al. 2019, arXiv:1911.02116) in the
// names of transformers/models/roberta/modeling_roberta.py: BERT with other positions and heads. The two
// differ in their tokenizers and in what config.json calls them.

namespace attune {

/// BERT's encoder. The positions' embedding has a padding row, too.
template <class T, class B>
struct RobertaEncoder : BertEncoder<T, B> {
  RobertaEncoder(const B& device, const RobertaConfig& c, bool add_pooling_layer)
      : BertEncoder<T, B>(device, c, add_pooling_layer) {
    this->embeddings.position_embeddings.weight.state()->zero_row = c.pad_token_id;
  }
};

/// What RoBERTa calls its parts; see encoder_heads.hpp.
struct RobertaFamily : BertFamily {
  using Config = RobertaConfig;
  template <class T, class B>
  using Encoder = RobertaEncoder<T, B>;
  static constexpr const char* class_name = "Roberta";
  static constexpr const char* encoder_name = "roberta";
  static std::vector<std::string> ignored_keys() {
    return {"*embeddings.position_ids", "*embeddings.token_type_ids", "lm_head.decoder.weight",
            "lm_head.decoder.bias"};
  }

  /// Tokens count from pad_token_id + 1, whatever the batch says; pad tokens stand at pad_token_id and do not
  /// count.
  static std::vector<std::int32_t> position_ids(const Batch& batch, const Config& c) {
    const auto pad = static_cast<std::int32_t>(c.pad_token_id);
    std::vector<std::int32_t> positions(batch.input_ids.size(), pad);
    for (std::int64_t b = 0; b < batch.segments.count(); ++b) {
      std::int32_t next = pad;
      auto at = static_cast<std::size_t>(batch.segments.offsets()[static_cast<std::size_t>(b)]);
      for (const std::size_t end = at + static_cast<std::size_t>(batch.segments.length(b)); at < end; ++at)
        if (batch.input_ids[at] != pad) positions[at] = ++next;
    }
    return positions;
  }
  template <class B>
  static void prepare(const B& device, const Batch& batch, const Config& c, EncoderInput<B>& input) {
    input.positions = RowIndex<B>(device, position_ids(batch, c), c.pad_token_id);
    // The types of a pair are for models that have some; transformers does not pass them on, either.
    if (c.type_vocab_size == 1)
      input.token_types = RowIndex<B>(device, std::vector<std::int32_t>(batch.input_ids.size(), 0));
  }
  /// How many tokens a row may have.
  static std::int64_t max_length(const Config& c) { return c.max_position_embeddings - c.pad_token_id - 1; }

  /// First token, dropout, dense and tanh, dropout, linear.
  template <class T, class B>
  struct SequenceHead {
    Dropout first_dropout;
    Linear<T, B> dense;
    Dropout dropout;
    Linear<T, B> out_proj;

    static constexpr bool pools = false;
    SequenceHead(const B& device, const Config& c)
        : first_dropout(
              make_dropout(c.classifier_dropout.value_or(c.hidden_dropout_prob), "classifier_dropout")),
          dense(device, c.hidden_size, c.hidden_size),
          dropout(first_dropout),
          out_proj(device, c.hidden_size, c.labels.num_labels) {}

    /// first [B, C], the last layer's state of each first token, to logits [B, num_labels].
    Tensor<T, B> operator()(const Encoder<T, B>&, const Tensor<T, B>& first,
                            const EncoderPass<B>& pass) const {
      const auto drop = [&](const Tensor<T, B>& x, const Dropout& d) {
        return attune::dropout(x, d.mask(pass.random, pass.picked_keys));
      };
      return out_proj(drop(dense(drop(first, first_dropout), Unary::tanh), dropout));
    }
    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& part) {
      part("classifier.first_dropout", self.first_dropout);
      part("classifier.dense", self.dense);
      part("classifier.dropout", self.dropout);
      part("classifier.out_proj", self.out_proj);
    }
  };

  /// As BERT's, with GELU whatever hidden_act is.
  template <class T, class B>
  struct MaskedLMHead : BertPredictions<T, B> {
    MaskedLMHead(const B& device, const Config& c) : BertPredictions<T, B>(device, c, Unary::gelu) {}

    template <class Self, class Visitor>
    static void visit(Self& self, Visitor&& part) {
      part("lm_head.dense", self.dense);
      part("lm_head.layer_norm", self.norm);
      part("lm_head.decoder", self.decoder);
      part("lm_head.bias", self.bias);
    }
  };
};

template <class T, class B>
using RobertaModel = EncoderModel<RobertaFamily, T, B>;
template <class T, class B>
using RobertaForSequenceClassification = EncoderForSequenceClassification<RobertaFamily, T, B>;
template <class T, class B>
using RobertaForTokenClassification = EncoderForTokenClassification<RobertaFamily, T, B>;
template <class T, class B>
using RobertaForMaskedLM = EncoderForMaskedLM<RobertaFamily, T, B>;
template <class T, class B>
using RobertaForSentenceEmbedding = EncoderForSentenceEmbedding<RobertaFamily, T, B>;

}  // namespace attune
