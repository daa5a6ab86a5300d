#!/usr/bin/env python3
"""Computes the golden fixtures of tests/golden in float64 (README.md describes the format).

  python tests/golden/generate.py                  rewrites every fixture, with the same bytes
  python tests/golden/generate.py --check          regenerates into a temporary folder and compares the bytes
  python tests/golden/generate.py --only bert_mlm  one case (the variants and optim.json are left alone)
  python tests/golden/generate.py --float32        reports how far float32 transformers is from the fixtures

Every case is shown to be float64: a dispatch mode looks at the result of each ATen operation of forward,
backward and optimizer and refuses any other floating type, and a separate numpy implementation agrees.
"""

import argparse
import filecmp
import importlib.metadata
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from torch.utils._python_dispatch import TorchDispatchMode

import cases as table
import numpy_reference
import optim_fixtures
import variants

PINNED = {"torch": "2.15.0", "transformers": "5.24.0", "numpy": "2.4.6", "safetensors": "0.8.0"}
HERE = pathlib.Path(__file__).resolve().parent
MAX_NORM = 1.0
STEPS = 5


def check_versions():
    for package, wanted in PINNED.items():
        found = importlib.metadata.version(package).split("+")[0]
        if found != wanted:
            sys.exit(f"generate.py: {package} {wanted} is needed for identical fixtures, found {found}")


class OnlyFloat64(TorchDispatchMode):
    """Refuses every operation whose result has a floating type other than float64."""

    def __init__(self):
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64:
                raise TypeError(f"{func} computed in {value.dtype}")
        return result


def digits(value):
    """Twelve significant digits: the last bits, which depend on the machine, are not stored."""
    return float(f"{float(value):.12g}")


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def build_model(case):
    """The float32 model with weights of a size at which errors show."""
    model_class = getattr(transformers, case.architecture)
    base = {"bert": table.SMALL_BERT, "roberta": table.SMALL_ROBERTA, "distilbert": table.SMALL_DISTILBERT}[case.base]
    config = model_class.config_class(**{**base, **case.config})
    config._attn_implementation = "eager"
    model = model_class(config)
    rng = case.rng("weights")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = rng.standard_normal(parameter.shape)
            is_norm = "norm" in name.lower()
            center = 1.0 if is_norm and name.endswith("weight") else 0.0
            values = center + values * (0.1 if is_norm else 0.2)
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def to_torch(arrays, dtype):
    floating = np.float64 if dtype == torch.float64 else np.float32
    return {name: torch.from_numpy(value.astype(floating) if value.dtype.kind == "f" else value)
            for name, value in arrays.items()}


def mean_pooled(model, inputs):
    """As sentence-transformers: mean over the real tokens, then the L2 norm."""
    output = model(**inputs)
    mask = inputs["attention_mask"].unsqueeze(-1).to(output.last_hidden_state.dtype)
    mean = (output.last_hidden_state * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, p=2, dim=1), output.last_hidden_state


def forward(case, model, inputs, pair, labels):
    """The loss, and the outputs by their names in the fixture."""
    cross_entropy = torch.nn.functional.cross_entropy
    if case.is_embedding:
        a, hidden = mean_pooled(model, inputs)
        b, _ = mean_pooled(model, pair)
        if case.loss == "cosine":
            loss = torch.nn.functional.mse_loss(torch.cosine_similarity(a, b), labels)
        else:
            loss = cross_entropy(case.scale * a @ b.T, torch.arange(len(a)))
        return loss, {"last_hidden_state": hidden, "embeddings": a, "pair.embeddings": b}
    weights = torch.tensor(case.class_weights, dtype=model.dtype) if case.class_weights else None
    output = model(**inputs, labels=labels, output_hidden_states=True)
    loss = output.loss
    if case.loss == "cross_entropy":
        loss = cross_entropy(output.logits.flatten(0, -2), labels.flatten(), weight=weights,
                             label_smoothing=case.label_smoothing)
    outputs = {"last_hidden_state": output.hidden_states[-1], "logits": output.logits}
    if case.base == "bert" and model.bert.pooler is not None:
        outputs["pooler_output"] = model.bert.pooler(output.hidden_states[-1])
    return loss, outputs


def zero_in_theory(case, name):
    """Softmax ignores a sum common to its inputs, so a key bias has no gradient; with one key nothing has."""
    if name.endswith(("attention.self.key.bias", "attention.k_lin.bias")):
        return True
    return max(case.lengths) == 1 and (".attention.self.query." in name or ".attention.self.key." in name)


