#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace attune {

/// What a tokenizer is made of, in the words of a GGUF file's `tokenizer.ggml.*` fields.
struct TokenizerParts {
  /// `gpt2`: byte-level BPE with merges; `llama`: BPE over characters with byte fallback, whose merges follow
  /// from the scores.
  std::string model = "gpt2";
  /// How texts are split before BPE (`gpt2` only), by the names that llama.cpp knows: `gpt-2`, `llama-bpe`,
  /// `qwen2`, `smollm` and others of the same kinds.
  std::string pre = "gpt-2";
  /// By id, in GPT-2's alphabet (`gpt2`) or with U+2581 for spaces (`llama`).
  std::vector<std::string> tokens = {};
  /// By id; needed for `llama`, ignored otherwise.
  std::vector<float> scores = {};
  /// By id, or empty: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
  std::vector<std::int32_t> token_types = {};
  /// "left right" by ascending rank; needed for `gpt2`.
  std::vector<std::string> merges = {};

  std::optional<std::int64_t> bos_token_id = {};
  std::optional<std::int64_t> eos_token_id = {};
  std::optional<std::int64_t> unk_token_id = {};
  std::optional<std::int64_t> sep_token_id = {};
  std::optional<std::int64_t> pad_token_id = {};
  std::optional<std::int64_t> cls_token_id = {};
  std::optional<std::int64_t> mask_token_id = {};
  /// Whether texts begin and end with these; unset: as llama.cpp does (a BOS for `llama` and `llama-bpe`).
  std::optional<bool> add_bos_token = {};
  std::optional<bool> add_eos_token = {};
  /// `llama`: a space before the text (default true).
  std::optional<bool> add_space_prefix = {};

  std::string chat_template = {};
  /// 0: unknown.
  std::int64_t model_max_length = 0;
};

}  // namespace attune
