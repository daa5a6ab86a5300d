"""Writes fixtures_gguf/*.gguf: the tokenizers of fixtures_tokenizer as gguf-py and llama.cpp's converter write them, with
no tensors. What ids they give is known from fixtures_tokenizer/*/cases.jsonl. Made with gguf 0.19.0.
"""

import json
import pathlib

import gguf
from gguf import TokenType

HERE = pathlib.Path(__file__).parent
# The folder: llama.cpp's names for its model and its splitting of texts.
TOKENIZERS = {"smollm": ("gpt2", "smollm"), "llama3": ("gpt2", "llama-bpe"), "gpt2": ("gpt2", "gpt-2"),
              "llama2": ("llama", "default")}


def write(name, model, pre):
    folder = HERE / "fixtures_tokenizer" / name
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = {id: token for token, id in tokenizer["model"]["vocab"].items()}
    types = dict.fromkeys(tokens, TokenType.NORMAL)
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    size = len(tokens) + 2  # as a model whose embedding has rows to spare
    for id in range(len(tokens), size):
        tokens[id], types[id] = f"[PAD{id}]", TokenType.UNUSED
    writer = gguf.GGUFWriter(HERE / "fixtures_gguf" / f"{name}.gguf", "llama")
    writer.add_context_length(512)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([tokens[id].encode() for id in range(size)])
    if model == "llama":  # the order of the vocabulary is that of the merges
        types[0] = TokenType.UNKNOWN
        writer.add_token_scores([-float(id) for id in range(size)])
    writer.add_token_types([types[id] for id in range(size)])
    gguf.SpecialVocab(folder, load_merges=model == "gpt2", n_vocab=size).add_to_gguf(writer)
    if name == "smollm":
        writer.add_chat_template("{{ messages[0].content }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    (HERE / "fixtures_gguf").mkdir(exist_ok=True)
    for name, (model, pre) in TOKENIZERS.items():
        write(name, model, pre)


if __name__ == "__main__":
    main()
