"""The table of decoder cases. decoders.py turns every entry into a directory."""

import dataclasses
import zlib

import numpy as np

SEED = 20250214
IGNORE_INDEX = -100


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    architecture: str  # the transformers class
    config: dict = dataclasses.field(default_factory=dict)  # differences from SMALL or SMALL_GPT2
    lengths: tuple = (9, 4, 12, 1, 7)  # real tokens of each sequence
    padding: str = "right"  # right | left
    layout: int = 5  # rotary fields of config.json as transformers 4 or 5 writes them
    generates: bool = False  # also what generate() returns
    note: str = ""

    @property
    def is_gpt2(self):
        return self.architecture.startswith("GPT2")

    @property
    def classifies(self):
        return self.architecture.endswith("ForSequenceClassification")

    def rng(self, purpose):
        stream = zlib.crc32(f"{self.name}/{purpose}".encode())
        return np.random.Generator(np.random.PCG64([SEED, stream]))


SMALL = dict(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    attention_dropout=0.0,
)
SMALL_GPT2 = dict(
    vocab_size=40,
    n_embd=16,
    n_layer=2,
    n_head=4,
    n_inner=24,
    n_positions=32,
    bos_token_id=1,
    eos_token_id=2,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
)


def rope(kind, theta=10000.0, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


LLAMA3 = dict(factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=12)

CASES = [
    Case("llama_lm", "LlamaForCausalLM", rope("default", 500.0), generates=True,
         note="grouped heads, a head of its own; the real tokens with the pad id learn nothing from lookups"),
    Case("llama_lm_tied_biases", "LlamaForCausalLM",
         dict(rope("linear", factor=2.0), attention_bias=True, mlp_bias=True, tie_word_embeddings=True, head_dim=6,
              pad_token_id=None), layout=4),
    Case("llama_lm_llama3", "LlamaForCausalLM", dict(rope("llama3", 50.0, **LLAMA3), tie_word_embeddings=True),
         layout=4, padding="left", generates=True),
    Case("llama_lm_dynamic", "LlamaForCausalLM", dict(rope("dynamic", factor=3.0), max_position_embeddings=8),
         layout=4),
    Case("llama_cls", "LlamaForSequenceClassification",
         dict(num_labels=3, problem_type="single_label_classification")),
    Case("mistral_lm", "MistralForCausalLM", dict(sliding_window=4), generates=True),
    Case("qwen2_lm", "Qwen2ForCausalLM",
         dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1),
         padding="left", generates=True, note="the second layer has a window"),
    Case("qwen2_cls", "Qwen2ForSequenceClassification", dict(num_labels=1), layout=4, padding="left"),
    Case("qwen3_lm", "Qwen3ForCausalLM", dict(head_dim=8), generates=True),
    Case("gpt2_lm", "GPT2LMHeadModel", generates=True),
    Case("gpt2_lm_untied", "GPT2LMHeadModel",
         dict(tie_word_embeddings=False, activation_function="relu", scale_attn_by_inverse_layer_idx=True),
         padding="left"),
    Case("gpt2_cls", "GPT2ForSequenceClassification", dict(num_labels=4, pad_token_id=0,
         problem_type="multi_label_classification")),
]

# What generate() is asked for; "eos" is filled in by decoders.py with tokens that do come.
GENERATIONS = [
    dict(name="greedy", max_new_tokens=14),
    dict(name="greedy_eos", max_new_tokens=14, eos=True),
    dict(name="greedy_repetition_penalty", max_new_tokens=14, repetition_penalty=1.7),
    dict(name="beam_2", max_new_tokens=8, num_beams=2),
    dict(name="beam_3_eos", max_new_tokens=10, num_beams=3, eos=True),
    dict(name="beam_4_eos_short", max_new_tokens=10, num_beams=4, eos=True, length_penalty=0.3, early_stopping=True),
    dict(name="beam_3_eos_long", max_new_tokens=10, num_beams=3, eos=True, length_penalty=2.0),
    dict(name="beam_3_repetition_penalty", max_new_tokens=9, num_beams=3, eos=True, repetition_penalty=1.3),
]
PROMPTS = [[7, 11, 23, 4, 31], [19], [5, 5, 38, 12, 9, 27, 3, 14]]
