#!/usr/bin/env python3
"""Writes the tokenizer fixtures beside this file: small tokenizer directories, and for each what Hugging Face's fast
tokenizer makes of tricky texts. Also, from the vocabularies and texts of ../shared/data, a hash of all ids per file.

usage: generate.py
       generate.py --random COUNT --seed SEED --output DIR   (many more cases from random texts, not to be committed:
                                                              ATTUNE_TOKENIZER_FIXTURES=DIR test_text runs them)
"""

import argparse
import json
import pathlib
import random
import shutil
import struct
import sys

import tokenizers
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

import texts

PINNED = {"tokenizers": "0.23.3", "transformers": "5.24.0"}
HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parent.parent.parent / "shared/data"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def old_layout(folder, config, special_map=None):
    """vocab.txt and tokenizer_config.json, as transformers 4 wrote them."""
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + texts.VOCABULARY) + "\n", encoding="utf-8")
    write(folder / "tokenizer_config.json", config)
    if special_map:
        write(folder / "special_tokens_map.json", special_map)
    return BertTokenizerFast.from_pretrained(folder)


def added_layout(folder):
    """tokenizer.json with added tokens of every flag, as transformers 5 writes it."""
    tokenizer = old_layout(folder, {"do_lower_case": True, "model_max_length": 64})
    tokenizer.add_tokens([
        AddedToken("<word>", single_word=True, normalized=False),
        AddedToken("<left>", lstrip=True, normalized=False),
        AddedToken("<right>", rstrip=True, normalized=False),
        AddedToken("<both>", lstrip=True, rstrip=True, normalized=False, special=True),
        AddedToken("Caf\u00e9 X", normalized=True),
        AddedToken("Caf\u00e9", normalized=True, single_word=True),
        AddedToken("lower", normalized=True, lstrip=True),
        AddedToken("RAW", normalized=False),
        AddedToken("RAWER", normalized=False),
        AddedToken("\u4e2d\u56fd", normalized=False),
    ])
    (folder / "vocab.txt").unlink()
    tokenizer.save_pretrained(folder)
    return BertTokenizerFast.from_pretrained(folder)


def generic_layout(folder, **normalizer):
    """tokenizer.json of the generic class, which takes settings that BertTokenizerFast has no words for."""
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<unk>", "<s>", "</s>", "<mask>"])}
    for token in texts.VOCABULARY:
        vocabulary[token.replace("##", "~~")] = len(vocabulary)
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix="~~",
                                         max_input_chars_per_word=12))
    backend.normalizer = normalizers.BertNormalizer(**normalizer)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="~~")
    backend.post_processor = processors.BertProcessing(("</s>", 3), ("<s>", 2))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", sep_token="</s>",
                                        pad_token="<pad>", cls_token="<s>", mask_token="<mask>")
    tokenizer.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


LAYOUTS = {
    "uncased": lambda f: old_layout(f, {"do_lower_case": True, "strip_accents": None, "model_max_length": 512,
                                        "tokenizer_class": "BertTokenizer"}),
    "cased": lambda f: old_layout(f, {"do_lower_case": False, "clean_up_tokenization_spaces": True}),
    "cased_stripped": lambda f: old_layout(f, {"do_lower_case": False, "strip_accents": True}),
    "uncased_accents": lambda f: old_layout(f, {"do_lower_case": True, "strip_accents": False,
                                                "tokenize_chinese_chars": False}),
    "renamed": lambda f: old_layout(
        f, {"sep_token": "<sep>", "additional_special_tokens": ["<extra>", "e"]},
        {"mask_token": {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": True,
                        "single_word": False}, "pad_token": "[PAD]"}),
    "added": added_layout,
    "generic": lambda f: generic_layout(f, clean_text=False, handle_chinese_chars=True, strip_accents=None,
                                        lowercase=True),
}


