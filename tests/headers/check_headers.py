#!/usr/bin/env python3
"""Compiles every header under include/attune alone, with all warnings as errors.

A header passes when a file that includes nothing else compiles. `*.inl.hpp` files are reached through their headers.
What a passed header depended on is remembered in the cache folder, so that a second run checks only what changed.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def fingerprint(paths):
    """One hash over the contents of files, or None when one of them is gone."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            digest.update(path.encode() + b"\0" + pathlib.Path(path).read_bytes())
        except OSError:
            return None
    return digest.hexdigest()


class Checker:
    def __init__(self, args):
        self.root = pathlib.Path(args.include).resolve()
        self.command = [args.compiler, "-std=c++20", *WARNINGS, "-pthread", "-fsyntax-only", f"-I{self.root}"]
        self.command += [f"-isystem{folder}" for folder in args.isystem if folder != "/usr/include"]
        version = subprocess.run([args.compiler, "--version"], capture_output=True, text=True, check=True).stdout
        self.key = hashlib.sha256("\0".join([version, *self.command]).encode()).hexdigest()
        self.cache = pathlib.Path(args.cache)
        self.cache.mkdir(parents=True, exist_ok=True)

    def record(self, header):
        return self.cache / (self.key[:16] + "-" + header.replace("/", "-") + ".json")

    def is_current(self, header):
        try:
            known = json.loads(self.record(header).read_text())
        except (OSError, ValueError):
            return False
        return known["hash"] == fingerprint(known["files"])

    def check(self, header):
        """Returns (header, whether it was compiled now, the diagnostics or '')."""
        if self.is_current(header):
            return header, False, ""
        with tempfile.TemporaryDirectory() as folder:
            dependencies = os.path.join(folder, "d")
            result = subprocess.run([*self.command, "-MD", "-MF", dependencies, "-x", "c++", "-"], text=True,
                                    capture_output=True, input=f"#include <{header}>\n")
            if result.returncode != 0:
                return header, True, result.stderr.strip() or f"exit status {result.returncode}"
            words = re.sub(r"\\\n", " ", pathlib.Path(dependencies).read_text()).split()
        # The system's headers change with the compiler's version or the packages; ours are what is worked on.
        files = sorted({word for word in words if word.startswith(str(self.root))})
        self.record(header).write_text(json.dumps({"files": files, "hash": fingerprint(files)}))
        return header, True, ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--include", required=True, help="the folder that holds attune/")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--isystem", action="append", default=[], help="folders of the dependencies")
    parser.add_argument("--cache", required=True, help="where passed headers are remembered")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()

    checker = Checker(args)
    headers = sorted(str(path.relative_to(checker.root)) for path in checker.root.glob("attune/**/*.hpp")
                     if not path.name.endswith(".inl.hpp"))
    if not headers:
        sys.exit(f"no headers under {args.include}/attune")
    failed = compiled = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for header, was_compiled, diagnostics in pool.map(checker.check, headers):
            compiled += was_compiled
            if diagnostics:
                failed += 1
                print(f"FAILED {header} does not compile alone:\n{diagnostics}\n", flush=True)
    print(f"{len(headers)} headers with {args.compiler}: {compiled} compiled, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
