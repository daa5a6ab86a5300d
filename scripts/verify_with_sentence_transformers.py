#!/usr/bin/env python3
"""Compares the embeddings of examples/embed with those of sentence-transformers for the same directory: one that
finetune_embeddings saved, or one from elsewhere. Needs sentence-transformers; not part of CI.

usage: verify_with_sentence_transformers.py MODEL_DIR --embed build/default/examples/embed [--texts FILE]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import safetensors.numpy
import sentence_transformers

TEXTS = ["A film that stays with you.", "Ein Satz auf Deutsch, ohne Umlaute.", "one", "", "naïve café — 東京タワー",
         "a long text " * 200]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", metavar="MODEL_DIR")
    parser.add_argument("--embed", type=pathlib.Path, required=True, help="the built example")
    parser.add_argument("--texts", type=pathlib.Path, help="one text a line; without it a few built-in ones")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()

    texts = options.texts.read_text(encoding="utf-8").splitlines() if options.texts else TEXTS
    with tempfile.TemporaryDirectory() as folder:
        lines, vectors = pathlib.Path(folder, "lines.txt"), pathlib.Path(folder, "vectors.safetensors")
        lines.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        subprocess.run([options.embed, "--model", options.model, "--input", lines, "--output", vectors], check=True)
        found = safetensors.numpy.load_file(vectors)["embeddings"]
    model = sentence_transformers.SentenceTransformer(options.model, device="cpu")
    expected = model.encode(texts, normalize_embeddings=True)
    print(model)
    if found.shape != expected.shape:
        sys.exit(f"{found.shape} embeddings, expected {expected.shape}")
    worst = abs(found - expected).max()
    print(f"{len(texts)} embeddings, largest difference {worst:.2e} (allowed {options.tolerance:.0e})")
    sys.exit(0 if worst <= options.tolerance else 1)


if __name__ == "__main__":
    main()