def encode(tokenizer, case):
    """The case with what the tokenizer answers: ids, types, offsets, words (-1: none), mask, truncated.

    Asked as a batch of one, in which an empty second text makes a pair as any other does."""
    texts_and_pairs = [[case["text"]], [case["pair"]] if "pair" in case else None]
    settings = dict(add_special_tokens=not case.get("bare", False))
    if isinstance(case["text"], list):
        settings["is_split_into_words"] = True
    length = 0
    if "max_length" in case:
        length = len(tokenizer(*texts_and_pairs, **settings)["input_ids"][0])
        settings.update(truncation=case.get("truncation", "longest_first"), max_length=case["max_length"])
    try:
        result = tokenizer(*texts_and_pairs, return_offsets_mapping=True, return_special_tokens_mask=True,
                           return_token_type_ids=True, **settings)
    except BaseException as error:  # a Rust panic is one
        if "runcat" not in str(error):
            raise
        return {**case, "error": True}
    ids = result["input_ids"][0]
    return {**case, "ids": ids, "types": result["token_type_ids"][0],
            "offsets": [x for offset in result["offset_mapping"][0] for x in offset],
            "words": [-1 if word is None else word for word in result.word_ids()],
            "mask": result["special_tokens_mask"][0], "truncated": len(ids) < length,
            "decoded": tokenizer.decode(ids), "skipped": tokenizer.decode(ids, skip_special_tokens=True)}


def write_cases(folder, tokenizer, cases):
    with open(folder / "cases.jsonl", "w", encoding="ascii") as file:
        for case in cases:
            file.write(json.dumps(encode(tokenizer, case), separators=(",", ":")) + "\n")
    write(folder / "expected.json", {
        "vocab_size": len(tokenizer), "pad": tokenizer.pad_token_id, "unk": tokenizer.unk_token_id,
        "cls": tokenizer.cls_token_id, "sep": tokenizer.sep_token_id, "mask": tokenizer.mask_token_id,
        "special": sorted(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)})


def hash_ids(rows):
    """FNV-1a over the ids of all rows as 32-bit little-endian numbers, -1 after each row."""
    digest = 0xCBF29CE484222325
    for row in rows:
        for byte in struct.pack(f"<{len(row) + 1}i", *row, -1):
            digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def data_hashes():
    files = {"sst2/train.tsv": "uncased", "sst2/dev.tsv": "uncased", "sms_spam/sms_spam.tsv": "uncased",
             "chnsenticorp/ChnSentiCorp_htl_all.csv": "chinese", "sanguo/sanguoyanyi.txt": "chinese"}
    hashes = []
    for name, kind in files.items():
        backend = Tokenizer(models.WordPiece.from_file(str(SHARED / f"vocab/bert-base-{kind}-vocab.txt")))
        backend.normalizer = normalizers.BertNormalizer()
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        lines = (SHARED / name).read_bytes().decode("utf-8", "replace").split("\n")
        rows = [e.ids for e in backend.encode_batch(lines, add_special_tokens=False)]
        hashes.append({"file": name, "vocab": kind, "lines": len(lines), "hash": hash_ids(rows)})
    return hashes


def main():
    parser = argparse.ArgumentParser(description="Write the tokenizer fixtures.")
    parser.add_argument("--random", type=int, default=0, help="cases of random texts per tokenizer instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "fixtures")
    options = parser.parse_args()
    found = {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__}
    if found != PINNED:
        sys.exit(f"{PINNED} are needed, found {found}")
    generator = random.Random(options.seed)
    for name, make in LAYOUTS.items():
        folder = options.output / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tokenizer = make(folder)
        cases = [texts.random_case(generator) for _ in range(options.random)] if options.random else \
            texts.CASES + (texts.TRUNCATED if name == "uncased" else [])
        write_cases(folder, tokenizer, cases)
    if not options.random:
        write(options.output / "data_hashes.json", data_hashes())


if __name__ == "__main__":
    main()
