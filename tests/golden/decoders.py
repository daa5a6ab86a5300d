#!/usr/bin/env python3
"""Computes the golden fixtures of decoders in float64 (README.md describes the format).

  python tests/golden/decoders.py              rewrites tests/golden/decoders, with the same bytes
  python tests/golden/decoders.py --only NAME  one case

transformers casts to float32 inside norms, rotary positions, softmax and losses. Here torch.float32 means float64
while a case is computed, and a dispatch mode refuses any other floating type.
"""

import argparse
import contextlib
import json
import pathlib
import shutil

import generate as base  # sets transformers offline; check_versions, OnlyFloat64, digits, write_json
import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

import decoder_cases as table

HERE = pathlib.Path(__file__).resolve().parent
LR = 1e-3


@contextlib.contextmanager
def float32_means_float64():
    names = {"float32": torch.float32, "float": torch.float}
    to_float = torch.Tensor.float
    for name in names:
        setattr(torch, name, torch.float64)
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        for name, dtype in names.items():
            setattr(torch, name, dtype)
        torch.Tensor.float = to_float
        torch.set_default_dtype(names["float32"])


def make_config(case):
    small = table.SMALL_GPT2 if case.is_gpt2 else table.SMALL
    config_class = getattr(transformers, case.architecture).config_class
    config = config_class(**{**small, **json.loads(json.dumps(case.config))})
    config._attn_implementation = "eager"
    return config


def fill(case, model):
    rng = case.rng("weights")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = rng.standard_normal(parameter.shape)
            is_norm = "norm" in name or ".ln_" in name
            center = 1.0 if is_norm and name.endswith("weight") else 0.0
            scale = 0.1 if is_norm else 0.5 if "wte" in name or "embed" in name or "lm_head" in name else 0.3
            parameter.copy_(torch.from_numpy((center + values * scale).astype(np.float32)))


