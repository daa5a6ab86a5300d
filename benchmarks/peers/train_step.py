#!/usr/bin/env python3
"""Times one training step (zero_grad, forward, backward, clipping, AdamW) on dense random batches.

  train_step.py --shape minilm --batch 16 --length 128 --threads 2
  train_step.py --shape bert-base --batch 8 32 --length 64 128 --precision bf16

Prints a JSON object with the median, fastest and slowest milliseconds for each batch x length.
"""

import argparse
import contextlib
import json
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers

SHAPES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "bert-base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
}


def measure(args, model, optimizer, batch, length):
    device = torch.device(args.device)
    ids = torch.randint(1000, 30000, (batch, length), device=device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
              "labels": torch.randint(0, 2, (batch,), device=device)}
    if args.inference:
        del inputs["labels"]
    times, processor_times = [], []
    for iteration in range(args.warmup + args.iterations):
        begin, processor_begin = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        bf16 = args.precision == "bf16"
        with torch.inference_mode() if args.inference else contextlib.nullcontext(), \
                torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            output = model(**inputs)
        if not args.inference:
            output.loss.backward()
            if args.clip > 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if iteration >= args.warmup:
            times.append(1e3 * (time.perf_counter() - begin))
            processor_times.append(1e3 * (time.process_time() - processor_begin))
    print(json.dumps({
        "shape": args.shape, "batch": batch, "length": length, "precision": args.precision,
        "device": args.device, "attention": args.attention, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "median_ms": round(statistics.median(times), 2),
        "min_ms": round(min(times), 2), "max_ms": round(max(times), 2),
        "processor_ms": round(statistics.median(processor_times), 2),
        "tokens_per_second": round(batch * length / statistics.median(times) * 1e3),
    }), flush=True)


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--batch", type=int, nargs="+", default=[16])
    parser.add_argument("--length", type=int, nargs="+", default=[128])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa")
    parser.add_argument("--clip", type=float, default=1.0, help="0: no clipping")
    parser.add_argument("--inference", action="store_true", help="forward alone, without dropout")
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused AdamW")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=10)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = transformers.BertConfig(**SHAPES[args.shape], num_labels=2)
    config._attn_implementation = args.attention
    model = transformers.BertForSequenceClassification(config).to(args.device).train(not args.inference)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=args.fused or None)
    step = torch.compile(model) if args.compile else model
    for batch in args.batch:
        for length in args.length:
            measure(args, step, optimizer, batch, length)


if __name__ == "__main__":
    main()
