#!/usr/bin/env python3
"""Writes the fixtures for `attune::Tokenizer` into fixtures_tokenizer/ beside this file: small tokenizers of every kind,
trained here with Hugging Face's `tokenizers`, and what that package makes of tricky texts.

usage: generate_tokenizers.py [--random COUNT --seed SEED] [--output DIR]
       (--random: that many cases from random texts instead, not to be committed: ATTUNE_TOKENIZER_JSON_FIXTURES=DIR
        test_text runs them)
"""

import argparse
import json
import pathlib
import random
import shutil
import sys
import tempfile

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import generate
import texts

HERE = pathlib.Path(__file__).resolve().parent

CORPUS = """
First Citizen: Before we proceed any further, hear me speak. All: Speak, speak. You are all resolved rather to die
than to famish? First, you know Caius Marcius is chief enemy to the people. We know't, we know't. Let us kill him, and
we'll have corn at our own price. Is't a verdict? No more talking on't; let it be done: away, away! One word, good
citizens. We are accounted poor citizens, the patricians good. What authority surfeits on would relieve us: if they
would yield us but the superfluity, while it were wholesome, we might guess they relieved us humanely; but they think
we are too dear: the leanness that afflicts us, the object of our misery, is as an inventory to particularise their
abundance; our sufferance is a gain to them. 1234 5678 1999 2024 100 3.14 I'm you're he's don't WE'LL I'D
话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。及秦灭之后，楚、汉分争，又并入于汉。
Café naïve façade Übergröße größer straße. Привет мир, привет! Γειά σου κόσμε. ひらがな カタカナ 日本語 テスト 한국어 텍스트
def f(x):\n    return x + 1\n\n\tif (a && b) { c[0] = "text"; }\r\n  // comment   \n\n\n
""".replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
LINES = [line for line in CORPUS.split("\n") if line] * 4 + [CORPUS]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
# Neither has a scanner of its own.
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LOOK = r"(?<=\p{L})\d+(?!\d)|\p{Han}{2}|[A-Z]\w*?(?=[aeiou])|\p{N}{1,2}+|[\s&]+"

BYTE_ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def byte_level_bpe(pre_tokenizer, vocab_size=460, special=("<|endoftext|>",), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=BYTE_ALPHABET, special_tokens=list(special), show_progress=False))
    return tokenizer


def wrapped(tokenizer, **special):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)


def gpt2():
    tokenizer = byte_level_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return wrapped(tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


def roberta():
    tokenizer = byte_level_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False),
                               special=("<s>", "<pad>", "</s>", "<unk>"))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", sep_token="</s>", cls_token="<s>",
                   pad_token="<pad>", mask_token=AddedToken("<mask>", lstrip=True, normalized=False))


def prefix_space():
    """A space before the text, trimmed offsets, tokens that are added with every flag."""
    tokenizer = byte_level_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_tokens([AddedToken("<word>", single_word=True), AddedToken("<left>", lstrip=True),
                          AddedToken("<right>", rstrip=True), AddedToken("<both>", lstrip=True, rstrip=True),
                          AddedToken("caf\u00e9", normalized=True), "  lower"])
    return wrapped(tokenizer, eos_token="<|endoftext|>")


def llama3():
    tokenizer = byte_level_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]),
        special=("<|begin_of_text|>", "<|eot_id|>"), ignore_merges=True)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                                      [("<|begin_of_text|>", 0)])])
    # A word that no merges lead to.
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"]["\u0120ignored"] = len(state["model"]["vocab"])
    return wrapped(Tokenizer.from_str(json.dumps(state)), bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def qwen2():
    tokenizer = byte_level_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]),
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return wrapped(tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def smollm():
    tokenizer = byte_level_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    return wrapped(tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def other_regexes():
    tokenizer = byte_level_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LOOK), "merged_with_previous"), pre_tokenizers.Split(Regex(O200K), "removed", True),
        pre_tokenizers.ByteLevel(False, use_regex=False)]))
    return wrapped(tokenizer, eos_token="<|endoftext|>")


def sentence_pieces(kind, **settings):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "corpus.txt").write_text("\n".join(LINES), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "corpus.txt"), model_prefix=str(folder / "model"), model_type=kind, minloglevel=2,
            hard_vocab_limit=kind == "bpe",
            num_threads=1, **settings)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((folder / "model.model").read_bytes())
    return model


