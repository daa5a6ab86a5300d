#!/usr/bin/env python3
"""Runs every example as a user would, on a BERT of two layers and a few rows: what it prints, writes and refuses.

The model is one of tests/golden with a vocabulary of single letters.
"""
import json
import math
import pathlib
import re
import shutil
import string
import struct
import subprocess
import sys
import tempfile

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase,
              *("##" + letter for letter in string.ascii_lowercase), "1", "2", "."]
SMALL = ["--epochs", "10", "--batch-size", "4", "--max-length", "16", "--lr", "3e-3", "--threads", "2"]


class Failed(Exception):
    pass


def expect(condition, what, result=None):
    if not condition:
        said = f"\nexit {result.returncode}\n{result.stdout}\n{result.stderr}" if result else ""
        raise Failed(what + said)


def without_head(source, target):
    """Copies a safetensors file but for the classifier, so that each example makes a head of its own size."""
    data = source.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, offset, kept = {}, 0, []
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__" or name.startswith("classifier."):
            continue
        begin, end = entry["data_offsets"]
        kept.append(data[8 + size + begin:8 + size + end])
        header[name] = {**entry, "data_offsets": [offset, offset + end - begin]}
        offset += end - begin
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(kept))


class Workshop:
    """A folder with the model and the data, and a way to run the programs in it."""

    def __init__(self, programs, golden, folder):
        self.programs, self.folder, self.golden = programs, folder, golden
        self.model = folder / "model"
        self.model.mkdir()
        shutil.copyfile(golden / "config.json", self.model / "config.json")
        without_head(golden / "model.safetensors", self.model / "model.safetensors")
        size = json.loads((self.model / "config.json").read_text())["vocab_size"]
        expect(size == len(VOCABULARY), f"the model has {size} words, the vocabulary {len(VOCABULARY)}")
        (self.model / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")

    def write(self, name, lines):
        (self.folder / name).write_text("".join(line + "\n" for line in lines))
        return name

    def run(self, program, *arguments):
        return subprocess.run([self.programs / program, *map(str, arguments)], cwd=self.folder, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=300)

    def succeed(self, program, *arguments):
        result = self.run(program, *arguments)
        expect(result.returncode == 0, f"{program} failed", result)
        return result

    def json_lines(self, name):
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


def metrics_of(result):
    """The numbers of the last line, `eval name=value ...`."""
    last = result.stdout.splitlines()[-1] if result.stdout else ""
    expect(re.fullmatch(r"eval( \w+=-?[\d.]+)+", last), "the last line must give the metrics", result)
    metrics = {name: float(value) for name, value in re.findall(r"(\w+)=(-?[\d.]+)", last)}
    expect(all(math.isfinite(value) for value in metrics.values()), "the metrics must be finite", result)
    return metrics


def saved(shop, directory, start="model", tokenizer="vocab.txt"):
    """A saved directory is complete, and its weights have changed."""
    for name in ("config.json", "model.safetensors", tokenizer):
        expect((shop.folder / directory / name).is_file(), f"{directory} has no {name}")
    before, after = ((shop.folder / where / "model.safetensors").read_bytes() for where in (start, directory))
    expect(before != after, f"the weights in {directory} are those of the start")
    return json.loads((shop.folder / directory / "config.json").read_text())


def labelled(count):
    """Rows that a small model can learn: texts of a's are one class, texts of b's the other."""
    return [("bbb b bb" if row % 2 else "aaa aa a") + " c" * (row % 3) for row in range(count)]


def finetune_bert(shop):
    shop.write("numbered.tsv", [f"{text}\t{row % 2}" for row, text in enumerate(labelled(16))])
    shop.succeed("finetune_bert", "model", "numbered.tsv")
    config = saved(shop, "model_save")
    expect(config["architectures"] == ["BertForSequenceClassification"], "the architecture is wrong")
    result = shop.run("finetune_bert")
    expect(result.returncode == 2 and "usage" in result.stderr, "without arguments it must show its usage", result)


def finetune_classifier(shop):
    shop.write("train.tsv", [f"{'spam' if row % 2 else 'ham'}\t{text}" for row, text in enumerate(labelled(32))])
    common = ["--model", "model", "--train", "train.tsv", "--eval", "train.tsv", "--label-column", 0, "--text-column", 1,
              *SMALL]
    result = shop.succeed("finetune_classifier", *common, "--output", "classifier", "--report", "report.html", "--log",
                          "log.jsonl", "--checkpoint-every", 6)
    metrics = metrics_of(result)
    expect(set(metrics) == {"accuracy", "f1", "mcc"} and metrics["accuracy"] == 1.0, "two letters are told apart", result)
    expect(saved(shop, "classifier")["id2label"] == {"0": "ham", "1": "spam"}, "the labels must be saved")
    expect("<svg" in (shop.folder / "report.html").read_text(), "the report has no chart")
    expect(len(shop.json_lines("log.jsonl")) >= 80, "the log has a line for each step")
    # Begun again it finds the run complete and gives the same model.
    weights = (shop.folder / "classifier/model.safetensors").read_bytes()
    shop.succeed("finetune_classifier", *common, "--output", "classifier", "--checkpoint-every", 6, "--resume")
    expect((shop.folder / "classifier/model.safetensors").read_bytes() == weights, "a resumed run gives other weights")
    fewer = ["2" if before == "--epochs" else argument for before, argument in zip([None, *common], common)]
    shop.succeed("finetune_classifier", *fewer, "--output", "classifier", "--resume")  # it ends, having done more
    metrics_of(shop.succeed("finetune_classifier", *common, "--output", "half", "--precision", "bf16", "--accumulate", 2,
                            "--schedule", "cosine", "--warmup-ratio", 0.1, "--freeze-layers", 1))

    shop.write("texts.txt", ["aaa aa a", "bbb b bb", ""])
    shop.succeed("predict_classifier", "--model", "classifier", "--input", "texts.txt", "--output", "labels.jsonl")
    rows = shop.json_lines("labels.jsonl")
    expect([row["label"] for row in rows[:2]] == ["ham", "spam"] and len(rows) == 3, f"wrong predictions: {rows}")
    expect(all(0.0 <= row["score"] <= 1.0 and len(row["logits"]) == 2 for row in rows), f"wrong scores: {rows}")


def roberta(shop):
    """The classifier's examples on a RoBERTa, which has its text from byte-level BPE, and on an XLM-RoBERTa."""
    golden = shop.golden.parent / "roberta_cls"
    folder = shop.folder / "roberta"
    folder.mkdir()
    config = json.loads((golden / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    without_head(golden / "model.safetensors", folder / "model.safetensors")
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *string.ascii_lowercase, "Ġ", "1", "2", "."]
    merged = string.ascii_lowercase[:config["vocab_size"] - len(tokens) - 1]
    tokens += ["Ġ" + letter for letter in merged]
    special = [{"id": number, "content": token, "special": True, "normalized": False, "lstrip": token == "<mask>",
                "rstrip": False, "single_word": False}
               for number, token in [*enumerate(tokens[:4]), (len(tokens), "<mask>")]]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
                           "add_prefix_space": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
                  "vocab": {token: number for number, token in enumerate(tokens)},
                  "merges": [["Ġ", letter] for letter in merged]}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "RobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "sep_token": "</s>", "cls_token": "<s>", "pad_token": "<pad>", "mask_token": "<mask>"}))

    shop.write("spaces.txt", ["ab a z", ""])
    result = shop.succeed("tokenize", "--model", "roberta", "--input", "spaces.txt")
    index = {token: number for number, token in enumerate(tokens)}
    wanted = [index[token] for token in ("<s>", "a", "b", "Ġa", "Ġ", "z", "</s>")]
    expect(result.stdout == " ".join(map(str, wanted)) + "\n0 2\n", f"wrong ids, expected {wanted}", result)

    shop.write("train.tsv", [f"{'spam' if row % 2 else 'ham'}\t{text}" for row, text in enumerate(labelled(32))])
    arguments = ["--train", "train.tsv", "--eval", "train.tsv", "--label-column", 0, "--text-column", 1, *SMALL]
    result = shop.succeed("finetune_classifier", "--model", "roberta", *arguments, "--output", "classifier")
    expect(metrics_of(result)["accuracy"] == 1.0, "two letters are told apart", result)
    config = saved(shop, "classifier", "roberta", "tokenizer.json")
    expect(config["architectures"] == ["RobertaForSequenceClassification"] and config["model_type"] == "roberta",
           f"the model became another: {config}")
    shop.write("texts.txt", ["aaa aa a", "bbb b bb", ""])
    shop.succeed("predict_classifier", "--model", "classifier", "--input", "texts.txt", "--output", "labels.jsonl")
    expect([row["label"] for row in shop.json_lines("labels.jsonl")[:2]] == ["ham", "spam"], "wrong predictions")

    config["model_type"] = "xlm-roberta"
    (folder / "config.json").write_text(json.dumps(config))
    shop.write("lines.txt", ["a b c d e f g h"] * 32)
    result = shop.succeed("pretrain_mlm", "--model", "roberta", "--train", "lines.txt", "--eval", "lines.txt",
                          "--output", "mlm", *SMALL)
    expect(metrics_of(result)["perplexity"] < len(tokens), "it must beat a uniform guess", result)
    expect(saved(shop, "mlm", "roberta", "tokenizer.json")["architectures"] == ["XLMRobertaForMaskedLM"],
           "the architecture is wrong")


def finetune_ner(shop):
    sentence = ["ab B-LOC", "cd I-LOC", "e O", "f O", ""]
    shop.write("tags.conll", sentence * 16)
    result = shop.succeed("finetune_ner", "--model", "model", "--train", "tags.conll", "--eval", "tags.conll", "--output",
                          "ner", *SMALL)
    expect(metrics_of(result)["f1"] == 1.0, "one sentence is learnt by heart", result)
    expect(set(saved(shop, "ner")["id2label"].values()) == {"O", "B-LOC", "I-LOC"}, "the tags must be saved")


def pretrain_mlm(shop):
    shop.write("lines.txt", ["a b c d e f g h"] * 32)
    result = shop.succeed("pretrain_mlm", "--model", "model", "--train", "lines.txt", "--eval", "lines.txt", "--output",
                          "mlm", *SMALL)
    expect(metrics_of(result)["perplexity"] < len(VOCABULARY), "it must beat a uniform guess", result)
    saved(shop, "mlm")


def finetune_embeddings(shop):
    shop.write("pairs.tsv", [f"{letter}{letter}\t{letter} {letter}" for letter in "abcdefgh"] * 2)
    result = shop.succeed("finetune_embeddings", "--model", "model", "--train", "pairs.tsv", "--eval", "pairs.tsv",
                          "--output", "embeddings", "--text1-column", 0, "--text2-column", 1, *SMALL)
    expect(-1.0 <= metrics_of(result)["cosine"] <= 1.0001, "a cosine is out of range", result)
    saved(shop, "embeddings")
    modules = json.loads((shop.folder / "embeddings/modules.json").read_text())
    expect([module["type"].split(".")[-1] for module in modules] == ["Transformer", "Pooling", "Normalize"],
           "the directory must be a SentenceTransformer")

    shop.write("words.txt", ["aa", "b b"])
    shop.succeed("embed", "--model", "embeddings", "--input", "words.txt", "--output", "vectors.safetensors")
    data = (shop.folder / "vectors.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    (entry,) = (value for name, value in json.loads(data[8:8 + size]).items() if name != "__metadata__")
    begin, end = entry["data_offsets"]
    rows, columns = entry["shape"]
    values = struct.unpack(f"<{rows * columns}f", data[8 + size + begin:8 + size + end])
    for row in range(rows):
        norm = math.sqrt(sum(value * value for value in values[row * columns:(row + 1) * columns]))
        expect(rows == 2 and abs(norm - 1.0) < 1e-5, f"embedding {row} of {rows} has the norm {norm}")


def tokenize(shop):
    shop.write("letters.txt", ["Ab c", "", "é?"])
    result = shop.succeed("tokenize", "--model", "model", "--input", "letters.txt")
    index = {word: number for number, word in enumerate(VOCABULARY)}
    lines = [["[CLS]", "a", "##b", "c", "[SEP]"], ["[CLS]", "[SEP]"], ["[CLS]", "e", "[UNK]", "[SEP]"]]
    wanted = "".join(" ".join(str(index[word]) for word in line) + "\n" for line in lines)
    expect(result.stdout == wanted, f"wrong ids, expected\n{wanted}", result)


def floats_of(path):
    """The F32 tensors of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            tensors[name] = struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin:8 + size + end])
    return tensors


def decoder(shop):
    """A Llama of tests/golden whose words are w0 .. w39, in the folder "decoder"; its fixtures' folder."""
    golden = shop.golden.parent.parent
    shutil.copytree(golden / "decoders/llama_lm", shop.folder / "decoder")
    words = {f"w{number}": number for number in range(40)}
    (shop.folder / "decoder/tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {"type": "WordPiece", "unk_token": "w0", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": words}}))
    return golden


