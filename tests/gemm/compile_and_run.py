#!/usr/bin/env python3
"""Compiles test sources with one compiler and one optimisation level, header-only, and runs the program."""
import argparse
import pathlib
import subprocess
import sys
import tempfile

WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--flags", required=True, help="for example -O0")
    parser.add_argument("--include", required=True)
    parser.add_argument("--isystem", action="append", default=[])
    parser.add_argument("--main", required=True, help="the source with the test runner")
    parser.add_argument("sources", nargs="+")
    args = parser.parse_args()

    command = [args.compiler, "-std=c++20", args.flags, *WARNINGS, "-pthread", f"-I{args.include}"]
    command += [f"-isystem{folder}" for folder in args.isystem if folder != "/usr/include"]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for source in [args.main, *args.sources]:
            target = str(pathlib.Path(folder) / (pathlib.Path(source).stem + ".o"))
            if subprocess.run([*command, "-c", source, "-o", target]).returncode != 0:
                sys.exit(f"{source}: does not compile with {' '.join(command)}")
            objects.append(target)
        program = str(pathlib.Path(folder) / "tests")
        if subprocess.run([*command, *objects, "-o", program]).returncode != 0:
            sys.exit("does not link")
        sys.exit(subprocess.run([program]).returncode)


if __name__ == "__main__":
    main()