def backward(case, model, loss):
    """Gradients of the loss by name; those that are zero in theory are checked and set to exactly 0."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    largest = max(p.grad.abs().max().item() for p in model.parameters() if p.grad is not None)
    noise = 1e-13 if model.dtype == torch.float64 else 1e-5
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        size = parameter.grad.abs().max().item()
        if zero_in_theory(case, name):
            assert size < noise * max(largest, 1.0), (name, size)
            parameter.grad.zero_()
        else:
            assert size > 1e-8 * largest, f"{case.name}: {name} has a gradient of only {size}"
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def run(case, model, inputs, pair, labels, dtype):
    """Outputs, loss and gradients at the start, then STEPS clipped AdamW steps on the same batch."""
    model.to(dtype).train()
    inputs, pair = (to_torch(x, dtype) if x else None for x in (inputs, pair))
    labels = None if labels is None else to_torch({"x": labels}, dtype)["x"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses, norms, first = [], [], None
    for _ in range(STEPS):
        loss, outputs = forward(case, model, inputs, pair, labels)
        grads = backward(case, model, loss)
        if first is None:
            first = ({n: v.detach().clone() for n, v in outputs.items()}, grads)
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM).item())
        optimizer.step()
    with torch.no_grad():
        losses.append(forward(case, model, inputs, pair, labels)[0].item())
    after = {name: p.detach().clone() for name, p in model.named_parameters()}
    return dict(outputs=first[0], grads=first[1], after=after, losses=losses, norms=norms)


def relative(found, expected):
    scale = np.sqrt(np.mean(np.abs(expected) ** 2))
    return float(np.sqrt(np.mean(np.abs(found - expected) ** 2)) / (scale or 1.0))


def verify(case, model, start, result, inputs, pair, labels):
    """Largest disagreement with numpy: outputs, loss, the derivative of each tensor along a direction."""
    config = model.config
    reference = numpy_reference.Model(case, config, {n: w.astype(np.complex128) for n, w in start.items()})
    loss = reference.loss(inputs, pair, labels).real
    residual = {"loss": abs(loss - result["losses"][0])}
    if case.is_embedding:
        found, expected = reference.embeddings(inputs).real, result["outputs"]["embeddings"].numpy()
    else:
        found, expected = reference.logits(inputs).real, result["outputs"]["logits"].numpy()
        if expected.ndim == 3:
            expected = expected[inputs["attention_mask"] == 1]
    residual["output"] = float(np.abs(found - expected).max())
    rng, worst = case.rng("directions"), 0.0
    for name, grad in result["grads"].items():
        direction = rng.standard_normal(grad.shape)
        found = numpy_reference.directional_derivative(reference, name, direction, inputs, pair, labels)
        expected = float((grad.numpy() * direction).sum())
        scale = max(float(np.linalg.norm(grad.numpy())), 1e-2)
        worst = max(worst, abs(found - expected) / scale)
    residual["gradient"] = worst
    return residual


def verify_adamw(case, model, start, result, inputs, pair, labels):
    """The five steps again, the update done in numpy."""
    weights, state, norms = {n: w.copy() for n, w in start.items()}, {}, []
    inputs, pair = (to_torch(x, torch.float64) if x else None for x in (inputs, pair))
    labels = None if labels is None else to_torch({"x": labels}, torch.float64)["x"]
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(weights[name]))
        grads = backward(case, model, forward(case, model, inputs, pair, labels)[0])
        grads = {n: g.numpy() for n, g in grads.items()}
        norms.append(numpy_reference.adamw_step(weights, grads, state, step))
    assert np.allclose(norms, result["norms"], rtol=1e-12, atol=0)
    return max(float(np.abs(weights[n] - result["after"][n].numpy()).max()) for n in weights)


def generate_case(case, out, compare_float32):
    directory = out / "cases" / case.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    model = build_model(case)
    model.save_pretrained(directory)
    config = model.config
    inputs = table.make_inputs(case, case.lengths, config.vocab_size, config.pad_token_id, "inputs")
    pair = None
    if case.pair_lengths:
        pair = table.make_inputs(case, case.pair_lengths, config.vocab_size, config.pad_token_id, "pair")
    problem = getattr(config, "problem_type", None)
    labels = table.make_labels(case, config.num_labels, problem, config.vocab_size, inputs["attention_mask"])

    start = {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}
    torch.set_default_dtype(torch.float64)
    with OnlyFloat64() as mode:
        result = run(case, model.double(), inputs, pair, labels, torch.float64)
    residual = verify(case, model, start, result, inputs, pair, labels)
    residual["adamw"] = verify_adamw(case, model, start, result, inputs, pair, labels)
    torch.set_default_dtype(torch.float32)
    print(f"{case.name:30s} {mode.operations:6d} float64 operations; against numpy: "
          + ", ".join(f"{n} {v:.1e}" for n, v in residual.items()))
    assert max(residual.values()) < 1e-11, residual

    no_gradient = sorted(set(start) - set(result["grads"]))
    tensors = {f"input.{n}": v for n, v in inputs.items()}
    tensors |= {f"input.pair.{n}": v for n, v in (pair or {}).items()}
    if labels is not None:
        tensors["input.labels"] = labels
    if case.class_weights:
        tensors["input.class_weights"] = np.array(case.class_weights, np.float32)
    groups = {"output": result["outputs"], "grad": result["grads"], "after5": result["after"]}
    for prefix, group in groups.items():
        tensors |= {f"{prefix}.{n}": v.numpy().astype(np.float32) for n, v in group.items()}
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, directory / "expected.safetensors")
    write_json(directory / "expected.json", {
        "case": case.name,
        "note": case.note,
        "architecture": case.architecture,
        "seed": table.SEED,
        "padding": case.padding,
        "lengths": list(case.lengths),
        "pair_lengths": list(case.pair_lengths),
        "problem_type": problem,
        "loss_function": loss_function(case, problem),
        "label_smoothing": case.label_smoothing,
        "scale": case.scale if case.loss == "ranking" else None,
        "loss": digits(result["losses"][0]),
        "losses": [digits(x) for x in result["losses"]],
        "grad_norms": [digits(x) for x in result["norms"]],
        "optimizer": {"name": "AdamW", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 1e-2,
                      "max_norm": MAX_NORM, "steps": STEPS, "batches": "the same batch in each step"},
        "no_gradient": no_gradient,
        "zero_in_theory": sorted(n for n in result["grads"] if zero_in_theory(case, n)),
        "versions": PINNED,
    })
    if compare_float32:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(start[name]))
        report_float32(case, model.float(), result, inputs, pair, labels)


def loss_function(case, problem):
    if case.is_embedding:
        return case.loss
    names = {"regression": "mse", "multi_label_classification": "bce_with_logits"}
    return names.get(problem, "cross_entropy")


def report_float32(case, model, result, inputs, pair, labels):
    single = run(case, model, inputs, pair, labels, torch.float32)
    key = "embeddings" if case.is_embedding else "logits"
    logits = (single["outputs"][key] - result["outputs"][key]).abs().max().item()
    skipped = {n for n in result["grads"] if zero_in_theory(case, n)}
    grad = max(relative(single["grads"][n].numpy(), g.numpy())
               for n, g in result["grads"].items() if n not in skipped)
    after = max((single["after"][n] - w).square().mean().sqrt().item()
                for n, w in result["after"].items() if n not in skipped)
    print(f"{'':30s} float32: {key} {logits:.1e}, loss {abs(single['losses'][0] - result['losses'][0]):.1e}, "
          f"worst gradient {grad:.1e}, worst weights {after:.1e}")


def compare_trees(expected, found):
    """Names of generated files that differ from the committed ones or are on one side only."""
    def files(root):
        paths = [root / "optim.json", *(root / "cases").rglob("*"), *(root / "variants").rglob("*")]
        return {path.relative_to(root) for path in paths if path.is_file()}

    left, right = files(expected), files(found)
    different = left ^ right
    different |= {n for n in left & right if not filecmp.cmp(expected / n, found / n, shallow=False)}
    return sorted(str(n) for n in different)


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--only", metavar="CASE", help="generate one case")
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    parser.add_argument("--float32", action="store_true", help="also report the errors of plain float32")
    args = parser.parse_args()
    check_versions()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary) if args.check else HERE
        for case in table.CASES:
            if args.only in (None, case.name):
                generate_case(case, out, args.float32)
        if args.only is None:
            variants.generate(out, write_json)
            optim_fixtures.generate(out / "optim.json", write_json)
        if args.check:
            different = compare_trees(HERE, out)
            print("\n".join(f"differs: {name}" for name in different) or "every fixture has the same bytes")
            sys.exit(bool(different))


if __name__ == "__main__":
    main()
