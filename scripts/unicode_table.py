#!/usr/bin/env python3
"""Derives include/attune/text/unicode_table.hpp and tests/text/unicode_blocks.txt from Hugging Face's `tokenizers`.

BERT's normaliser mixes Unicode versions (white space and lower case from Rust's standard library, categories and
decompositions from older crates), so no other source has exactly its classes. Everything here is found by asking the
Python package about every code point.

The table holds what the answers mean (classes, mappings). The test file holds, for every 4096 code points, a hash of
the words that the package itself makes of them: it is computed from the package's strings and not from the table, so a
mistake in the table, in its encoding or in the C++ code that reads it shows.

usage: unicode_table.py [--check]     (--check compares with the committed files instead of writing them)
"""

import argparse
import functools
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

PINNED = "0.23.3"
ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "include/attune/text/unicode_table.hpp"
BLOCKS = ROOT / "tests/text/unicode_blocks.txt"
BLOCK = 4096

CONTROL, SPACE, PUNCTUATION, IDEOGRAPH, MARK, WORD = 1, 2, 4, 8, 16, 32
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)


def bert(**on):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**off, **on}).normalize_str


clean, ideograph = bert(clean_text=True), bert(handle_chinese_chars=True)
strip, lower = bert(strip_accents=True), bert(lowercase=True)
nfd = normalizers.NFD().normalize_str
pieces = pre_tokenizers.BertPreTokenizer().pre_tokenize_str


def expect(condition, code_point, what):
    if not condition:
        sys.exit(f"U+{code_point:04X}: {what}: the table has no way to say this")


def added_token_flags():
    """Which characters are \\w and which are \\s beside an added token (flags single_word and rstrip)."""
    tokenizer = Tokenizer(models.WordLevel({"u": 0}, unk_token="u"))
    tokenizer.add_tokens([AddedToken("<w>", single_word=True, normalized=False),
                          AddedToken("<s>", rstrip=True, normalized=False)])
    word_id, strip_id = tokenizer.token_to_id("<w>"), tokenizer.token_to_id("<s>")
    word, space = set(), set()
    for start in range(0, len(CODE_POINTS), 65536):
        chunk = CODE_POINTS[start:start + 65536]
        for c, encoding in zip(chunk, tokenizer.encode_batch(["<w>" + chr(c) for c in chunk])):
            if word_id not in encoding.ids:
                word.add(c)
        for c, encoding in zip(chunk, tokenizer.encode_batch(["<s>" + chr(c) for c in chunk])):
            if encoding.offsets[encoding.ids.index(strip_id)] == (0, 4):
                space.add(c)
    return word, space


def classes():
    word, strip_space = added_token_flags()
    flags = [0] * 0x110000
    for c in CODE_POINTS:
        text = "a" + chr(c) + "b"
        cleaned, count = clean(text), len(pieces(text))
        flag = WORD if c in word else 0
        if cleaned == "ab":
            flag |= CONTROL
        elif cleaned == "a b":
            flag |= SPACE
        else:
            expect(cleaned == text, c, "clean_text changes it")
        expect(count in (1, 2, 3), c, "the pre-tokenizer")
        if count == 3:
            flag |= PUNCTUATION
        if c not in (0, 0xFFFD) and not flag & CONTROL:
            expect((count == 2) == bool(flag & SPACE), c, "white space differs between normaliser and pre-tokenizer")
        expect((c in strip_space) == (count == 2), c, "white space differs between added tokens and pre-tokenizer")
        if count == 2:
            flag |= SPACE
        spaced = ideograph(text)
        if spaced == "a " + chr(c) + " b":
            flag |= IDEOGRAPH
        else:
            expect(spaced == text, c, "handle_chinese_chars changes it")
        if strip(chr(c)) == "":
            expect(nfd(chr(c)) == chr(c) or all(strip(d) == "" for d in nfd(chr(c))), c, "strip_accents")
            flag |= MARK
        flags[c] = flag
    return flags


