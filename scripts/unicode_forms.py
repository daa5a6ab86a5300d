#!/usr/bin/env python3
"""Derives include/attune/text/unicode_forms_table.hpp and tests/text/unicode_forms.txt from Hugging Face's `tokenizers`:
what its regular expressions take for letters, numbers and white space, and the normalization forms beyond NFD.

As for unicode_table.py, whose table this one completes, the answers come from asking the package about every code
point: its parts are of different Unicode versions. The test file holds hashes of the package's own strings.

usage: unicode_forms.py [--check]     (--check compares with the committed files instead of writing them)
"""

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

from unicode_table import CODE_POINTS, HANGUL, ROOT, array, derive, expect, fnv, nfd, runs

TABLE = ROOT / "include/attune/text/unicode_forms_table.hpp"
HASHES = ROOT / "tests/text/unicode_forms.txt"

LETTER, NUMBER, SPACE, NUMERIC, COMBINING = 1, 2, 4, 8, 16

nfc, nfkc, nfkd = (form.normalize_str for form in (normalizers.NFC(), normalizers.NFKC(), normalizers.NFKD()))
strip_accents = normalizers.StripAccents().normalize_str


def is_removed(pre_tokenizer):
    return lambda c: not pre_tokenizer.pre_tokenize_str(chr(c))


def classes():
    letter, number, space = (is_removed(pre_tokenizers.Split(Regex(x), "removed")) for x in (r"\p{L}", r"\p{N}", r"\s"))
    digits = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str
    for c in CODE_POINTS:
        flags = LETTER * letter(c) | NUMBER * number(c) | SPACE * space(c)
        flags |= NUMERIC * (len(digits("a" + chr(c))) == 2) | COMBINING * (strip_accents(chr(c)) == "")
        yield c, flags


def compositions():
    """(first, second, composed) for each pair that NFC joins, but those of Hangul."""
    for c in CODE_POINTS:
        parts = nfd(chr(c))
        if c in HANGUL or len(parts) == 1 or nfc(chr(c)) != chr(c):
            continue
        first = nfc(parts[:-1])
        expect(len(first) == 1 and nfc(first + parts[-1]) == chr(c), c, "a composition of more than two")
        yield ord(first), ord(parts[-1]), c


def compatibility():
    """Code point and full decomposition (NFKD) where it is not the canonical one."""
    for c in CODE_POINTS:
        full = nfkd(chr(c))
        if full != nfd(chr(c)):
            expect(len(full) < 32, c, "a decomposition of 32 or more")
            yield c, full


def table():
    starts = [f"{first << 8 | flags:#x}" for first, _, flags in runs(classes())]
    pairs = [f"{{{a:#x}, {b:#x}, {c:#x}}}" for a, b, c in sorted(compositions())]
    pool = [f"{x:#x}" for c, full in compatibility() for x in [c << 5 | len(full), *map(ord, full)]]
    return "\n".join([
        "#pragma once\n",
        f"// Written by scripts/unicode_forms.py from tokenizers {tokenizers.__version__}; do not edit.",
        "// clang-format off\n",
        "#include <cstdint>\n",
        "namespace attune::detail {\n",
        "/// Classes of a code point, bits of the low byte in `unicode_regex_runs`.",
        "enum UnicodeRegexClass : std::uint8_t {",
        f"  regex_letter = {LETTER},     // \\p{{L}}",
        f"  regex_number = {NUMBER},     // \\p{{N}}",
        f"  regex_space = {SPACE},      // \\s",
        f"  unicode_numeric = {NUMERIC},  // the pre-tokenizer Digits splits there",
        f"  unicode_combining = {COMBINING},  // the normalizer StripAccents drops it",
        "};\n",
        array("std::uint32_t", "unicode_regex_runs",
              "Code point << 8 | classes: they hold from this code point to the next entry's.", starts),
        "/// `first` and `second` become `composed` in NFC and NFKC.",
        "struct UnicodeComposition {",
        "  std::uint32_t first, second, composed;",
        "};",
        array("UnicodeComposition", "unicode_compositions", "All but those of Hangul.", pairs),
        array("std::uint32_t", "unicode_compatibility",
              "Full compatibility decompositions (NFKD) that are no canonical ones: code point << 5 | length, characters.",
              pool),
        "}  // namespace attune::detail\n",
    ])


def hashes():
    """The name of each form, a hash of the forms of all code points c in "a<c>", and one of those in "<c>" + U+0323
    U+0301 + "<c>", a line feed after each."""
    lines = []
    for name, form in (("NFC", nfc), ("NFD", nfd), ("NFKC", nfkc), ("NFKD", nfkd), ("StripAccents", strip_accents)):
        alone = among = 0xCBF29CE484222325
        for c in CODE_POINTS:
            alone = fnv(alone, form("a" + chr(c)).encode() + b"\n")
            among = fnv(among, form(chr(c) + "\u0323\u0301" + chr(c)).encode() + b"\n")
        lines.append(f"{name} {alone:016x} {among:016x}\n")
    return "".join(lines)


if __name__ == "__main__":
    derive("Derive normalization forms and classes from tokenizers.", ((TABLE, table), (HASHES, hashes)))
