#!/usr/bin/env python3
"""Fine-tunes a BERT on the SMS Spam Collection with PyTorch and transformers.

  sms_spam.py --model MODEL_DIR --data sms_spam.tsv [--train-rows 1500]

Every fifth row (the 5th, 10th, ...) is held out. F1 is that of the class spam. Prints one JSON object for
each epoch. Defaults: lr 3e-5 falling linearly to 0, batch 16, one epoch.
"""

import common


def main():
    parser = common.base_parser(__doc__, lr=3e-5, epochs=1)
    parser.add_argument("--data", required=True, help="TSV file: ham|spam TAB text")
    parser.add_argument("--train-rows", type=int, default=0, help="use only the first training rows; 0: all")
    args = parser.parse_args()

    def make_data():
        texts, classes = common.read_rows(args.data, 1, 0, ["ham", "spam"])
        train = [row for row in range(len(texts)) if row % 5 != 4]
        train = train[:args.train_rows] if args.train_rows else train
        held_out = range(4, len(texts), 5)
        return ([texts[r] for r in train], [classes[r] for r in train],
                [texts[r] for r in held_out], [classes[r] for r in held_out])

    common.run(args, make_data)


if __name__ == "__main__":
    main()
