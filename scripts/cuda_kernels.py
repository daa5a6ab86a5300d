#!/usr/bin/env python3
"""Compiles all CUDA kernels with nvcc, warnings as errors, and writes a table of what ptxas says about them.

    scripts/cuda_kernels.py BUILD/tests/cuda/*.cu          the table goes to docs/cuda-kernels.md
    scripts/cuda_kernels.py --check BUILD/tests/cuda/*.cu  the table there is compared, if the same release made it

Exits 1 when a unit does not compile, a kernel spills registers, has more registers than its block's threads allow, or
needs more than 48 KiB of static shared memory, or the tables differ. Runs nothing on a device.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGISTER_FILE = 65536
KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)'")
SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def compile_unit(nvcc, unit, architecture, folder):
    command = [nvcc, "-std=c++20", "-O3", f"-arch=sm_{architecture}", "-Xcompiler", "-Wall,-Wextra,-Wno-unknown-pragmas",
               "-Werror", "all-warnings", "-diag-suppress", "554", "-Xptxas", "-v", f"-I{ROOT / 'include'}", "-c",
               str(unit), "-o", f"{folder}/unit.o"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{unit} does not compile for sm_{architecture}:\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def kernels(log, architecture):
    """name: (architecture, registers, spilled bytes, static shared bytes)"""
    found = {}
    name, spilled = None, 0
    for line in log.splitlines():
        if match := KERNEL.search(line):
            name, spilled = match.group(1), 0
        elif match := SPILL.search(line):
            spilled = int(match.group(2)) + int(match.group(3))
        elif (match := USED.search(line)) and name:
            shared = SHARED.search(line)
            found[name] = (architecture, int(match.group(1)), spilled, int(shared.group(1)) if shared else 0)
            name = None
    return found


def readable(names):
    text = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = [line.replace("attune::cuda::", "").replace("attune::", "").replace("__nv_bfloat16", "bf16")
             for line in text.splitlines()]
    return dict(zip(names, short))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("units", nargs="+", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--architectures", nargs="+", default=["80", "90"])
    parser.add_argument("--table", type=pathlib.Path, default=ROOT / "docs" / "cuda-kernels.md")
    arguments = parser.parse_args()
    rows, problems = {}, []
    work = [(unit, architecture) for unit in arguments.units for architecture in arguments.architectures]

    def compiled(unit_and_architecture):
        unit, architecture = unit_and_architecture
        with tempfile.TemporaryDirectory() as folder:
            return kernels(compile_unit(arguments.nvcc, unit, architecture, folder), architecture)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (_, architecture), found in zip(work, pool.map(compiled, work)):
            for name, numbers in found.items():
                rows.setdefault(name, {})[architecture] = numbers
    if not rows:
        sys.exit("no kernels in what nvcc said")
    names = readable(list(rows))
    for name, by_architecture in rows.items():
        for architecture, registers, spilled, shared in by_architecture.values():
            if spilled:
                problems.append(f"{names[name]} spills {spilled} bytes for sm_{architecture}")
            if registers * 256 > REGISTER_FILE:  # the largest block of all kernels
                problems.append(f"{names[name]}: {registers} registers are too many for blocks of 256 threads")
            if shared > 48 << 10:
                problems.append(f"{names[name]}: {shared} bytes of static shared memory")
    release = subprocess.run([arguments.nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"release ([\d.]+)", release).group(1)
    lines = ["# CUDA kernels as compiled", "",
             f"Registers a thread and bytes of static shared memory, by nvcc {version} with warnings as errors; written by "
             "`scripts/cuda_kernels.py`.",
             f"{len(rows)} kernels, {'none' if not problems else len(problems)} spilling or over a limit. Which have run "
             "on hardware: see [cuda.md](cuda.md).", "",
             "| kernel | " + " | ".join(f"sm_{a}" for a in arguments.architectures) + " | shared |",
             "|---|" + "---:|" * (len(arguments.architectures) + 1)]
    for name in sorted(rows, key=lambda n: names[n]):
        numbers = [rows[name].get(a) for a in arguments.architectures]
        cells = [str(n[1]) if n else "" for n in numbers]
        lines.append(f"| `{names[name]}` | " + " | ".join(cells) + f" | {max(n[3] for n in numbers if n)} |")
    table = "\n".join(lines) + "\n"
    if not arguments.check:
        arguments.table.write_text(table)
    elif f"by nvcc {version} " in (committed := arguments.table.read_text()) and committed != table:
        problems.append(f"{arguments.table} is not what nvcc says; write it anew")
    for problem in problems:
        print(problem)
    print(f"{len(rows)} kernels, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
