#!/usr/bin/env python3
"""Compares the ids of examples/tokenize with those of Hugging Face's fast tokenizer on random lines over mixed scripts
(invalid UTF-8 among them). Needs transformers; not part of CI.

usage: fuzz_tokenizer.py --tokenize build/examples/tokenize --vocab vocab.txt [--cased] [--lines 100000] [--seed 0]
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

from transformers import BertTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/text"))
import texts  # noqa: E402


def random_line(generator, words):
    line = texts.random_text(generator, words).encode()
    if generator.randrange(10) == 0:  # break it
        damaged = bytearray(line)
        for _ in range(generator.randrange(1, 4)):
            at = generator.randrange(len(damaged) + 1)
            if generator.randrange(2) and at < len(damaged):
                del damaged[at]
            else:
                damaged.insert(at, generator.choice([0x80, 0xBF, 0xC0, 0xC3, 0xE4, 0xED, 0xA0, 0xF0, 0xF4, 0x90, 0xFF]))
        line = bytes(damaged)
    return line.replace(b"\n", b" ")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tokenize", type=pathlib.Path, required=True, help="the built example")
    parser.add_argument("--vocab", type=pathlib.Path, required=True, help="vocab.txt")
    parser.add_argument("--cased", action="store_true", help="do_lower_case = false")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    generator = random.Random(options.seed)
    words = [word.decode("utf-8") for word in options.vocab.read_bytes().split(b"\n") if word]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copy(options.vocab, folder / "vocab.txt")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not options.cased}))
        lines = [random_line(generator, words) for _ in range(options.lines)]
        (folder / "lines.txt").write_bytes(b"".join(line + b"\n" for line in lines))
        answer = subprocess.run([options.tokenize, "--model", folder, "--input", folder / "lines.txt"],
                                stdout=subprocess.PIPE, check=True).stdout.decode("ascii").split("\n")
        tokenizer = BertTokenizerFast.from_pretrained(folder).backend_tokenizer
    found = [[int(number) for number in line.split()] for line in answer[:-1]]
    expected = [e.ids for e in tokenizer.encode_batch([line.decode("utf-8", "replace") for line in lines])]
    wrong = [at for at in range(len(lines)) if at >= len(found) or found[at] != expected[at]]
    for at in wrong[:5]:
        print(f"line {at}: {lines[at]!r}\n  expected {expected[at]}\n  found    {found[at:at + 1]}")
    print(f"{len(lines)} lines, {sum(map(len, expected))} ids, {len(wrong)} lines differ")
    return 1 if wrong or len(found) != len(lines) else 0


if __name__ == "__main__":
    sys.exit(main())
