"""What the fine-tuning scripts of this folder share: data, order of the rows, the loop, metrics."""

import argparse
import contextlib
import json
import math
import os
import random
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file


def emit(**fields):
    print(json.dumps(fields), flush=True)


def base_parser(doc, lr, epochs):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory of the pretrained BERT")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--padding", choices=["fixed", "dynamic", "grouped"], default="dynamic",
                        help="to --max-length, to the longest row, or that with like lengths together")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    parser.add_argument("--clip", type=float, default=0.0, help="global gradient norm; 0: no clipping")
    parser.add_argument("--dropout", type=float, help="instead of the config's dropouts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-steps", type=int, default=0, help="stop early; the schedule stays")
    parser.add_argument("--head", help="safetensors file with classifier.weight and .bias to start from")
    parser.add_argument("--save-head", help="write the head that the run starts from")
    parser.add_argument("--order", help="text file: the row numbers in the order of visits, all epochs")
    parser.add_argument("--save-order", help="write that order")
    parser.add_argument("--losses", help="JSONL file: step, loss, lr of each step")
    parser.add_argument("--save", help="directory for the trained model and tokenizer")
    return parser


def read_rows(path, text_column, label_column, labels):
    """(texts, class numbers) of a TSV file without header; no quoting, as these files have none."""
    texts, classes = [], []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\r\n").split("\t")
            if len(fields) != 2:
                sys.exit(f"{path}:{number}: expected 2 columns, found {len(fields)}")
            texts.append(fields[text_column])
            classes.append(labels.index(fields[label_column]))
    return texts, classes


class Examples:
    def __init__(self, tokenizer, texts, labels, max_length):
        self.ids = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
        self.labels = labels
        self.pad_id = tokenizer.pad_token_id
        self.max_length = max_length

    def __len__(self):
        return len(self.ids)

    def batch(self, rows, padding, device):
        longest = self.max_length if padding == "fixed" else max(len(self.ids[row]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad_id)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            length = len(self.ids[row])
            ids[index, :length] = torch.tensor(self.ids[row])
            mask[index, :length] = 1
        labels = torch.tensor([self.labels[row] for row in rows])
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}


def epoch_order(examples, args, rng):
    """Row numbers of one epoch. Grouped: shuffled, then sorted by length within windows of 50 batches."""
    rows = list(range(len(examples)))
    rng.shuffle(rows)
    if args.padding != "grouped":
        return rows
    window = 50 * args.batch_size
    batches = []
    for begin in range(0, len(rows), window):
        part = sorted(rows[begin:begin + window], key=lambda row: -len(examples.ids[row]))
        batches += [part[i:i + args.batch_size] for i in range(0, len(part), args.batch_size)]
    short = [batch for batch in batches if len(batch) < args.batch_size]
    batches = [batch for batch in batches if len(batch) == args.batch_size]
    rng.shuffle(batches)
    return [row for batch in batches + short for row in batch]


def autocast(args):
    if args.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(args.device).type, dtype=torch.bfloat16)


@torch.inference_mode()
def evaluate(model, examples, args):
    """Accuracy, F1 and Matthews correlation of class 1."""
    model.eval()
    predicted = np.zeros(len(examples), np.int64)
    by_length = sorted(range(len(examples)), key=lambda row: len(examples.ids[row]))
    for begin in range(0, len(by_length), 64):
        rows = by_length[begin:begin + 64]
        with autocast(args):
            logits = model(**examples.batch(rows, "dynamic", args.device)).logits
        predicted[rows] = logits.float().argmax(-1).cpu().numpy()
    truth = np.array(examples.labels)
    tp, tn = (int(((predicted == c) & (truth == c)).sum()) for c in (1, 0))
    fp, fn = (int(((predicted == c) & (truth != c)).sum()) for c in (1, 0))
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {"accuracy": round((tp + tn) / len(truth), 5), "f1": round(2 * tp / max(2 * tp + fp + fn, 1), 5),
            "mcc": round((tp * tn - fp * fn) / root if root else 0.0, 5)}