def generate(shop):
    golden = decoder(shop)
    expected = json.loads((golden / "decoders/llama_lm/expected.json").read_text())
    prompt = " ".join(f"w{token}" for token in expected["prompts"][0])
    greedy = next(each for each in expected["generations"] if each["name"] == "greedy")
    words = [f"w{token}" for token in greedy["texts"][0]]
    expect("w2" not in words, "the fixture's text ends early here: w2 is the end of a text")
    arguments = ["generate", "--model", "decoder", "--prompt", prompt]
    text = shop.succeed(*arguments, "--max-new-tokens", greedy["max_new_tokens"]).stdout.split()
    expect(text == prompt.split() + words, f"expected {prompt} and {words}, found {text}")
    beams = shop.succeed(*arguments, "--max-new-tokens", 4, "--num-beams", 3).stdout.split()
    expect(beams[:5] == prompt.split() and len(beams) > 5, f"beams gave {beams}")
    stopped = shop.succeed(*arguments, "--max-new-tokens", 9, "--stop", "w27").stdout.split()
    expect(stopped[-1] == "w27", f"the text must end with its stop string, found {stopped}")
    sampled = [*arguments, "--sample", "--max-new-tokens", 12]
    first = shop.succeed(*sampled, "--seed", 1).stdout
    expect(first == shop.succeed(*sampled, "--seed", 1).stdout, "the same seed must give the same text")
    expect(first != shop.succeed(*sampled, "--seed", 2).stdout, "another seed gives another text")
    expect(shop.run(*sampled, "--top-p", 0).returncode == 1, "top_p 0 is no probability")


