#!/usr/bin/env python3
"""Times WordPiece over the lines of a file (up to the first tab) with Hugging Face's tokenizers.

  encode.py --model MODEL_DIR --data train.tsv --threads 1
"""

import argparse
import json
import os
import statistics
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory with tokenizer.json")
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if args.threads == 1 else "true"
    if args.threads > 1:
        os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with open(args.data, encoding="utf-8") as file:
        texts = [line.rstrip("\n").split("\t")[0] for line in file]
    times, tokens = [], 0
    for iteration in range(args.rounds + 1):
        begin = time.perf_counter()
        encodings = tokenizer.encode_batch_fast(texts)
        if iteration > 0:
            times.append(1e3 * (time.perf_counter() - begin))
        tokens = sum(len(encoding.ids) for encoding in encodings)
    print(json.dumps({"rows": len(texts), "tokens": tokens, "tokenizers": tokenizers.__version__,
                      "median_ms": round(statistics.median(times), 3)}))


if __name__ == "__main__":
    main()