def decompositions(flags):
    found = {}
    for c in CODE_POINTS:
        full = nfd(chr(c))
        kept = "".join(d for d in full if not flags[ord(d)] & MARK)
        expect(strip(chr(c)) == kept, c, "strip_accents is not NFD without marks")
        if c in HANGUL:
            index = c - 0xAC00
            jamo = chr(0x1100 + index // 588) + chr(0x1161 + index % 588 // 28)
            jamo += chr(0x11A7 + index % 28) if index % 28 else ""
            expect(full == jamo, c, "a Hangul syllable decomposes in an unusual way")
        elif full != chr(c):
            expect(len(full) < 8, c, "a decomposition of eight or more")
            found[c] = full
    return found


def combining_classes(decomposed):
    """The order in which NFD sorts the characters that do not start a cluster: {code point: rank from 1}."""
    def swaps(first, second):
        return nfd("a" + first + second) == "a" + second + first and first != second

    low, high = "\u0334", "\u0345"  # classes 1 and 240, the two ends
    movers = [chr(c) for c in CODE_POINTS if c not in decomposed and c not in HANGUL
              and (swaps(high, chr(c)) or swaps(chr(c), low) or chr(c) in (low, high))]
    order = functools.cmp_to_key(lambda a, b: 1 if swaps(a, b) else -1 if swaps(b, a) else 0)
    ranks, rank, previous = {}, 0, None
    for mover in sorted(movers, key=order):
        if previous is None or swaps(mover, previous):
            rank += 1
        ranks[ord(mover)] = rank
        previous = mover
    return ranks


def runs(pairs):
    """Joins (code point, value) pairs into [first, last, value] where neighbours agree."""
    joined = []
    for c, value in pairs:
        if joined and joined[-1][2] == value and joined[-1][1] == c - 1:
            joined[-1][1] = c
        else:
            joined.append([c, c, value])
    return joined


def lower_runs(flags):
    mapping = {}
    for c in CODE_POINTS:
        low = lower(chr(c))
        if low != chr(c) and c != 0x130:
            expect(len(low) == 1, c, "lower case of several characters")
            mapping[c] = ord(low) - c
    expect(lower("\u0130") == "i\u0307", 0x130, "lower case")
    joined = []  # [first, count, step, delta]
    for c, delta in mapping.items():
        last = joined[-1] if joined else None
        if last and last[3] == delta and last[1] == 1 and c - last[0] in (1, 2):
            last[1], last[2] = 2, c - last[0]
        elif last and last[3] == delta and last[1] > 1 and c == last[0] + last[1] * last[2]:
            last[1] += 1
        else:
            joined.append([c, 1, 1, delta])
    return joined


def array(kind, name, comment, items):
    lines, line = [], " "
    for item in items:
        if len(line) + len(item) + 2 > 108:
            lines.append(line)
            line = " "
        line += " " + item + ","
    lines.append(line)
    return f"/// {comment}\ninline constexpr {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def table():
    flags = classes()
    decomposed = decompositions(flags)
    ranks = combining_classes(decomposed)
    starts = [first << 8 | flag for first, _, flag in runs(enumerate(flags))]
    pool = [f"{x:#x}" for c, full in decomposed.items() for x in [c << 3 | len(full), *map(ord, full)]]
    return "\n".join([
        "#pragma once\n",
        f"// Written by scripts/unicode_table.py from tokenizers {tokenizers.__version__}; do not edit.",
        "// clang-format off\n",
        "#include <cstdint>\n",
        "namespace attune::detail {\n",
        "/// Classes of a code point, bits of the low byte in `unicode_class_runs`.",
        "enum UnicodeClass : std::uint8_t {",
        f"  unicode_control = {CONTROL},      // clean_text drops it",
        f"  unicode_space = {SPACE},        // clean_text and the pre-tokenizer take it for a space",
        f"  unicode_punctuation = {PUNCTUATION},  // the pre-tokenizer makes it a word of its own",
        f"  unicode_ideograph = {IDEOGRAPH},    // handle_chinese_chars makes it a word of its own",
        f"  unicode_mark = {MARK},        // strip_accents drops it",
        f"  unicode_word = {WORD},        // a word character beside an added token",
        "};\n",
        array("std::uint32_t", "unicode_class_runs",
              "Code point << 8 | classes: they hold from this code point to the next entry's.",
              [f"{x:#x}" for x in starts]),
        "/// `count` code points from `first` on, `step` apart, have a lower case `delta` away.",
        "struct UnicodeLowerRun {",
        "  std::uint32_t first;\n  std::uint16_t count;\n  std::uint8_t step;\n  std::int32_t delta;",
        "};",
        array("UnicodeLowerRun", "unicode_lower_runs",
              "Lower case; beside these U+0130 becomes two characters, i and U+0307.",
              [f"{{{f:#x}, {n}, {s}, {d}}}" for f, n, s, d in lower_runs(flags)]),
        array("std::uint32_t", "unicode_decompositions",
              "Full canonical decompositions (NFD) but those of Hangul: code point << 3 | length, then the characters.",
              pool),
        "/// Code points first .. last are sorted by `rank` within a run of such characters (canonical ordering).",
        "struct UnicodeOrderRun {",
        "  std::uint32_t first;\n  std::uint32_t last;\n  std::uint8_t rank;",
        "};",
        array("UnicodeOrderRun", "unicode_order_runs", "Characters whose canonical combining class is not 0.",
              [f"{{{a:#x}, {b:#x}, {r}}}" for a, b, r in runs(sorted(ranks.items()))]),
        "}  // namespace attune::detail\n",
    ])


def fnv(digest, data):
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def blocks():
    """One line per block of code points: its first code point and, for each setting, a hash of the words of
    "a<c>b" for each of its code points, each word followed by a line feed."""
    settings = [dict(clean_text=True, handle_chinese_chars=True, strip_accents=s, lowercase=l)
                for l in (True, False) for s in (True, False)]
    settings.append(dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False))
    normalize = [normalizers.BertNormalizer(**s).normalize_str for s in settings]
    lines = []
    for start in range(0, 0x110000, BLOCK):
        hashes = []
        for function in normalize:
            digest = 0xCBF29CE484222325
            for c in range(start, start + BLOCK):
                if not 0xD800 <= c < 0xE000:
                    for word, _ in pieces(function("a" + chr(c) + "b")):
                        digest = fnv(digest, word.encode() + b"\n")
            hashes.append(f"{digest:016x}")
        lines.append(f"{start:06x} " + " ".join(hashes))
    return "\n".join(lines) + "\n"


def derive(description, files):
    """The command line of a script that derives `files`: pairs of a path and a function that makes its content."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args()
    if tokenizers.__version__ != PINNED:
        sys.exit(f"tokenizers {PINNED} is needed, found {tokenizers.__version__}")
    for path, make in files:
        content = make()
        if not options.check:
            path.write_text(content, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != content:
            sys.exit(f"{path.relative_to(ROOT)} differs from what tokenizers {PINNED} says")


if __name__ == "__main__":
    derive("Derive the Unicode table from Hugging Face's tokenizers.", ((TABLE, table), (BLOCKS, blocks)))
