#!/usr/bin/env python3
"""Fine-tunes a BERT on SST-2 (TSV: sentence, label): the run that attune's is compared with.

  finetune_sst2.py --model MODEL_DIR --data SST2_DIR --seeds 1 2 3 4 5
  finetune_sst2.py --model MODEL_DIR --data SST2_DIR --dropout 0 --head head.safetensors --order order.txt \\
                   --losses losses.jsonl --epochs 1 --max-steps 100

Prints one JSON object per epoch. Defaults: lr 2e-5 falling linearly to 0, no warm-up, batch 16, 3 epochs,
AdamW with weight decay 0.01 on everything, float32, no clipping.
"""

import os

import common


def main():
    parser = common.base_parser(__doc__, lr=2e-5, epochs=3)
    parser.add_argument("--data", required=True, help="directory with train.tsv and dev.tsv")
    args = parser.parse_args()

    def make_data():
        train = common.read_rows(os.path.join(args.data, "train.tsv"), 0, 1, ["0", "1"])
        return *train, *common.read_rows(os.path.join(args.data, "dev.tsv"), 0, 1, ["0", "1"])

    common.run(args, make_data)


if __name__ == "__main__":
    main()
