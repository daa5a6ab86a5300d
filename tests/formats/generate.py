"""Writes the files under data/ that the tests of include/attune/formats read.

Made with Python 3.11, torch 2.15.0, safetensors 0.8.0, numpy 2.4.6; run again only to add to them.
"""

import json
import os
import pathlib
import zipfile

import torch
from safetensors.torch import save_file

DATA = pathlib.Path(__file__).parent / "data"

NAMES = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}


def describe(tensors):
    return {
        name: {"dtype": NAMES[t.dtype], "shape": list(t.shape), "values": t.detach().double().flatten().tolist()}
        for name, t in tensors.items()
    }


def all_types():
    torch.manual_seed(7)
    values = torch.randn(3, 5) * 4
    return {
        "encoder.weight": values.clone(),
        "encoder.bias": values[0].clone(),
        "half": values.half(),
        "brain": values.bfloat16(),
        "double": values.double() / 3,
        "long": torch.arange(-2, 4),
        "int": torch.arange(6, dtype=torch.int32).reshape(2, 3),
        "short": torch.arange(-3, 0, dtype=torch.int16),
        "char": torch.arange(-3, 0, dtype=torch.int8),
        "byte": torch.arange(250, 255, dtype=torch.uint8),
        "mask": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        'quoted "\u00e9\t\\name"': torch.tensor([1.0]),
    }


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(4, 3)
        self.decoder = torch.nn.Linear(3, 4, bias=False)
        self.decoder.weight = self.embedding.weight  # tied
        self.norm = torch.nn.BatchNorm1d(3)


def main():
    DATA.mkdir(exist_ok=True)
    expected = {}

    tensors = all_types()
    save_file(tensors, DATA / "types.safetensors", metadata={"format": "pt"})
    expected["types.safetensors"] = describe(tensors)
    save_file({"eight": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn), "plain": torch.tensor([1.0, 2.0])},
              DATA / "unsupported.safetensors")

    torch.save(tensors, DATA / "types.bin")
    expected["types.bin"] = describe(tensors)

    torch.manual_seed(11)
    state = Tiny().state_dict()
    torch.save(state, DATA / "module.bin")
    expected["module.bin"] = describe(state)
    torch.save(state, DATA / "protocol4.bin", pickle_protocol=4)
    expected["protocol4.bin"] = describe(state)
    torch.save({"epoch": 3, "state_dict": state, "note": "a text", "loss": 0.5}, DATA / "nested.bin")
    expected["nested.bin"] = describe(state)
    torch.save(state, DATA / "legacy.bin", _use_new_zipfile_serialization=False)

    base = torch.arange(24.0).reshape(2, 3, 4)
    views = {
        "transposed": base.permute(2, 0, 1),
        "slice": base[1, 1:],
        "column": base[:, :, 2],
        "every_other": base.flatten()[1::2],
        "parameter": torch.nn.Parameter(base[0]),
        "last": base[1, 2, 3],
        "expanded_one": torch.arange(3.0).expand(1, -1),
        "nothing": base[:, 3:],
    }
    torch.save(views, DATA / "views.bin")
    expected["views.bin"] = describe(views)
    torch.save({"repeated": torch.ones(1).expand(1000)}, DATA / "repeated.bin")
    torch.save({"weight": torch.ones(2), "epoch": 3}, DATA / "not_only_tensors.bin")
    torch.save({"unsigned": torch.ones(2).to(torch.uint16)}, DATA / "rebuild_v3.bin")

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"weight": Evil()}, DATA / "evil.bin")
    with zipfile.ZipFile(DATA / "types.bin") as stored, \
            zipfile.ZipFile(DATA / "compressed.bin", "w", zipfile.ZIP_DEFLATED) as deflated:
        for name in stored.namelist():
            deflated.writestr(zipfile.ZipInfo(name), stored.read(name), zipfile.ZIP_DEFLATED)

    (DATA / "expected.json").write_text(json.dumps(expected, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