def finetune_causal_lm(shop):
    decoder(shop)
    shop.write("text.txt", [" ".join(f"w{(3 * number) % 37 + 3}" for number in range(37))] * 8)
    arguments = ["finetune_causal_lm", "--model", "decoder", "--train", "text.txt", "--eval", "text.txt", "--max-length", 24,
                 "--batch-size", 4, "--epochs", 6, "--threads", 2]
    result = shop.succeed(*arguments, "--output", "tuned", "--lr", "1e-2", "--log", "log.jsonl")
    perplexities = [line["eval_perplexity"] for line in shop.json_lines("log.jsonl") if "eval_perplexity" in line]
    expect(len(perplexities) == 7 and perplexities[-1] < 0.3 * perplexities[0],
           f"the text must become likelier: {perplexities}", result)
    expect(metrics_of(result)["perplexity"] < 0.3 * perplexities[0], "the last line must say so", result)
    expect((shop.folder / "tuned/model.safetensors").is_file() and (shop.folder / "tuned/tokenizer.json").is_file(),
           "model and tokenizer must be saved", result)
    shop.succeed("generate", "--model", "tuned", "--prompt", "w3 w6 w9", "--max-new-tokens", 4)

    result = shop.succeed(*arguments, "--output", "adapter", "--lr", "3e-2", "--lora", "r=4,alpha=8,target=q_proj,v_proj,up_proj")
    expect(metrics_of(result)["perplexity"] < 0.8 * perplexities[0], "the adapter must learn too", result)
    config = json.loads((shop.folder / "adapter/adapter_config.json").read_text())
    expect(config["target_modules"] == ["q_proj", "v_proj", "up_proj"] and config["r"] == 4, f"found {config}", result)
    shop.succeed("merge_adapter", "--adapter", "adapter", "--output", "merged")
    prompt = ["--prompt", "w3 w6 w9", "--max-new-tokens", 6]
    expect(shop.succeed("generate", "--model", "decoder", "--adapter", "adapter", *prompt).stdout
           == shop.succeed("generate", "--model", "merged", *prompt).stdout, "merged or not, the text is the same")
    expect(shop.run(*arguments, "--output", "no", "--lora", "rank=4").returncode == 1, "there is no rank=")


