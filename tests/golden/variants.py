"""The same checkpoints in every layout that a model directory comes in; transformers loads each here."""

import collections
import json
import shutil

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MAIN = "bert_cls_gelu"
MLM = "bert_mlm"
DISTIL = "distilbert_cls"

VERSION_4_CONFIG = {
    "_name_or_path": "some/where",
    "gradient_checkpointing": False,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "transformers_version": "4.30.2",
    "classifier_dropout": None,
    "use_cache": True,
    "finetuning_task": "mnli",
    "id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"},
    "label2id": {"contradiction": 0, "neutral": 1, "entailment": 2},
}


class Writer:
    def __init__(self, out, write_json):
        self.out, self.write_json = out, write_json
        shutil.rmtree(out / "variants", ignore_errors=True)

    def case(self, name):
        folder = self.out / "cases" / name
        return json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")

    def folder(self, name, config):
        folder = self.out / "variants" / name
        folder.mkdir(parents=True)
        self.write_json(folder / "config.json", config)
        return folder

    def finish(self, folder, base, load_as, note, rounded=False, missing=(), unexpected=()):
        """Loads the directory with transformers; outputs must be those of the base case, or are stored."""
        model, info = getattr(transformers, load_as).from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
        assert sorted(info["missing_keys"]) == sorted(missing), info
        assert sorted(info["unexpected_keys"]) == sorted(unexpected), info
        assert not info["mismatched_keys"], info
        with safe_open(self.out / "cases" / base / "expected.safetensors", "pt") as file:
            expected = {name: file.get_tensor(name) for name in file.keys()}
        inputs = {n.removeprefix("input."): v for n, v in expected.items() if n.startswith("input.")}
        inputs.pop("labels")
        if rounded:  # what a float model computes from the file
            for parameter in model.parameters():
                parameter.data = parameter.data.float().double()
        with torch.no_grad():
            output = model.eval()(**inputs, output_hidden_states=True)
        found = {"output.last_hidden_state": output.hidden_states[-1]}
        if not missing:  # otherwise the head is freshly made
            found["output.logits"] = output.logits
        if rounded:
            save_file({n: v.float().contiguous() for n, v in found.items()}, folder / "expected.safetensors")
        else:
            for name, value in found.items():
                assert (value - expected[name]).abs().max() < 1e-6, (folder.name, name)
        self.write_json(folder / "expected.json", {
            "variant": folder.name, "note": note, "base_case": base, "load_as": load_as,
            "own_outputs": rounded, "missing": sorted(missing), "unexpected": sorted(unexpected)})


def legacy_names(weights):
    def rename(name):
        if "LayerNorm." in name:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            return name.replace("LayerNorm.bias", "LayerNorm.beta")
        return name
    return {rename(name): value for name, value in weights.items()}


