#!/usr/bin/env python3
"""Times training steps and greedy decoding of causal language models with PyTorch, transformers and PEFT.

  decoder.py --work lora --model DIR|FILE.gguf --precision bf16 --batch 4 --length 256 --threads 1
  decoder.py --work full --precision fp32
  decoder.py --work decode --model DIR|FILE.gguf --length 32 --new-tokens 64

A DIR with config.json alone stands for random weights.

lora: the base is held in the precision and the adapter in float, as PEFT does. full: GPT-2 124M from its config, random
weights; bf16 is autocast. Prints a JSON object with the median milliseconds of a step, or of a whole text, and the peak
resident memory after loading and at the end.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
import transformers


def peak_mb():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def load(path, dtype):
    path = pathlib.Path(path)
    if path.is_dir() and not (path / "model.safetensors").exists():
        config = transformers.AutoConfig.from_pretrained(path)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    if path.suffix == ".gguf":
        return transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype)
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=["lora", "full", "decode"], default="lora")
    parser.add_argument("--model")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--targets", nargs="+", default=["q_proj", "v_proj"])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused AdamW")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=5)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    context = contextlib.nullcontext
    if args.work == "full":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
        if args.precision == "bf16":
            context = lambda: torch.autocast(args.device, dtype=torch.bfloat16)
    else:
        model = load(args.model, dtype)
    if args.work == "lora":
        import peft
        targets = args.targets[0] if args.targets == ["all-linear"] else args.targets
        model = peft.get_peft_model(model, peft.LoraConfig(
            r=args.rank, lora_alpha=2 * args.rank, target_modules=targets, task_type="CAUSAL_LM"))
    model.to(args.device)
    loaded = peak_mb()
    ids = torch.randint(1000, 30000, (1 if args.work == "decode" else args.batch, args.length), device=args.device)
    if args.work == "decode":
        model.eval()

        def once():
            model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, eos_token_id=None,
                           pad_token_id=0, max_new_tokens=args.new_tokens)
    else:
        model.train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=2e-5, fused=args.fused or None)
        step = torch.compile(model) if args.compile else model

        def once():
            optimizer.zero_grad()
            with context():
                loss = step(input_ids=ids, labels=ids).loss
            loss.backward()
            if args.clip > 0:
                torch.nn.utils.clip_grad_norm_(trained, args.clip)
            optimizer.step()

    times, processor_times = [], []
    for iteration in range(args.warmup + args.iterations):
        begin, processor_begin = time.perf_counter(), time.process_time()
        once()
        if args.device == "cuda":
            torch.cuda.synchronize()
        if iteration >= args.warmup:
            times.append(1e3 * (time.perf_counter() - begin))
            processor_times.append(1e3 * (time.process_time() - processor_begin))
    print(json.dumps({
        "work": args.work, "precision": args.precision, "batch": args.batch, "length": args.length,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "median_ms": round(statistics.median(times), 2), "min_ms": round(min(times), 2),
        "processor_ms": round(statistics.median(processor_times), 2), "loaded_mb": loaded, "peak_mb": peak_mb(),
        "device_peak_mb": round(torch.cuda.max_memory_allocated() / 1e6) if args.device == "cuda" else None}),
        flush=True)


if __name__ == "__main__":
    main()