def conversations(shop):
    """finetune_causal_lm on two questions in every format, then generate --chat; and the same with an adapter."""
    decoder(shop)
    (shop.folder / "decoder/tokenizer_config.json").write_text(json.dumps({"eos_token": "w2"}))
    (shop.folder / "decoder/chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'assistant' %}w5 {% generation %}{{ m.content }} w2 {% endgeneration %}"
        "{% else %}w4 {{ m.content }} {% endif %}{% endfor %}{% if add_generation_prompt %}w5 {% endif %}")
    answers = {"w10 w11": "w30 w31 w32", "w12 w13": "w33 w34 w35"}

    def as_rows(row_of):
        return [json.dumps(row_of(question, answer)) for question, answer in answers.items()] * 4

    files = {
        "messages": as_rows(lambda question, answer: {"messages": [{"role": "user", "content": question},
                                                                   {"role": "assistant", "content": answer}]}),
        "sharegpt": as_rows(lambda question, answer: {"conversations": [{"from": "human", "value": question},
                                                                        {"from": "gpt", "value": answer}]}),
        "alpaca": as_rows(lambda question, answer: {"instruction": question, "input": "", "output": answer}),
        "dify": ["Question,Answer", *[f'"{question}",{answer}' for question, answer in answers.items()] * 4],
    }

    def train(format, output, *arguments):
        name = shop.write(f"{format}.{'csv' if format == 'dify' else 'jsonl'}", files[format])
        result = shop.succeed("finetune_causal_lm", "--model", "decoder", "--train", name, "--eval", name, "--format", format,
                              "--max-length", 24, "--batch-size", 4, "--threads", 2, "--output", output, *arguments)
        metrics = metrics_of(result)
        expect(metrics["accuracy"] == 1.0 and metrics["loss"] < 0.2, f"{format}: two answers are learnt by heart", result)

    def check_answers(*arguments):
        for question, answer in answers.items():
            result = shop.succeed("generate", *arguments, "--chat", "--prompt", question, "--max-new-tokens", 8)
            said = result.stdout.split()
            expect([word for word in said if word != "w2"] == answer.split(), f"{question}: expected {answer}", result)

    for format in files:
        train(format, format, "--epochs", 20, "--lr", "1e-2")
        check_answers("--model", format)
    train("messages", "adapter", "--epochs", 40, "--lr", "3e-2", "--lora", "r=8,alpha=16,target=all-linear")
    check_answers("--model", "decoder", "--adapter", "adapter")
    result = shop.run("finetune_causal_lm", "--model", "decoder", "--train", "alpaca.jsonl", "--format", "messages", "--output",
                      "no")
    expect(result.returncode == 1 and "messages" in result.stderr, "another format must be refused", result)
    (shop.folder / "decoder/chat_template.jinja").unlink()
    result = shop.run("generate", "--model", "decoder", "--chat", "--prompt", "w1")
    expect(result.returncode == 1 and "chat template" in result.stderr, "there is nothing to chat with", result)


