#!/usr/bin/env python3
"""Compiles the whole programs and headers that docs/ shows: each ```cpp block that begins with an #include."""
import argparse
import pathlib
import re
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", required=True)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--isystem", action="append", default=[])
    args = parser.parse_args()

    command = [args.compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-pthread", "-fsyntax-only", "-x", "c++"]
    command += [f"-I{folder}" for folder in args.include]
    command += [f"-isystem{folder}" for folder in args.isystem if folder != "/usr/include"]
    blocks = failed = 0
    for page in sorted(pathlib.Path(args.docs).rglob("*.md")):
        for block in re.findall(r"^```cpp\n(#include.*?)^```$", page.read_text(), re.M | re.S):
            blocks += 1
            result = subprocess.run([*command, "-"], input=block, capture_output=True, text=True)
            if result.returncode != 0:
                failed += 1
                print(f"FAILED {page}: a block does not compile:\n{result.stderr}")
    print(f"{blocks} blocks with {args.compiler}: {failed} failed")
    return 1 if failed or blocks == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
