#!/usr/bin/env python3
"""Compares the ids of examples/tokenize with those of Hugging Face's fast tokenizers on random lines over mixed scripts
(invalid UTF-8, runs of white space, digits and emoji among them), and the text that it makes of ids. Needs
transformers; not part of CI.

usage: fuzz_tokenizer.py --tokenize build/examples/tokenize --vocab vocab.txt [--cased] [--lines 100000] [--seed 0]
       fuzz_tokenizer.py --tokenize build/examples/tokenize --model DIR ...
       (DIR with tokenizer.json, or with vocab.json and merges.txt, which are then read as GPT-2's)
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import tokenizers
from transformers import BertTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/text"))
import texts  # noqa: E402

PIECES = ["  ", "   ", "\t", " \t ", "\r", "\r\r", "\u00a0", "\u3000\u3000", "\u2028", "'s", "'LL", "'re", "don't", "I'M ", "'\u017f", "12345",
          "7", "3.14", "\u0663\u0664", "\u00bd", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f",
          "e\u0301", "\u0915\u094d\u0937\u093f", "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab", "\u4e2d\u6587\u6587\u672c", "\u3002\uff0c", "=====", "...", "!?", "//", "\u2581", "\u0120"]


def random_line(generator, words):
    line = texts.random_text(generator, words)
    if generator.randrange(2):
        at = generator.randrange(len(line) + 1)
        extra = "".join(generator.choice(PIECES) for _ in range(generator.randrange(1, 6)))
        line = line[:at] + extra + line[at:]
    line = line.encode()
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


def prepare_bert(options, folder):
    """The folder for the example; the tokenizer, the words that lines are made of."""
    shutil.copy(options.vocab, folder / "vocab.txt")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not options.cased}))
    words = [word.decode("utf-8") for word in options.vocab.read_bytes().split(b"\n") if word]
    return folder, BertTokenizerFast.from_pretrained(folder).backend_tokenizer, words


def prepare_model(options):
    model = options.model
    if (model / "tokenizer.json").exists():
        tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    else:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(model / "vocab.json"),
                                                                         str(model / "merges.txt")))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        tokenizer.add_special_tokens(["<|endoftext|>"])
    words = [tokenizer.decode([id], skip_special_tokens=False) for id in range(tokenizer.get_vocab_size())]
    return model, tokenizer, [word.replace("\n", " ") for word in words if word and "\ufffd" not in word]


def run(options, model, lines, *more):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "lines.txt"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        answer = subprocess.run([options.tokenize, "--model", model, "--input", path, *more], stdout=subprocess.PIPE,
                                check=True).stdout
    return answer.split(b"\n")[:-1]


def report(what, lines, found, expected):
    wrong = [at for at in range(len(lines)) if at >= len(found) or found[at] != expected[at]]
    for at in wrong[:5]:
        print(f"line {at}: {lines[at]!r}\n  expected {expected[at]!r}\n  found    {found[at:at + 1]!r}")
    print(f"{what}: {len(lines)} lines, {sum(map(len, expected))} {what}, {len(wrong)} lines differ")
    return not wrong and len(found) == len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tokenize", type=pathlib.Path, required=True, help="the built example")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--vocab", type=pathlib.Path, help="BERT's vocab.txt")
    kind.add_argument("--model", type=pathlib.Path, help="directory with tokenizer.json")
    parser.add_argument("--cased", action="store_true", help="do_lower_case = false")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer, words = prepare_bert(options, pathlib.Path(folder)) if options.vocab else \
            prepare_model(options)
        lines = [random_line(generator, words) for _ in range(options.lines)]
        found = [[int(number) for number in line.split()] for line in run(options, model, lines)]
        expected = [e.ids for e in tokenizer.encode_batch([line.decode("utf-8", "replace") for line in lines])]
        good = report("ids", lines, found, expected)
        if options.model:
            # What real lines become, and ids in no order, whose bytes are often no text.
            size = tokenizer.get_vocab_size()
            rows = expected + [[generator.randrange(size) for _ in range(generator.randrange(1, 30))]
                               for _ in range(options.lines // 10)]
            answer = run(options, model, [" ".join(map(str, row)).encode() for row in rows], "--decode")
            decoded = [line.decode() for line in answer]
            wanted = [text.replace("\\", "\\\\").replace("\n", "\\n")
                      for text in tokenizer.decode_batch(rows, skip_special_tokens=False)]
            good = report("decoded characters", rows, decoded, wanted) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
