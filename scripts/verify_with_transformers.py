#!/usr/bin/env python3
"""Shows that a directory saved by attune is one that transformers loads unchanged, and the other way round.

  verify_with_transformers.py MODEL_DIR [--task CLASS] [--texts FILE] [--expect logits.jsonl] [--ids ids.txt]
      loads MODEL_DIR; fails on any missing, unexpected or mismatched key; prints the logits of each text;
      compares them with the JSONL of predict_classifier and the ids with the output of tokenize
  verify_with_transformers.py --make DIR [--from MODEL_DIR | --kind bert|roberta|xlm-roberta]
      lets Python write a directory for reading in C++: model, tokenizer, texts.txt, logits.jsonl and ids.txt

Needs torch and transformers. Exit status 0 when everything agrees, 1 when not.
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

import tokenizers
import torch
import transformers

TEXTS = [
    "a stirring , funny and finally transporting film",
    "The plot is a mess; nobody in it is likeable!",
    "Café naïve – ÉCOLE, 東京 2024",
    "x",
    "a long one " * 12,
]
WORDS = "a the plot is mess long one film funny and cafe x ; , ! - ##s".split()


def read_lines(path):
    """One text a line; only line feeds end a line."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


class Failures:
    def __init__(self):
        self.count = 0

    def check(self, good, message):
        if not good:
            self.count += 1
            print(f"FAILED: {message}")
        return good


def load(directory, task, failures):
    model_class = getattr(transformers, task)
    model, info = model_class.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(str, info[kind]))
        failures.check(not keys, f"{kind}: {', '.join(keys)}")
    failures.check(not info.get("error_msgs"), f"error_msgs: {info.get('error_msgs')}")
    print(f"{directory}: {type(model).__name__}, {model.num_parameters():,} parameters")
    return model.eval()


def longest(model):
    """The tokens that a model takes; RoBERTa's positions begin behind the padding's."""
    config = model.config
    return config.max_position_embeddings - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)


@torch.inference_mode()
def predict(model, tokenizer, texts, max_length):
    """(ids, output) of each text, one at a time so that nothing is padded."""
    result = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        output = model(**inputs)
        values = output.logits if "logits" in output else output.last_hidden_state
        result.append((inputs["input_ids"][0].tolist(), values[0].float()))
    return result


def as_record(model, logits):
    probabilities = logits.softmax(-1)
    problem = getattr(model.config, "problem_type", None)
    if problem == "regression":
        probabilities = logits
    elif problem == "multi_label_classification" or len(logits) == 1:
        probabilities = logits.sigmoid()
    best = int(probabilities.argmax())
    label = model.config.id2label[best]
    return {"label": label, "score": float(probabilities[best]), "logits": logits.tolist()}


def compare_logits(model, found, path, tolerance, failures):
    records = [json.loads(line) for line in read_lines(path)]
    if not failures.check(len(records) == len(found), f"{path}: {len(records)} lines for {len(found)} texts"):
        return
    worst = 0.0
    for number, (record, (_, logits)) in enumerate(zip(records, found), 1):
        own = as_record(model, logits)
        given = torch.tensor(record["logits"])
        if not failures.check(given.shape == logits.shape,
                              f"{path}:{number}: {len(given)} logits, expected {len(logits)}"):
            continue
        difference = (given - logits).abs().max().item()
        worst = max(worst, difference)
        failures.check(difference <= tolerance, f"{path}:{number}: logits differ by {difference:.2e}")
        failures.check(abs(record["score"] - own["score"]) <= tolerance,
                       f"{path}:{number}: score {record['score']}, expected {own['score']}")
        top = logits.topk(min(2, len(logits))).values
        tie = len(top) == 2 and float(top[0] - top[1]) <= 2 * tolerance
        failures.check(record["label"] == own["label"] or tie,
                       f"{path}:{number}: label {record['label']}, expected {own['label']}")
    print(f"logits of {len(found)} texts: largest difference {worst:.2e} (allowed {tolerance:.0e})")


def compare_ids(found, path, failures):
    lines = [[int(field) for field in line.split()] for line in read_lines(path)]
    if not failures.check(len(lines) == len(found), f"{path}: {len(lines)} lines for {len(found)} texts"):
        return
    same = 0
    for number, (line, (ids, _)) in enumerate(zip(lines, found), 1):
        same += failures.check(line == ids, f"{path}:{number}: ids {line}, expected {ids}")
    print(f"token ids of {same} of {len(found)} texts are equal")


