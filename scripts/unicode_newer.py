#!/usr/bin/env python3
"""Derives include/attune/text/unicode_newer_table.hpp and tests/text/unicode_regex.txt from Hugging Face's `tokenizers`:
the properties, in its regular expressions (Oniguruma), of code points assigned after Unicode 14, of which PCRE2 10.42
knows nothing; and what tells the code points that patterns match.

Needs a Python whose unicodedata is of Unicode 14 (3.11).

usage: unicode_newer.py [--check]     (--check compares with the committed files instead of writing them)
"""

import sys
import unicodedata

import tokenizers
from tokenizers import Regex, Tokenizer, pre_tokenizers

from unicode_table import CODE_POINTS, ROOT, array, derive, fnv

TABLE = ROOT / "include/attune/text/unicode_newer_table.hpp"
HASHES = ROOT / "tests/text/unicode_regex.txt"
UNIGRAM = ROOT / "tests/text/fixtures_tokenizer/unigram_bytes/tokenizer.json"

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So".split()
# Those that the translation to PCRE2's syntax takes for scripts.
SCRIPTS = ("Arabic Armenian Bengali Cyrillic Devanagari Georgian Greek Han Hangul Hebrew Hiragana Katakana Latin Tamil "
           "Thai").split()
# U+1171E became Mc from Mn.
PATTERNS = [rf"\p{{{name}}}" for name in ["L", "M", "N", "P", "S", *CATEGORIES, *SCRIPTS] if name not in ("Mn", "Mc")]
PATTERNS += [r"\w", r"\s", r"\d", r"\W", r"\S", r"\D", r"\P{L}", r"[^\p{L}\p{N}]", r"[^\s\p{L}\p{N}]", r"[\w\p{S}]",
             r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\d\p{P}]"]

EVERY = "".join(map(chr, CODE_POINTS))


def matched(pattern):
    """The code points that the pattern matches, in order."""
    kept = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(EVERY)
    ends = [0, *(at for _, bounds in kept for at in bounds), len(EVERY)]
    return [ord(c) for begin, end in zip(ends[::2], ends[1::2]) for c in EVERY[begin:end]]


def joining():
    """The code points that make one character with what is before them (\\X). SentencePiece's normalization shows it:
    it replaces characters of at most five bytes, and drops what follows a replaced beginning."""
    normalize = Tokenizer.from_file(str(UNIGRAM)).normalizer.normalize_str
    return [c for c in CODE_POINTS if c >= 0x80 and normalize("e\u0301" + chr(c)) != "\u00e9" + normalize(chr(c))]


def ranges(points):
    joined = []
    for c in points:
        if joined and joined[-1][1] == c - 1:
            joined[-1][1] = c
        else:
            joined.append([c, c])
    return joined


def table():
    rows = []
    for name in [*CATEGORIES, *SCRIPTS, "X"]:
        points = joining() if name == "X" else matched(rf"\p{{{name}}}")
        newer = [c for c in points if unicodedata.category(chr(c)) == "Cn"]
        rows += [f'{{"{name}", {first:#x}, {last:#x}}}' for first, last in ranges(newer)]
    return "\n".join([
        "#pragma once\n",
        f"// Written by scripts/unicode_newer.py from tokenizers {tokenizers.__version__}; do not edit.",
        "// clang-format off\n",
        "namespace attune::detail {\n",
        "/// The code points `first` to `last` have the property \\p{name}, a general category or a script; or, named X, make",
        "/// one character with the one before.",
        "struct UnicodeNewerRange {",
        "  const char* name;",
        "  unsigned first, last;",
        "};",
        array("UnicodeNewerRange", "unicode_newer_ranges", "Those that Unicode 14 did not have.", rows),
        "}  // namespace attune::detail\n",
    ])


def hashes():
    """Of each pattern how many code points it matches (\\X: which are in one match with the two before), a hash of their ranges
    ("first-last", a line feed after each), and itself."""
    lines = []
    for pattern in [*PATTERNS, r"\X"]:
        points = joining() if pattern == r"\X" else matched(pattern)
        text = "".join(f"{first:x}-{last:x}\n" for first, last in ranges(points))
        lines.append(f"{len(points)} {fnv(0xCBF29CE484222325, text.encode()):016x} {pattern}\n")
    return "".join(lines)


if __name__ == "__main__":
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"unicodedata of Unicode 14.0.0 is needed, found {unicodedata.unidata_version}")
    derive("Derive properties newer than Unicode 14 from tokenizers.", ((TABLE, table), (HASHES, hashes)))
