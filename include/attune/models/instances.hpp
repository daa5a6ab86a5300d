#pragma once

// In targets that link attune::compiled the usual instances of the models come from there.

#include <attune/core/inline.hpp>

#ifdef ATTUNE_DECLARATIONS_ONLY

#include <attune/autograd/backward.hpp>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/models/bert.hpp>
#include <attune/models/distilbert.hpp>
#include <attune/models/roberta.hpp>

#ifdef ATTUNE_COMPILING
#define ATTUNE_INSTANCE template
#else
#define ATTUNE_INSTANCE extern template
#endif

namespace attune {

// A model with what it inherits.
#define ATTUNE_ENCODER_INSTANCE(Head, Family, T)                                                \
  ATTUNE_INSTANCE class PretrainedModel<Head<Family, T, Cpu>, typename Family::Config, T, Cpu>; \
  ATTUNE_INSTANCE class detail::EncoderBase<Head<Family, T, Cpu>, Family, T, Cpu>;              \
  ATTUNE_INSTANCE class Head<Family, T, Cpu>

ATTUNE_ENCODER_INSTANCE(EncoderModel, BertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForSequenceClassification, BertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForTokenClassification, BertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForMaskedLM, BertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForSentenceEmbedding, BertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForSequenceClassification, DistilBertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForTokenClassification, DistilBertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForMaskedLM, DistilBertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForSentenceEmbedding, DistilBertFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForSequenceClassification, RobertaFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForTokenClassification, RobertaFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForMaskedLM, RobertaFamily, float);
ATTUNE_ENCODER_INSTANCE(EncoderForSentenceEmbedding, RobertaFamily, float);

ATTUNE_ENCODER_INSTANCE(EncoderForSequenceClassification, BertFamily, bfloat16);
ATTUNE_ENCODER_INSTANCE(EncoderForTokenClassification, BertFamily, bfloat16);
ATTUNE_ENCODER_INSTANCE(EncoderForMaskedLM, BertFamily, bfloat16);
ATTUNE_ENCODER_INSTANCE(EncoderForSentenceEmbedding, BertFamily, bfloat16);
ATTUNE_ENCODER_INSTANCE(EncoderForSequenceClassification, DistilBertFamily, bfloat16);
ATTUNE_ENCODER_INSTANCE(EncoderForSequenceClassification, RobertaFamily, bfloat16);

ATTUNE_INSTANCE class Tensor<float, Cpu>;
ATTUNE_INSTANCE class Tensor<bfloat16, Cpu>;

}  // namespace attune

#undef ATTUNE_ENCODER_INSTANCE
#undef ATTUNE_INSTANCE
#endif