def build_model(args):
    options = {}
    if args.dropout is not None:
        options = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), args.dropout)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        args.model, num_labels=2, dtype=torch.float32, **options)
    if args.head:
        head = load_file(args.head)
        with torch.no_grad():
            model.classifier.weight.copy_(head["classifier.weight"])
            model.classifier.bias.copy_(head["classifier.bias"])
    if args.save_head:
        save_file({f"classifier.{n}": p.detach().clone() for n, p in model.classifier.named_parameters()},
                  args.save_head)
    return model.to(args.device)


def run_seed(args, seed, tokenizer, train, dev, losses):
    random.seed(seed)
    torch.manual_seed(seed)
    model = build_model(args)
    rng = random.Random(seed)
    if args.order:
        order = [int(line) for line in open(args.order)]
        if len(order) != len(train) * args.epochs or not all(0 <= row < len(train) for row in order):
            sys.exit(f"{args.order}: expected {args.epochs} x {len(train)} row numbers below {len(train)}")
    else:
        order = [row for _ in range(args.epochs) for row in epoch_order(train, args, rng)]
    if args.save_order:
        with open(args.save_order, "w") as file:
            file.writelines(f"{row}\n" for row in order)
    steps_per_epoch = math.ceil(len(train) / args.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 0, steps_per_epoch * args.epochs)
    step = 0
    for epoch in range(1, args.epochs + 1):
        rows_of_epoch = order[(epoch - 1) * len(train):epoch * len(train)]
        model.train()
        begin, total, tokens = time.perf_counter(), 0.0, 0
        for at in range(0, len(train), args.batch_size):
            batch = train.batch(rows_of_epoch[at:at + args.batch_size], args.padding, args.device)
            lr = scheduler.get_last_lr()[0]
            optimizer.zero_grad()
            with autocast(args):
                loss = model(**batch).loss
            loss.backward()
            if args.clip > 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
            scheduler.step()
            value = loss.item()
            total += value * len(batch["labels"])
            tokens += int(batch["attention_mask"].sum())
            step += 1
            if losses:
                losses.write(json.dumps({"seed": seed, "step": step, "loss": value, "lr": lr}) + "\n")
            if step == args.max_steps:
                break
        seconds = time.perf_counter() - begin
        seen = min(at + args.batch_size, len(train))
        begin = time.perf_counter()
        metrics = evaluate(model, dev, args)
        emit(seed=seed, epoch=epoch, steps=step, train_loss=round(total / seen, 5), **metrics,
             train_seconds=round(seconds, 2), eval_seconds=round(time.perf_counter() - begin, 2),
             tokens_per_second=round(tokens / seconds))
        if step == args.max_steps:
            break
    if args.save:
        model.save_pretrained(args.save)
        tokenizer.save_pretrained(args.save)
    return metrics


def run(args, make_data):
    """make_data(): (train texts, train classes, dev texts, dev classes)."""
    if args.order and args.padding == "grouped":
        sys.exit("--order already fixes the batches: use --padding dynamic or fixed")
    if args.threads:
        torch.set_num_threads(args.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    texts, classes, dev_texts, dev_classes = make_data()
    train = Examples(tokenizer, texts, classes, args.max_length)
    dev = Examples(tokenizer, dev_texts, dev_classes, args.max_length)
    emit(torch=torch.__version__, transformers=transformers.__version__, threads=torch.get_num_threads(),
         train_rows=len(train), dev_rows=len(dev), padding=args.padding, precision=args.precision, lr=args.lr,
         batch_size=args.batch_size, epochs=args.epochs, clip=args.clip, dropout=args.dropout)
    with open(args.losses, "w") if args.losses else contextlib.nullcontext() as losses:
        results = [run_seed(args, seed, tokenizer, train, dev, losses) for seed in args.seeds]
    if len(results) > 1:
        values = np.array([result["accuracy"] for result in results])
        emit(seeds=len(values), mean_accuracy=round(float(values.mean()), 5),
             standard_error=round(float(values.std(ddof=1) / math.sqrt(len(values))), 5))
