#!/usr/bin/env python3
"""Checks that includes respect the layers, and that tracked files name no path of one developer's machine.

The layers are those of docs/architecture.md: an area sees itself and what is listed for it, nothing else. Prints one
line a violation, `file:line: what is wrong`, and exits 1 when there are any.
"""
import pathlib
import re
import subprocess
import sys

TEXT = {"core", "formats", "text"}
TENSOR = {"core", "backend", "tensor"}
OPS = TENSOR | {"autograd", "ops"}
MODEL_PARTS = OPS | {"formats", "text", "io", "nn", "loss"}
EVERYTHING = MODEL_PARTS | {"data", "optim", "models", "peft", "generation", "train"}

# area: the other areas that it may include.
LAYERS = {
    "core": set(),
    "formats": {"core"},
    "text": {"core", "formats"},
    "data": TEXT,
    "backend": {"core"},
    "tensor": {"core", "backend"},
    "autograd": TENSOR,
    "ops": TENSOR | {"autograd"},
    "nn": OPS,
    "loss": OPS,
    "optim": TENSOR | {"autograd"},
    "io": TENSOR | {"formats"},
    "models": MODEL_PARTS,
    "peft": MODEL_PARTS,
    "generation": EVERYTHING | {"device.hpp"},
    "train": EVERYTHING | {"device.hpp"},
}
# Files directly under include/attune that see everything, and those that see nothing.
UMBRELLAS = {"attune.hpp", "cuda.hpp", "device.hpp"}
LEAVES = {"version.hpp", "fwd.hpp"}
# Any area may read these.
FOR_ALL = {"version.hpp", "fwd.hpp"}

# (what, pattern of the included name, where it may be included)
THIRD_PARTY = [
    ("Eigen", re.compile(r"(unsupported/)?Eigen/"), lambda path: False),
    ("nlohmann/json", re.compile(r"nlohmann/(?!json_fwd\.hpp)"), lambda path: path.endswith(".inl.hpp")),
    ("<regex>", re.compile(r"regex$"), lambda path: path.endswith(".inl.hpp")),
    ("<iostream>", re.compile(r"iostream$"), lambda path: path.endswith(".inl.hpp")),
    ("instruction-set intrinsics", re.compile(r"(immintrin|x86intrin|arm_neon)\.h$"),
     lambda path: path.startswith("backend/cpu/")),
    ("CUDA", re.compile(r"(cuda|cublas|cudnn)\w*\.h$"), lambda path: path.startswith("backend/cuda/")),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# The folders in which people and build machines keep their checkouts, and the registries that packages come from.
MACHINE_PATH = re.compile(r"(?<![\w.$}{*-])/(?:work|farm|root|home/\w+|Users/\w+|tmp)/|[.]pyenv\b")
REGISTRY = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|deb\.debian\.org|archive\.ubuntu\.com|registry\.npmjs)")


def area_of(path):
    """The folder directly under attune/, or the file's own name when it lies there itself."""
    return path.split("/", 1)[0]


def check_include(path, quote, target, include_root):
    """Yields what is wrong with one include of the header `path` (relative to attune/)."""
    if quote == '"':
        yield f'#include "{target}": write <attune/...>, so that the file is found the same way everywhere'
        return
    if not target.startswith("attune/"):
        for what, pattern, allowed in THIRD_PARTY:
            if pattern.match(target) and not allowed(path):
                yield f"{what} must not be included here ({target})"
        return
    other = target[len("attune/"):]
    if not (include_root / target).is_file():
        yield f"there is no {target}"
    # foo.hpp ends with its own bodies: foo.inl.hpp, or foo_part.inl.hpp where they are several.
    if other.endswith(".inl.hpp") and not path.endswith(".inl.hpp") and not other.startswith(path[:-len(".hpp")]):
        yield f"{target} is reached through its own header"
    source_area, target_area = area_of(path), area_of(other)
    if source_area in UMBRELLAS or target_area == source_area or target_area in FOR_ALL:
        return
    if source_area in LEAVES:
        yield f"{path} includes nothing of attune, found {target}"
    elif source_area in LAYERS and target_area not in LAYERS[source_area]:
        yield f"{source_area} must not see {target_area} ({target})"


def check_headers(root):
    include_root = root / "include"
    for file in sorted(include_root.glob("attune/**/*.*")):
        path = str(file.relative_to(include_root / "attune"))
        shown = str(file.relative_to(root))
        if area_of(path) not in LAYERS and path not in UMBRELLAS | LEAVES:
            yield f"{shown}:1: '{area_of(path)}' has no layer; add it to {pathlib.Path(__file__).name}"
        lines = file.read_text().splitlines()
        if file.suffix == ".hpp" and "#pragma once" not in lines:
            yield f"{shown}:1: #pragma once is missing"
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            for problem in check_include(path, *found.groups(), include_root) if found else ():
                yield f"{shown}:{number}: {problem}"


def tracked_files(root):
    """Files that git tracks or would add; without git, all but what a build or a run leaves behind."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=root, capture_output=True, check=True)
        return [root / name for name in listing.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        left_behind = re.compile(r"(build.*|model|model_save|\.git|\.cache|__pycache__)$")
        return [path for path in root.rglob("*")
                if path.is_file() and not left_behind.match(path.relative_to(root).parts[0])]


def check_machine_words(root):
    for file in sorted(tracked_files(root)):
        if not file.is_file():
            continue
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for what, pattern in (("a path of one machine", MACHINE_PATH), ("a registry's host name", REGISTRY)):
                found = pattern.search(line)
                if found:
                    yield f"{file.relative_to(root)}:{number}: {what}: {found.group(0)}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    problems = [*check_headers(root), *check_machine_words(root)]
    for problem in problems:
        print(problem)
    print(f"layers: {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