def safetensors_variants(writer):
    config, weights = writer.case(MAIN)
    head = ["classifier.bias", "classifier.weight"]
    positions = {"bert.embeddings.position_ids": torch.arange(config["max_position_embeddings"])[None]}

    def write(name, tensors, note, config=config, metadata={"format": "pt"}, **finish):
        folder = writer.folder(name, config)
        save_file(tensors, folder / "model.safetensors", metadata=metadata)
        writer.finish(folder, MAIN, "BertForSequenceClassification", note, **finish)

    base = {n.removeprefix("bert."): v for n, v in weights.items() if n.startswith("bert.")}
    write("base_names", base, "no bert. prefix and no head", {**config, "architectures": ["BertModel"]},
          missing=head)
    write("gamma_beta", legacy_names(weights), "LayerNorm.gamma and LayerNorm.beta")
    write("position_ids", weights | positions, "an integer buffer among the weights")
    for short, dtype in (("f16", "float16"), ("bf16", "bfloat16")):
        write(short, {n: v.to(getattr(torch, dtype)) for n, v in weights.items()}, f"{dtype} weights",
              {**config, "dtype": dtype}, rounded=True)
    write("f64", {n: v.double() * (1 + 1e-9) for n, v in weights.items()},
          "float64 weights that are no float32 numbers; each rounds to the weight of the base case",
          {**config, "dtype": "float64"})
    kinds = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    write("mixed", {n: v.to(kinds[i % 4]) for i, (n, v) in enumerate(sorted(weights.items()))},
          "four floating types in one file", rounded=True)

    version_4 = {n: v for n, v in config.items() if n != "dtype"} | VERSION_4_CONFIG
    write("config_v4", weights, "a config.json as transformers 4 writes it", version_4)
    needed = ("model_type", "id2label", "vocab_size", "hidden_size", "num_hidden_layers",
              "num_attention_heads", "intermediate_size", "max_position_embeddings")
    write("config_minimal", weights, "defaults are left out (so the dropouts are 0.1), no __metadata__",
          {n: config[n] for n in needed}, metadata=None)

    model = transformers.BertForSequenceClassification.from_pretrained(writer.out / "cases" / MAIN)
    folder = writer.folder("sharded", config)
    model.save_pretrained(folder, max_shard_size="24KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    writer.finish(folder, MAIN, "BertForSequenceClassification", "several files and their index")

    config, weights = writer.case(DISTIL)
    base = {n.removeprefix("distilbert."): v for n, v in weights.items() if n.startswith("distilbert.")}
    folder = writer.folder("distilbert_base_names", {**config, "architectures": ["DistilBertModel"]})
    save_file(base, folder / "model.safetensors", metadata={"format": "pt"})
    writer.finish(folder, DISTIL, "DistilBertForSequenceClassification", "no distilbert. prefix and no head",
                  missing=head + ["pre_classifier.bias", "pre_classifier.weight"])


def pretraining_variant(writer):
    """As the first published BERT files: both pretraining heads, legacy names, a pooler."""
    config, weights = writer.case(MLM)
    rng = np.random.Generator(np.random.PCG64(7))
    hidden = config["hidden_size"]
    shapes = {"bert.pooler.dense.weight": (hidden, hidden), "bert.pooler.dense.bias": (hidden,),
              "cls.seq_relationship.weight": (2, hidden), "cls.seq_relationship.bias": (2,)}
    extra = {n: torch.from_numpy(rng.standard_normal(s).astype(np.float32)) * 0.2 for n, s in shapes.items()}
    decoder = {"cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"].clone()}
    folder = writer.folder("pretraining", {**config, "architectures": ["BertForPreTraining"]})
    tensors = legacy_names(weights | extra | decoder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    writer.finish(folder, MLM, "BertForMaskedLM",
                  "BertForPreTraining, legacy names, the tied decoder stored again", unexpected=shapes)


def pickle_variants(writer):
    """pytorch_model.bin as torch.save writes it: a zip archive around a pickle."""
    def write(name, base, load_as, state, note, **finish):
        config, _ = writer.case(base)
        folder = writer.folder(name, config)
        torch.save(state, folder / "pytorch_model.bin")
        writer.finish(folder, base, load_as, note, **finish)

    load_as = "BertForSequenceClassification"
    model = transformers.BertForSequenceClassification.from_pretrained(writer.out / "cases" / MAIN)
    state = model.state_dict()
    state["bert.embeddings.position_ids"] = torch.arange(model.config.max_position_embeddings)[None]
    write("bin", MAIN, load_as, state, "an OrderedDict with its _metadata attribute and an int64 buffer")
    write("bin_parameters", MAIN, load_as, dict(model.named_parameters()), "a dict of nn.Parameter")

    # Slices of one storage, a transposed layout, a storage with unused ends, and three storage types.
    state = collections.OrderedDict((n, v.clone()) for n, v in model.state_dict().items())
    attention = "bert.encoder.layer.0.attention.self."
    names = [attention + n + ".weight" for n in ("query", "key", "value")]
    fused = torch.cat([state[n] for n in names])
    for index, name in enumerate(names):
        state[name] = fused.chunk(3)[index]
    for name in ("bert.encoder.layer.0.intermediate.dense.weight", "bert.pooler.dense.weight"):
        state[name] = state[name].t().contiguous().t()
    name = "bert.embeddings.position_embeddings.weight"
    state[name] = torch.nn.functional.pad(state[name], (2, 3, 1, 1), value=99.0)[1:-1, 2:-3]
    state["classifier.bias"] = state["classifier.bias"].double()
    write("bin_views", MAIN, load_as, state, "views: offsets, strides, a shared storage; one float64 tensor")
    half = collections.OrderedDict((n, v.half() if i % 2 else v.bfloat16())
                                   for i, (n, v) in enumerate(model.state_dict().items()))
    write("bin_half", MAIN, load_as, half, "HalfStorage and BFloat16Storage", rounded=True)

    masked = transformers.BertForMaskedLM.from_pretrained(writer.out / "cases" / MLM)
    write("bin_tied", MLM, "BertForMaskedLM", masked.state_dict(), "decoder and embedding are one storage")


def generate(out, write_json):
    writer = Writer(out, write_json)
    safetensors_variants(writer)
    pretraining_variant(writer)
    pickle_variants(writer)