def merge_adapter(shop):
    golden = decoder(shop)
    shop.succeed("merge_adapter", "--model", "decoder", "--adapter", golden / "adapters/llama_lora", "--output", "merged")
    found = floats_of(shop.folder / "merged/model.safetensors")
    expected = floats_of(golden / "adapters/llama_lora/expected.safetensors")
    merged = [name for name in expected if name.startswith("merged.")]
    expect(len(merged) == 6, "the fixture has changed")
    for name in merged:
        worst = max(abs(a - b) for a, b in zip(found[name[len("merged."):]], expected[name]))
        expect(worst < 1e-6, f"{name} differs by {worst}")
    expect((shop.folder / "merged/tokenizer.json").is_file(), "the tokenizer must go along")


def convert(shop):
    decoder(shop)
    folder = shop.folder / "decoder"
    letters = {letter: number for number, letter in enumerate(["ab", *string.ascii_lowercase])}
    (folder / "tokenizer.json").write_text(json.dumps({
        "added_tokens": [], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "model": {"type": "BPE", "vocab": letters, "merges": ["a b"]}}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "vocab.json").unlink(missing_ok=True)
    shop.succeed("convert", "--model", "decoder", "--to", "gguf", "--type", "F32", "--output", "model.gguf")
    shop.succeed("convert", "--model", "model.gguf", "--to", "hf", "--output", "back")
    before, after = floats_of(folder / "model.safetensors"), floats_of(shop.folder / "back/model.safetensors")
    expect(before == after, "the weights must come back as they were")
    config = [json.loads((shop.folder / name / "config.json").read_text()) for name in ("decoder", "back")]
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
                  "intermediate_size", "rms_norm_eps", "model_type"):
        expect(config[0][field] == config[1][field], f"{field}: {config[0][field]} became {config[1][field]}")
    vocabulary = json.loads((shop.folder / "back/tokenizer.json").read_text())["model"]
    expect(vocabulary["vocab"]["ab"] == 0 and vocabulary["merges"] == [["a", "b"]], f"the tokenizer became {vocabulary}")
    result = shop.run("convert", "--model", "decoder", "--to", "gguf", "--type", "Q6_K", "--output", "other.gguf")
    expect(result.returncode == 1 and "found Q6_K" in result.stderr, "Q6_K cannot be written", result)
    expect(not (shop.folder / "other.gguf").exists(), "nothing may be left of a file that was refused")