def llama2():
    """SentencePiece BPE with byte fallback, as Llama 2 has it."""
    model = sentence_pieces("bpe", vocab_size=620, byte_fallback=True, character_coverage=0.98,
                            normalization_rule_name="identity", split_digits=True)
    pieces = [piece.piece for piece in model.pieces]
    vocab = {piece: at for at, piece in enumerate(pieces)}
    found = sorted((vocab[a + b], a, b) for a in pieces for b in pieces if a + b in vocab and vocab[a + b] > 258)
    tokenizer = Tokenizer(models.BPE(vocab, [(a, b) for _, a, b in found], unk_token="<unk>", fuse_unk=True,
                                     byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(x, normalized=False, special=True) for x in ("<unk>", "<s>", "</s>")])
    tokenizer.add_tokens([AddedToken("<both>", normalized=True)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    return wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def metaspace():
    """Llama 2 without the legacy behaviour: the mark is put before the first part alone."""
    tokenizer = llama2().backend_tokenizer
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", "first", split=False)
    return wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


RULES = {"\uff21": "A", "\uff42": "b", "\u00bd": "1/2", "\u2126": "\u03a9", "\t": " ", "\n": " ", "\u3000": " ", "\u00a0": " ",
         "\ufb01": "fi", "\u200b": "", "\u2460": "1", "e\u0301": "\u00e9", "\u2026": "...", "\uac00": "\u1100\u1161"}


def unigram(byte_fallback=False):
    """XLM-RoBERTa's layout, with a small table of normalization rules."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        for key, value in RULES.items():
            rules.write(" ".join(f"{ord(c):X}" for c in key) + "\t" + " ".join(f"{ord(c):X}" for c in value) + "\n")
        rules.flush()
        model = sentence_pieces("unigram", vocab_size=700 if byte_fallback else 420, byte_fallback=byte_fallback,
                                character_coverage=0.98, normalization_rule_tsv=rules.name)
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    if not byte_fallback:
        pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces[3:], ("<mask>", 0.0)]
    unk = [piece for piece, _ in pieces].index("<unk>")
    tokenizer = Tokenizer(models.Unigram(pieces, unk, byte_fallback))
    steps = [normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)]
    if not byte_fallback:
        steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "\u2581")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", "always")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("\u2581", "always")]) \
        if byte_fallback else decoders.Metaspace("\u2581", "always")
    if byte_fallback:
        return wrapped(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>",
                                                             [("<s>", 0), ("</s>", 2)])
    return wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", sep_token="</s>", cls_token="<s>",
                   pad_token="<pad>", mask_token=AddedToken("<mask>", lstrip=True, normalized=False))


def word_piece():
    vocabulary = {token: at for at, token in enumerate(generate.SPECIAL + texts.VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return wrapped(tokenizer, unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]",
                   mask_token="[MASK]")


def end_of_word():
    """The first BPE models: characters, a mark at the end of words, normalizers one after the other."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(),
        normalizers.Replace(Regex(r"(\p{L})\1{2,}"), "~"), normalizers.Replace("cc", "k")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(False)])
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(
        vocab_size=420, limit_alphabet=80, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    return wrapped(tokenizer, unk_token="<unk>")


def continuing():
    """A prefix of tokens that continue words; unknown characters are fused; other splits and forms."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="@@", fuse_unk=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.Split("e", "merged_with_next"),
        pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.CharDelimiterSplit("x")])
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(
        vocab_size=420, limit_alphabet=80, special_tokens=["<unk>"], continuing_subword_prefix="@@",
        show_progress=False))
    return wrapped(tokenizer, unk_token="<unk>")


LAYOUTS = {"gpt2": gpt2, "roberta": roberta, "prefix_space": prefix_space, "llama3": llama3, "qwen2": qwen2,
           "smollm": smollm, "other_regexes": other_regexes, "llama2": llama2, "metaspace": metaspace,
           "unigram": unigram, "unigram_bytes": lambda: unigram(True), "word_piece": word_piece,
           "end_of_word": end_of_word, "continuing": continuing}

_A, _B = "hello world, don't run 12345", "the caf\u00e9 isn't\n\n good, citizens!"
FURTHER = [
    "We'll  know't,   I'M YOU'RE he'\u017f 'S 'll'VE''d 'x", "a\n b\r\n\r\n  c \t d\n\n\n", "  \n  x", "x   ", "\n\n\n", " \u00a0\u3000 y\u2028z",
    "12345 1 22 333 4444 \u0663\u0664\u0665\u0666 \u00bd\u2460\u2167", " ignored ignored", "<|begin_of_text|><|eot_id|> <|im_start|>user\nhi<|im_end|>",
    "hello<mask> <mask>world  <mask>", "<s> </s></s> <unk>", "if(a&&b){c[0]=\"x\";}//~~", "\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f1e9\U0001f1ea\U0001f600\U0001f600",
    "\uff21\uff42\u00bd\u2126\ufb01\u200b\u2026 e\u0301 \uff21\u0301x \uac00\uac01", "aaaabbbb cccc ccc", "\u2581a \u2581\u2581b c\u2581", "\u8bdd\u8bf4\u5929\u4e0b\u5927\u52bf\uff0c\u5206\u4e45\u5fc5\u5408\u3002",
    "xexxe.x.e..e!e", "word1word22 A1 B\u0661", "AbCdefGHI HTTPServer iPhone don'ts", "&& & a&b", "na\u00efve \u00dcbergr\u00f6\u00dfe \u041f\u0440\u0438\u0432\u0435\u0442",
    "a" * 300, "ab" * 150, "\u8bdd" * 120, "=" * 200, " " * 150 + "x", "0123456789" * 15]
CASES = [{"text": text} for text in FURTHER + texts.TEXTS[::2]]
CASES += [{"text": a, "pair": b} for a, b in ((_A, _B), (_B, ""), ("", _A), (" x", " y "))]
CASES += [{"text": _A, "pair": _B, "bare": True}, {"text": _B, "bare": True}]
CASES += [{"text": a, "pair": b, "max_length": n, "truncation": how} for a, b in ((_A, _B), (_B, "x"))
          for n in (6, 9, 14) for how in ("longest_first", "only_first", "only_second")]
CASES += [{"text": _A, "max_length": 7}, {"text": _B, "max_length": 5, "bare": True}]


def write_cases(folder, tokenizer, cases):
    with open(folder / "cases.jsonl", "w", encoding="ascii") as file:
        for case in cases:
            file.write(json.dumps(generate.encode(tokenizer, case), separators=(",", ":")) + "\n")
    names = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    generate.write(folder / "expected.json", {
        "vocab_size": len(tokenizer), **{name: getattr(tokenizer, name + "_token_id") for name in names},
        "special": sorted(i for i, token in tokenizer.added_tokens_decoder.items() if token.special)})


def data_hashes():
    """GPT-2's real vocabulary on real texts: a hash of all ids per file."""
    vocab = generate.SHARED / "vocab"
    tokenizer = Tokenizer(models.BPE.from_file(str(vocab / "gpt2-vocab.json"), str(vocab / "gpt2-merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    hashes = []
    for name in ("shakespeare/input.txt", "sanguo/sanguoyanyi.txt", "sst2/dev.tsv", "sms_spam/sms_spam.tsv"):
        lines = (generate.SHARED / name).read_bytes().decode("utf-8").split("\n")
        rows = [encoding.ids for encoding in tokenizer.encode_batch(lines)]
        hashes.append({"file": name, "lines": len(lines), "hash": generate.hash_ids(rows)})
    return hashes


def main():
    parser = argparse.ArgumentParser(description="Write the fixtures for attune::Tokenizer.")
    parser.add_argument("--random", type=int, default=0, help="cases of random texts per tokenizer instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one of the fixtures")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "fixtures_tokenizer")
    options = parser.parse_args()
    found = {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__}
    if found != generate.PINNED:
        sys.exit(f"{generate.PINNED} are needed, found {found}")
    generator = random.Random(options.seed)
    words = [word for line in CORPUS.split("\n") for word in line.split(" ")]
    for name, make in LAYOUTS.items():
        if options.only and options.only != name:
            continue
        folder = options.output / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make().save_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        cases = [texts.random_case(generator, words) for _ in range(options.random)] if options.random else CASES
        for case in cases:
            if "max_length" in case:  # room for the special tokens of a pair
                case["max_length"] = max(case["max_length"], 4)
        write_cases(folder, tokenizer, cases)
    if not options.random and not options.only:
        generate.write(options.output / "data_hashes.json", data_hashes())


if __name__ == "__main__":
    main()