def verify(args):
    failures = Failures()
    model = load(args.model, args.task, failures)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    texts = read_lines(args.texts) if args.texts else TEXTS
    found = predict(model, tokenizer, texts, args.max_length or longest(model))
    if not args.quiet:
        for _, logits in found:
            flat = logits.flatten()
            print(json.dumps(as_record(model, logits) if logits.ndim == 1 else {"values": flat[:8].tolist()},
                             ensure_ascii=False))
    if args.expect:
        compare_logits(model, found, args.expect, args.tolerance, failures)
    if args.ids:
        compare_ids(found, args.ids, failures)
    print("everything agrees" if failures.count == 0 else f"{failures.count} checks failed")
    return min(failures.count, 1)


LABELS = dict(num_labels=3, id2label={0: "negative", 1: "neutral", 2: "positive"},
              label2id={"negative": 0, "neutral": 1, "positive": 2})
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, initializer_range=0.2)


def make_bert():
    """A small random BERT and a vocabulary that spells words letter by letter where it must."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [str(d) for d in range(10)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab += sorted(set(letters + ["##" + letter for letter in letters] + WORDS))
    tokenizer = transformers.BertTokenizerFast(vocab={token: index for index, token in enumerate(vocab)},
                                               do_lower_case=True, model_max_length=64)
    config = transformers.BertConfig(vocab_size=len(vocab), max_position_embeddings=64, **SIZES, **LABELS)
    return transformers.BertForSequenceClassification(config), tokenizer


def make_roberta(kind):
    """A small random RoBERTa or XLM-RoBERTa with a tokenizer that is trained here."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    if kind == "roberta":
        backend = tokenizers.ByteLevelBPETokenizer()
        backend.train_from_iterator(TEXTS * 4, vocab_size=330, special_tokens=special, show_progress=False)
        model = json.loads(backend.to_str())["model"]
        tokenizer = transformers.RobertaTokenizer(vocab=model["vocab"] | {"<mask>": len(model["vocab"])},
                                                  merges=[tuple(pair) for pair in model["merges"]], model_max_length=64)
        config_class, model_class = transformers.RobertaConfig, transformers.RobertaForSequenceClassification
    else:
        backend = tokenizers.Tokenizer(tokenizers.models.Unigram())
        backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
        backend.train_from_iterator(TEXTS * 4, tokenizers.trainers.UnigramTrainer(
            vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False))
        vocab = [tuple(piece) for piece in json.loads(backend.to_str())["model"]["vocab"]]
        tokenizer = transformers.XLMRobertaTokenizer(vocab=[*vocab, ("<mask>", 0.0)], model_max_length=64)
        config_class, model_class = transformers.XLMRobertaConfig, transformers.XLMRobertaForSequenceClassification
    config = config_class(vocab_size=len(tokenizer), max_position_embeddings=66, type_vocab_size=1,
                          layer_norm_eps=1e-5, **SIZES, **LABELS)
    return model_class(config), tokenizer


def make(args):
    torch.manual_seed(42)
    if args.source:
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.source)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            args.source, dtype=torch.float32, num_labels=2, id2label={0: "negative", 1: "positive"},
            label2id={"negative": 0, "positive": 1})
    else:
        model, tokenizer = make_bert() if args.kind == "bert" else make_roberta(args.kind)
    directory = pathlib.Path(args.make)
    model.eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    texts = read_lines(args.texts) if args.texts else TEXTS
    found = predict(model, tokenizer, texts, args.max_length or longest(model))
    records = [json.dumps(as_record(model, logits), ensure_ascii=False) for _, logits in found]
    ids = [" ".join(map(str, ids)) for ids, _ in found]
    for name, lines in (("texts.txt", texts), ("logits.jsonl", records), ("ids.txt", ids)):
        (directory / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    print(f"{directory}: {type(model).__name__}, {len(texts)} texts with their ids and logits")
    return 0


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("model", nargs="?", metavar="MODEL_DIR")
    parser.add_argument("--task", default="AutoModelForSequenceClassification",
                        help="the transformers class to load as, such as AutoModelForTokenClassification")
    parser.add_argument("--texts", help="one text a line; without it a few built-in ones")
    parser.add_argument("--expect", help="JSONL of predict_classifier for the same texts")
    parser.add_argument("--ids", help="output of tokenize for the same texts")
    parser.add_argument("--max-length", type=int, help="in tokens; default: the model's limit")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="for logits and scores")
    parser.add_argument("--quiet", action="store_true", help="do not print the logits")
    parser.add_argument("--make", metavar="DIR", help="write a directory instead")
    parser.add_argument("--from", dest="source", metavar="MODEL_DIR", help="--make: start from this model")
    parser.add_argument("--kind", choices=["bert", "roberta", "xlm-roberta"], default="bert",
                        help="--make: of which kind the small model is")
    args = parser.parse_args()
    if bool(args.make) == bool(args.model):
        parser.error("give either MODEL_DIR or --make DIR")
    if args.expect and args.task != "AutoModelForSequenceClassification":
        parser.error("--expect compares sequence classification")
    sys.exit(make(args) if args.make else verify(args))


if __name__ == "__main__":
    main()
