#pragma once

/// All decoders. In targets that link attune::compiled their usual instances come from there.

#include <attune/core/inline.hpp>
#include <attune/models/gpt2.hpp>
#include <attune/models/llama.hpp>

#ifdef ATTUNE_DECLARATIONS_ONLY

#include <attune/autograd/backward.hpp>
#include <attune/backend/cpu/cpu.hpp>

#ifdef ATTUNE_COMPILING
#define ATTUNE_INSTANCE template
#else
#define ATTUNE_INSTANCE extern template
#endif

namespace attune {

// A model with what it inherits.
#define ATTUNE_DECODER_INSTANCE(Head, Family, T)                                                \
  ATTUNE_INSTANCE class PretrainedModel<Head<Family, T, Cpu>, typename Family::Config, T, Cpu>; \
  ATTUNE_INSTANCE class detail::DecoderBase<Head<Family, T, Cpu>, Family, T, Cpu>;              \
  ATTUNE_INSTANCE class Head<Family, T, Cpu>

ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, LlamaFamily, float);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, MistralFamily, float);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, Qwen2Family, float);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, Qwen3Family, float);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, Gpt2Family, float);
ATTUNE_DECODER_INSTANCE(DecoderForSequenceClassification, LlamaFamily, float);
ATTUNE_DECODER_INSTANCE(DecoderForSequenceClassification, Qwen2Family, float);
ATTUNE_DECODER_INSTANCE(DecoderForSequenceClassification, Gpt2Family, float);

ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, LlamaFamily, bfloat16);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, MistralFamily, bfloat16);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, Qwen2Family, bfloat16);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, Qwen3Family, bfloat16);
ATTUNE_DECODER_INSTANCE(DecoderForCausalLM, Gpt2Family, bfloat16);

}  // namespace attune

#undef ATTUNE_DECODER_INSTANCE
#undef ATTUNE_INSTANCE
#endif
