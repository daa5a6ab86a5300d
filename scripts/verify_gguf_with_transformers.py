#!/usr/bin/env python3
"""Shows that examples/convert keeps a model: from a GGUF file to a Hugging Face directory and back.

usage: verify_gguf_with_transformers.py --model FILE.gguf --convert build/examples/convert [--types F16,Q8_0]

The directory: transformers reads it with no missing or unexpected key, its weights are those that transformers reads in
the GGUF file (`gguf_file=`) bit for bit, and its logits are the same. The GGUF files written from it: gguf-py reads in
every tensor what its own quantize() makes of the original's floats, transformers reads them, and the logits are near.

Needs torch, transformers and gguf; not part of CI. Exit status 0 when everything agrees, 1 when not.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

import gguf
import numpy as np
import torch
import transformers

TEXTS = ["The capital of France is Paris, and the capital of Italy is", "def add(a, b):\n    return a",
         "\u8bdd\u8bf4\u5929\u4e0b\u5927\u52bf\uff0c\u5206\u4e45\u5fc5\u5408"]
# How far the logits may be off when matrices are quantised: root mean squares of difference and logits.
NEAR = {"F32": 1e-6, "F16": 0.005, "BF16": 0.05, "Q8_0": 0.05, "Q4_0": 0.5}


class Checks:
    def __init__(self):
        self.failed = 0

    def __call__(self, good, message):
        self.failed += not good
        print(("ok      " if good else "FAILED  ") + message, flush=True)


def load(path, check):
    """The model of a directory or a GGUF file."""
    path = pathlib.Path(path)
    where = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent if where else path, dtype=torch.float32, output_loading_info=True, **where)
    keys = {kind: sorted(map(str, info[kind])) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    keys["missing_keys"] = [key for key in keys["missing_keys"] if key not in tied]
    check(not any(keys.values()), f"{path.name}: transformers finds every key {keys if any(keys.values()) else ''}")
    return model.eval()


@torch.inference_mode()
def logits_of(model, rows):
    return [model(torch.tensor([ids])).logits[0] for ids in rows]


def compare_logits(found, expected, name, allowed, check):
    worst = max((a - b).abs().max().item() for a, b in zip(found, expected))
    check(worst <= allowed, f"{name}: logits of {len(found)} texts differ by at most {worst:.2e} (allowed {allowed:.0e})")


def compare_nearness(found, expected, name, allowed, check):
    difference = torch.cat([(a - b).flatten() for a, b in zip(found, expected)])
    share = (difference.norm() / torch.cat([b.flatten() for b in expected]).norm()).item()
    check(share <= allowed, f"{name}: logits of {len(found)} texts differ by {share:.1e} of their size (allowed {allowed})")


def compare_weights(model, reference, check):
    own, wanted = model.state_dict(), reference.state_dict()
    check(own.keys() == wanted.keys(), f"the directory has the GGUF's {len(wanted)} weights")
    different = [name for name in wanted if name not in own or not torch.equal(own[name], wanted[name])]
    check(not different, "all weights are equal bit for bit" + "".join(f"; not {name}" for name in different[:5]))


def compare_file(path, original, kind, check):
    """Every tensor as gguf-py writes the floats that it reads in the original."""
    mine = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    wanted = {tensor.name: tensor for tensor in original.tensors}
    check(mine.keys() == wanted.keys(), f"{path.name}: gguf-py reads the {len(wanted)} tensors' names")
    different = []
    for name in mine.keys() & wanted.keys():
        floats = gguf.dequantize(wanted[name].data, wanted[name].tensor_type).astype(np.float32)
        type = mine[name].tensor_type
        expected = gguf.quantize(floats, type)
        if not np.array_equal(np.asarray(mine[name].data).view(np.uint8).ravel(), expected.view(np.uint8).ravel()):
            different.append(f"{name} ({type.name})")
    check(not different, f"{path.name}: bytes are those that gguf-py quantises to" + "".join(
        f"; not {name}" for name in different[:5]))
    types = {tensor.tensor_type.name for tensor in mine.values() if len(tensor.shape) == 2}
    check(kind in types, f"{path.name}: matrices are {', '.join(sorted(types))}")


def compare_tokenizer(path, original, check):
    fields = gguf.GGUFReader(path).fields
    for name in ("model", "pre", "tokens", "merges", "bos_token_id", "eos_token_id"):
        key = f"tokenizer.ggml.{name}"
        if key in original.fields:
            check(key in fields and fields[key].contents() == original.fields[key].contents(), f"{path.name}: {key}")
    key = "tokenizer.chat_template"
    if key in original.fields:
        check(key in fields and fields[key].contents() == original.fields[key].contents(), f"{path.name}: {key}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=pathlib.Path, required=True, help="a GGUF file")
    parser.add_argument("--convert", type=pathlib.Path, required=True, help="the built example")
    parser.add_argument("--types", default="F16,Q8_0", help="of the files to write")
    options = parser.parse_args()
    check = Checks()

    def convert(*arguments):
        subprocess.run([options.convert, *map(str, arguments)], check=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        convert("--model", options.model, "--to", "hf", "--output", folder / "hf")
        reference, model = load(options.model, check), load(folder / "hf", check)
        compare_weights(model, reference, check)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "hf")
        rows = [tokenizer(text)["input_ids"] for text in TEXTS]
        expected = logits_of(reference, rows)
        compare_logits(logits_of(model, rows), expected, "hf", 1e-4, check)
        original = gguf.GGUFReader(options.model)
        del model, reference
        for kind in options.types.split(","):
            path = folder / f"{kind}.gguf"
            convert("--model", folder / "hf", "--to", "gguf", "--type", kind, "--output", path)
            compare_file(path, original, kind, check)
            compare_tokenizer(path, original, check)
            compare_nearness(logits_of(load(path, check), rows), expected, path.name, NEAR[kind], check)
    print("everything agrees" if check.failed == 0 else f"{check.failed} checks failed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
