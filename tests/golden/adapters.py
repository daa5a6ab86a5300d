#!/usr/bin/env python3
"""Computes the golden fixtures of LoRA adapters with PEFT, in float64 (README.md describes the format).

  python tests/golden/adapters.py    rewrites tests/golden/adapters, with the same bytes

Each case is an adapter directory as PEFT writes it, for a base model and a batch that are fixtures already.
"""

import importlib.metadata
import json
import pathlib
import shutil
import sys
import zlib

import generate as base
import numpy as np
import peft
import peft.optimizers
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import save_file

import decoders

PEFT_VERSION = "0.21.2"
HERE = pathlib.Path(__file__).resolve().parent

CASES = {
    "llama_lora": ("decoders/llama_lm", dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"q_proj": 2},
        alpha_pattern={"v_proj": 6, "layers.1.mlp.down_proj": 3}, task_type="CAUSAL_LM")),
    "llama_regex": ("decoders/llama_lm", dict(
        r=2, lora_alpha=4, target_modules=r".*\.layers\.\d+\.(self_attn\.(q|k)|mlp\.(up|down))_proj",
        exclude_modules=r".*layers\.1\.mlp\..*", rank_pattern={r"layers\.[01]\.self_attn\.k_proj": 3, "(up|down)_proj": 4},
        alpha_pattern={r".*\.0\.self_attn\.q_proj$": 10, "self_attn.q_proj": 3}, task_type="CAUSAL_LM")),
    "llama_rslora_all": ("decoders/llama_lm_tied_biases", dict(
        r=3, lora_alpha=5, target_modules="all-linear", use_rslora=True, task_type="CAUSAL_LM")),
    "gpt2_lora": ("decoders/gpt2_lm", dict(
        r=4, lora_alpha=4, target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True, task_type="CAUSAL_LM")),
    "llama_dora": ("decoders/llama_lm_tied_biases", dict(
        r=3, lora_alpha=6, target_modules=["q_proj", "o_proj", "up_proj"], use_dora=True, task_type="CAUSAL_LM")),
    "gpt2_dora": ("decoders/gpt2_lm", dict(
        r=2, lora_alpha=4, target_modules=["c_attn", "mlp.c_fc"], fan_in_fan_out=True, use_dora=True,
        task_type="CAUSAL_LM")),
    "bert_dora": ("cases/bert_cls_gelu", dict(
        r=2, lora_alpha=3, target_modules=["query", "value"], use_dora=True, task_type="SEQ_CLS",
        modules_to_save=["classifier"])),
    "bert_lora": ("cases/bert_cls_gelu", dict(
        r=4, lora_alpha=16, target_modules=["query", "value", "output.dense"], task_type="SEQ_CLS",
        modules_to_save=["classifier"])),
}


def lora_plus(model):
    """The learning rate and weight decay that LoRA+ gives each parameter, by the parameter's name."""
    lr, ratio, decay = 1e-3, 16, 0.01
    optimizer = peft.optimizers.create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=lr, loraplus_lr_ratio=ratio, loraplus_weight_decay=decay)
    groups = {id(p): [group["lr"], group["weight_decay"]] for group in optimizer.param_groups for p in group["params"]}
    return {"lr": lr, "lr_ratio": ratio, "weight_decay": decay,
            "parameters": {plain(n): groups[id(p)] for n, p in model.named_parameters() if p.requires_grad}}


def plain(name):
    """PEFT's name of a parameter in the words of the base model."""
    return name.replace("base_model.model.", "", 1).replace(".modules_to_save.default", "")


def batch_of(directory):
    with safe_open(directory / "expected.safetensors", "np") as file:
        values = {n.removeprefix("input."): torch.from_numpy(file.get_tensor(n)) for n in file.keys()
                  if n.startswith("input.")}
    return values


def generate_case(name, base_name, options):
    directory = HERE / "adapters" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    source = HERE / base_name
    architecture = json.loads((source / "expected.json").read_text())["architecture"]
    rng = np.random.Generator(np.random.PCG64([20250214, zlib.crc32(name.encode())]))
    with decoders.float32_means_float64():
        config = getattr(transformers, architecture).config_class.from_pretrained(source)
        config._attn_implementation = "eager"
        config.dtype = torch.float64
        model = getattr(transformers, architecture)(config)
        with safe_open(source / "model.safetensors", "np") as file:
            weights = {n: torch.from_numpy(file.get_tensor(n)).double() for n in file.keys()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected and all("lm_head" in n for n in missing), (missing, unexpected)
        model.tie_weights()
        model = peft.get_peft_model(model, peft.LoraConfig(lora_dropout=0.0, **options), autocast_adapter_dtype=False)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for parameter in trained.values():
                values = (rng.standard_normal(parameter.shape) * 0.2).astype(np.float32)
                if parameter.dim() == 1 and parameter.shape[0] > 4:  # a magnitude: near what it began as
                    values = (parameter.numpy() * (1 + values)).astype(np.float32)
                parameter.copy_(torch.from_numpy(values.astype(np.float64)))
        batch = batch_of(source)
        with base.OnlyFloat64() as mode:
            model.train()
            labels = batch.pop("labels")
            output = model(**batch, labels=labels)
            output.loss.backward()
        grads = {n: p.grad.numpy() for n, p in trained.items()}
        extra = {"lora_plus": lora_plus(model)} if options.get("use_dora") else {}
        tensors = {"output.logits": output.logits.detach().numpy()}
        tensors |= {f"grad.{plain(n)}": g for n, g in grads.items()}
        adapter = {n: v.detach().numpy().astype(np.float32)
                   for n, v in peft.get_peft_model_state_dict(model).items()}
        model.peft_config["default"].base_model_name_or_path = base_name
        model.peft_config["default"].inference_mode = True
        model.peft_config["default"].save_pretrained(directory)
        merged = model.merge_and_unload()
        tensors |= {f"merged.{n}": p.detach().numpy() for n, p in merged.named_parameters()
                    if n.endswith("weight") and not torch.equal(p, weights.get(n, p))}
    save_file(adapter, directory / "adapter_model.safetensors")
    save_file({n: np.ascontiguousarray(v.astype(np.float32)) for n, v in tensors.items()},
              directory / "expected.safetensors")
    config_path = directory / "adapter_config.json"
    written = json.loads(config_path.read_text())
    for key, value in written.items():  # PEFT keeps sets, whose order is not fixed
        if isinstance(value, list):
            written[key] = sorted(value)
    base.write_json(config_path, written)
    base.write_json(directory / "expected.json", {
        "case": name, "base": base_name, "architecture": architecture, "loss": base.digits(output.loss.item()),
        "versions": {**base.PINNED, "peft": PEFT_VERSION}, **extra})
    print(f"{name:20s} {mode.operations:6d} float64 operations, loss {output.loss.item():.6f}, "
          f"{len(adapter)} tensors, {sum(n.startswith('merged') for n in tensors)} merged")


def main():
    base.check_versions()
    if importlib.metadata.version("peft") != PEFT_VERSION:
        sys.exit(f"adapters.py: peft {PEFT_VERSION} is needed for identical fixtures")
    torch.set_num_threads(1)
    for name, (base_name, options) in CASES.items():
        generate_case(name, base_name, options)


if __name__ == "__main__":
    main()
