"""Writes data/gguf_models/, which tests/formats/gguf_checkpoint_test.cpp reads.

For each architecture NAME.gguf, laid out as llama.cpp's converter lays it out, and what transformers reads in it
(`gguf_file=`): the weights NAME.safetensors and the fields of the config that come from the file, NAME.json. Made with
gguf 0.19.0, transformers 5.24.0, torch 2.15.0; run again only to add to them.
"""

import json
import pathlib

import gguf
import numpy
import torch
import transformers
from safetensors.torch import save_file

DATA = pathlib.Path(__file__).parent / "data" / "gguf_models"
HEADS, KV_HEADS, WIDTH, INNER, WORDS, LENGTH = 4, 2, 32, 64, 40, 48


def interleave(weights, heads):
    """What llama.cpp's converter does to the query and key rows of a Llama."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(
        weights.shape)


def random_matrix(random, *shape):
    return (random.standard_normal(shape) * 0.1).astype(numpy.float32)


class File:
    def __init__(self, name, architecture):
        self.path = DATA / f"{name}.gguf"
        self.writer = gguf.GGUFWriter(self.path, architecture)
        self.writer.add_block_count(1)
        self.writer.add_context_length(LENGTH)
        self.writer.add_embedding_length(WIDTH)
        self.writer.add_feed_forward_length(INNER)
        self.writer.add_head_count(HEADS)
        self.writer.add_bos_token_id(1)
        self.writer.add_eos_token_id(2)
        self.writer.add_pad_token_id(3)

    def add(self, name, data, kind=gguf.GGMLQuantizationType.F32):
        self.writer.add_tensor(name, gguf.quantize(data, kind), raw_dtype=kind)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def add_llama_layer(file, random, layer, permuted, biases, head_norms):
    head = WIDTH // HEADS
    shapes = {"attn_q": (HEADS * head, WIDTH), "attn_k": (KV_HEADS * head, WIDTH), "attn_v": (KV_HEADS * head, WIDTH),
              "attn_output": (WIDTH, HEADS * head), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH),
              "ffn_down": (WIDTH, INNER)}
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}
    kinds = {"attn_q": gguf.GGMLQuantizationType.Q4_0, "attn_k": gguf.GGMLQuantizationType.F16,
             "ffn_gate": gguf.GGMLQuantizationType.Q8_0, "ffn_up": gguf.GGMLQuantizationType.BF16}
    for part, shape in shapes.items():
        weights = random_matrix(random, *shape)
        if permuted and part in heads:
            weights = interleave(weights, heads[part])
        file.add(f"blk.{layer}.{part}.weight", weights, kinds.get(part, gguf.GGMLQuantizationType.F32))
        if part in biases:
            bias = random_matrix(random, shape[0])
            file.add(f"blk.{layer}.{part}.bias", interleave(bias, heads[part]) if permuted and part in heads else bias)
    for part in ("attn_norm", "ffn_norm"):
        file.add(f"blk.{layer}.{part}.weight", 1 + random_matrix(random, WIDTH))
    if head_norms:
        for part in ("attn_q_norm", "attn_k_norm"):
            file.add(f"blk.{layer}.{part}.weight", 1 + random_matrix(random, head))


def llama_like(name, architecture, seed, biases=(), head_norms=False, head=False):
    random = numpy.random.default_rng(seed)
    file = File(name, architecture)
    file.writer.add_head_count_kv(KV_HEADS)
    file.writer.add_layer_norm_rms_eps(1e-5)
    file.writer.add_rope_freq_base(50000.0)
    file.writer.add_vocab_size(WORDS)
    if architecture == "llama":
        file.writer.add_rope_dimension_count(WIDTH // HEADS)
    if architecture == "qwen3":
        file.writer.add_key_length(WIDTH // HEADS)
        file.writer.add_value_length(WIDTH // HEADS)
    file.add("token_embd.weight", random_matrix(random, WORDS, WIDTH), gguf.GGMLQuantizationType.Q8_0)
    add_llama_layer(file, random, 0, architecture == "llama", biases, head_norms)
    file.add("output_norm.weight", 1 + random_matrix(random, WIDTH))
    if head:
        file.add("output.weight", random_matrix(random, WORDS, WIDTH))
    file.close()


def gpt2(name, seed):
    random = numpy.random.default_rng(seed)
    file = File(name, "gpt2")
    file.writer.add_layer_norm_eps(1e-6)
    file.writer.add_token_list([str(i) for i in range(WORDS)])
    file.add("token_embd.weight", random_matrix(random, WORDS, WIDTH))
    file.add("position_embd.weight", random_matrix(random, LENGTH, WIDTH))
    for part, shape in {"attn_qkv": (3 * WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH), "ffn_up": (INNER, WIDTH),
                        "ffn_down": (WIDTH, INNER)}.items():
        kind = gguf.GGMLQuantizationType.Q8_0 if part == "ffn_up" else gguf.GGMLQuantizationType.F32
        file.add(f"blk.0.{part}.weight", random_matrix(random, *shape), kind)
        file.add(f"blk.0.{part}.bias", random_matrix(random, shape[0]))
    for part in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        file.add(f"{part}.weight", 1 + random_matrix(random, WIDTH))
        file.add(f"{part}.bias", random_matrix(random, WIDTH))
    file.close()


FIELDS = ["vocab_size", "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
          "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "model_type",
          "bos_token_id", "eos_token_id", "pad_token_id", "head_dim"]
# What transformers 5.24 does not read in the file.
OVERLOOKED = {"qwen3": {"head_dim": WIDTH // HEADS}, "gpt2": {"n_positions": LENGTH, "n_inner": INNER}}
GPT2_FIELDS = ["vocab_size", "n_layer", "n_positions", "n_inner", "n_embd", "n_head", "layer_norm_epsilon", "tie_word_embeddings", "model_type"]


def write_expected(name):
    config = transformers.AutoConfig.from_pretrained(DATA, gguf_file=f"{name}.gguf")
    for field, value in OVERLOOKED.get(name, {}).items():
        setattr(config, field, value)
    model = transformers.AutoModelForCausalLM.from_pretrained(DATA, gguf_file=f"{name}.gguf", config=config,
                                                              dtype=torch.float32)
    state = {key: value.contiguous() for key, value in model.state_dict().items()
             if key != "lm_head.weight" or not model.config.tie_word_embeddings}
    save_file(state, DATA / f"{name}.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    fields = {key: config[key] for key in (GPT2_FIELDS if name == "gpt2" else FIELDS) if key in config}
    if name != "gpt2":
        fields["rope_theta"] = config["rope_parameters"]["rope_theta"]
    (DATA / f"{name}.json").write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")


def main():
    DATA.mkdir(parents=True, exist_ok=True)
    llama_like("llama", "llama", 1)
    llama_like("qwen2", "qwen2", 2, biases=("attn_q", "attn_k", "attn_v"), head=True)
    llama_like("qwen3", "qwen3", 3, head_norms=True)
    gpt2("gpt2", 4)
    for name in ("llama", "qwen2", "qwen3", "gpt2"):
        write_expected(name)


if __name__ == "__main__":
    main()
