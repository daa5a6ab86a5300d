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

ATTUNE_INSTANCE class DecoderForCausalLM<LlamaFamily, float, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<MistralFamily, float, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<Qwen2Family, float, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<Qwen3Family, float, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<Gpt2Family, float, Cpu>;
ATTUNE_INSTANCE class DecoderForSequenceClassification<LlamaFamily, float, Cpu>;
ATTUNE_INSTANCE class DecoderForSequenceClassification<Qwen2Family, float, Cpu>;
ATTUNE_INSTANCE class DecoderForSequenceClassification<Gpt2Family, float, Cpu>;

ATTUNE_INSTANCE class DecoderForCausalLM<LlamaFamily, bfloat16, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<MistralFamily, bfloat16, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<Qwen2Family, bfloat16, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<Qwen3Family, bfloat16, Cpu>;
ATTUNE_INSTANCE class DecoderForCausalLM<Gpt2Family, bfloat16, Cpu>;

}  // namespace attune

#undef ATTUNE_INSTANCE
#endif
