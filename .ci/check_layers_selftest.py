#!/usr/bin/env python3
"""Shows that check_layers.py reports each kind of violation, and nothing in a clean tree."""
import pathlib
import subprocess
import sys
import tempfile

SCRIPT = pathlib.Path(__file__).with_name("check_layers.py")

CLEAN = {
    "core/shape.hpp": "#include <vector>\n",
    "tensor/tensor.hpp": "#include <attune/core/shape.hpp>\n#include <attune/version.hpp>\n",
    "formats/json.hpp": "#include <attune/core/shape.hpp>\n#include <attune/formats/json.inl.hpp>\n",
    "formats/json.inl.hpp": "#include <nlohmann/json.hpp>\n",
    "backend/cpu/matmul.hpp": "#include <immintrin.h>\n",
    "version.hpp": "",
    "attune.hpp": "#include <attune/tensor/tensor.hpp>\n",
}
# name: (header, its text, what must be said)
VIOLATIONS = {
    "upward": ("core/up.hpp", "#include <attune/tensor/tensor.hpp>\n", "core must not see tensor"),
    "sideways": ("loss/x.hpp", "#include <attune/nn/linear.hpp>\n", "loss must not see nn"),
    "unknown area": ("misc/x.hpp", "", "'misc' has no layer"),
    "eigen": ("backend/cpu/x.hpp", "#include <Eigen/Core>\n", "Eigen must not be included here"),
    "json": ("formats/x.hpp", "#include <nlohmann/json.hpp>\n", "nlohmann/json must not be included here"),
    "quotes": ("core/x.hpp", '#include "shape.hpp"\n', "write <attune/...>"),
    "missing": ("core/x.hpp", "#include <attune/core/none.hpp>\n", "there is no attune/core/none.hpp"),
    "foreign inl": ("text/x.hpp", "#include <attune/formats/json.inl.hpp>\n", "reached through its own header"),
    "machine path": ("core/x.hpp", "// see /home" + "/someone/notes\n", "a path of one machine"),
    "registry": ("core/x.hpp", "// from pypi" + ".org\n", "a registry's host name"),
}


def run(files):
    with tempfile.TemporaryDirectory() as name:
        for path, text in files.items():
            file = pathlib.Path(name, "include/attune", path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("#pragma once\n" + text)
        result = subprocess.run([sys.executable, SCRIPT, name], capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def main():
    code, output = run(CLEAN)
    if code != 0:
        sys.exit(f"a clean tree was refused:\n{output}")
    for what, (path, text, message) in VIOLATIONS.items():
        code, output = run({**CLEAN, path: text})
        if code != 1 or message not in output:
            sys.exit(f"{what}: expected '{message}', found exit {code}:\n{output}")


main()