def rewrite_layout(path):
    """config.json as transformers 4 wrote it."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    rope.pop("original_max_position_embeddings", None) if kind == "linear" else None
    key = "rope_type" if kind == "llama3" else "type"
    config["rope_scaling"] = None if kind == "default" else {key: kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_batch(case, vocab_size):
    rng = case.rng("inputs")
    columns = max(case.lengths)
    mask = np.zeros((len(case.lengths), columns), np.int64)
    for row, length in enumerate(case.lengths):
        mask[row, columns - length:] = 1 if case.padding == "left" else 0
        if case.padding != "left":
            mask[row, :length] = 1
    # A classifier looks for the last token that is not the pad token, so no real token may be one.
    ids = rng.integers(1 if case.classifies else 0, vocab_size, mask.shape)
    return {"input_ids": np.where(mask == 1, ids, 0), "attention_mask": mask}


def make_labels(case, config, batch):
    rng = case.rng("labels")
    rows = len(case.lengths)
    if case.classifies:
        if config.problem_type == "multi_label_classification":
            return rng.integers(0, 2, (rows, config.num_labels)).astype(np.float32)
        if config.num_labels == 1:
            return rng.standard_normal(rows).astype(np.float32)
        return rng.integers(0, config.num_labels, rows).astype(np.int64)
    mask = batch["attention_mask"]
    ignored = (rng.random(mask.shape) < 0.3) | (mask == 0)
    if case.padding == "left":  # transformers would have the last padding token predict the first real one
        ignored[np.arange(rows), mask.argmax(1)] = True
    return np.where(ignored, table.IGNORE_INDEX, batch["input_ids"]).astype(np.int64)


def zero_rows(case, config, name):
    """Rows of a gradient that are zero in theory: a key bias without rotary positions."""
    return (config.n_embd, 2 * config.n_embd) if case.is_gpt2 and name.endswith("attn.c_attn.bias") else None


def run(case, model, batch, labels):
    model.train()
    inputs = {name: torch.from_numpy(value) for name, value in batch.items()}
    targets = torch.from_numpy(labels.astype(np.float64) if labels.dtype.kind == "f" else labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    losses, norms, first = [], [], None
    for _ in range(base.STEPS):
        output = model(**inputs, labels=targets, use_cache=False)
        model.zero_grad(set_to_none=True)
        output.loss.backward()
        for name, parameter in model.named_parameters():
            rows = zero_rows(case, model.config, name)
            if rows:
                noise = parameter.grad[rows[0]:rows[1]]
                assert noise.abs().max() < 1e-13, (name, noise)
                noise.zero_()
        if first is None:
            first = output.logits.detach().clone(), {n: p.grad.clone() for n, p in model.named_parameters()}
        losses.append(output.loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), base.MAX_NORM).item())
        optimizer.step()
    with torch.no_grad():
        losses.append(model(**inputs, labels=targets, use_cache=False).loss.item())
    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    return dict(logits=first[0], grads=first[1], after=after, losses=losses, norms=norms)


def generate_texts(model):
    """Tokens that generate() adds to each prompt, by itself, and their scores."""
    model.eval()
    results, common = [], []
    for options in table.GENERATIONS:
        arguments = {k: v for k, v in options.items() if k not in ("name", "eos")}
        eos = sorted(set(common)) if options.get("eos") else []
        texts, scores = [], []
        for prompt in table.PROMPTS:
            ids = torch.tensor([prompt])
            with torch.no_grad():
                output = model.generate(
                    ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0,
                    eos_token_id=eos or None, output_scores=True, return_dict_in_generate=True, **arguments)
            new = output.sequences[0, len(prompt):].tolist()
            while eos and len(new) > 1 and new[-1] == 0 and new[-2] in (*eos, 0):
                new.pop()
            texts.append(new)
            if "num_beams" in options:
                scores.append(base.digits(output.sequences_scores[0].item()))
        if options["name"] == "greedy":
            common = [text[len(text) // 2 + i % 2] for i, text in enumerate(texts)]
        results.append({**options, "eos_token_ids": eos, "texts": texts, "scores": scores})
    return results


def generate_case(case, out):
    directory = out / case.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = make_config(case)
    model = getattr(transformers, case.architecture)(config)
    fill(case, model)
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if case.layout == 4:
        rewrite_layout(directory / "config.json")
    batch = make_batch(case, config.vocab_size)
    labels = make_labels(case, config, batch)
    weights = {name: value.double() for name, value in model.state_dict().items()}
    with float32_means_float64():
        # From the files, so that both layouts of the rotary fields are read by transformers itself.
        config = type(config).from_pretrained(directory)
        config._attn_implementation = "eager"
        config.dtype = torch.float64
        wide = getattr(transformers, case.architecture)(config)
        wide.load_state_dict(weights)
        texts = generate_texts(wide) if case.generates else []
        wide = getattr(transformers, case.architecture)(config)
        wide.load_state_dict(weights)
        with base.OnlyFloat64() as mode:
            result = run(case, wide, batch, labels)
    print(f"{case.name:24s} {mode.operations:6d} float64 operations, loss {result['losses'][0]:.6f} -> "
          f"{result['losses'][-1]:.6f}")

    tensors = {f"input.{name}": value for name, value in batch.items()}
    tensors["input.labels"] = labels
    tensors["output.logits"] = result["logits"].numpy().astype(np.float32)
    for prefix, group in (("grad", result["grads"]), ("after5", result["after"])):
        tensors |= {f"{prefix}.{name}": value.numpy().astype(np.float32) for name, value in group.items()}
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, directory / "expected.safetensors")
    base.write_json(directory / "expected.json", {
        "case": case.name,
        "note": case.note,
        "architecture": case.architecture,
        "losses": [base.digits(x) for x in result["losses"]],
        "grad_norms": [base.digits(x) for x in result["norms"]],
        "zero_rows": {n: zero_rows(case, config, n) for n in result["grads"] if zero_rows(case, config, n)},
        "prompts": table.PROMPTS if texts else [],
        "generations": texts,
        "versions": base.PINNED,
    })


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="CASE")
    args = parser.parse_args()
    base.check_versions()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for case in table.CASES:
        if args.only in (None, case.name):
            generate_case(case, HERE / "decoders")


if __name__ == "__main__":
    main()
