#pragma once

// In targets that link attune::compiled the usual instances of the models come from there.

#include <attune/core/inline.hpp>

#ifdef ATTUNE_DECLARATIONS_ONLY

#include <attune/autograd/backward.hpp>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/models/bert.hpp>
#include <attune/models/distilbert.hpp>

#ifdef ATTUNE_COMPILING
#define ATTUNE_INSTANCE template
#else
#define ATTUNE_INSTANCE extern template
#endif

namespace attune {

ATTUNE_INSTANCE class EncoderModel<BertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForSequenceClassification<BertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForTokenClassification<BertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForMaskedLM<BertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForSentenceEmbedding<BertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForSequenceClassification<DistilBertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForTokenClassification<DistilBertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForMaskedLM<DistilBertFamily, float, Cpu>;
ATTUNE_INSTANCE class EncoderForSentenceEmbedding<DistilBertFamily, float, Cpu>;

ATTUNE_INSTANCE class EncoderForSequenceClassification<BertFamily, bfloat16, Cpu>;
ATTUNE_INSTANCE class EncoderForTokenClassification<BertFamily, bfloat16, Cpu>;
ATTUNE_INSTANCE class EncoderForMaskedLM<BertFamily, bfloat16, Cpu>;
ATTUNE_INSTANCE class EncoderForSentenceEmbedding<BertFamily, bfloat16, Cpu>;
ATTUNE_INSTANCE class EncoderForSequenceClassification<DistilBertFamily, bfloat16, Cpu>;

}  // namespace attune

#undef ATTUNE_INSTANCE
#endif