def common_manners(shop, programs):
    """--help, unknown options and a model that is not there."""
    for program in programs:
        if program == "finetune_bert":
            continue
        result = shop.succeed(program, "--help")
        expect("--model" in result.stdout, f"{program} --help must name its options", result)
        result = shop.run(program, "--no-such-option")
        expect(result.returncode != 0, f"{program} takes any option", result)
        arguments = ["--model", "nowhere"]
        if program == "generate":
            arguments += ["--prompt", "a"]
        elif program == "merge_adapter":
            arguments += ["--adapter", shop.golden.parent.parent / "adapters/llama_lora"]
        elif program == "convert":
            arguments += ["--to", "hf"]
        elif program in ("predict_classifier", "embed", "tokenize"):
            arguments += ["--input", shop.write("any.txt", ["a"])]
        else:
            arguments += ["--train", shop.write("any.tsv", ["0\ta"])]
        if program not in ("tokenize", "generate"):
            arguments += ["--output", "out"]
        result = shop.run(program, *arguments)
        expect(0 < result.returncode < 128 and "nowhere" in result.stderr,
               f"{program} must say that the model is not there", result)


def main():
    programs, golden = map(pathlib.Path, sys.argv[1:3])
    names = sorted(path.stem for path in pathlib.Path(sys.argv[3]).glob("*.cpp"))
    tests = [finetune_bert, finetune_classifier, roberta, finetune_ner, pretrain_mlm, finetune_embeddings, tokenize,
             generate, merge_adapter, finetune_causal_lm, conversations, convert]
    covered = {test.__name__ for test in tests} | {"predict_classifier", "embed"}
    failed = [f"{name} has no test here" for name in names if name not in covered]
    tests.append(lambda shop: common_manners(shop, names))
    tests[-1].__name__ = "common_manners"
    for test in tests:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(Workshop(programs, golden, pathlib.Path(folder)))
                print(f"ok     {test.__name__}", flush=True)
            except Failed as problem:
                failed.append(test.__name__)
                print(f"FAILED {test.__name__}: {problem}", flush=True)
    print(f"{len(tests)} tests, {len(failed)} failed " + " ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
