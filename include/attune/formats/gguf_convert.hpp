#pragma once

#include <string>

#include <attune/core/inline.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/formats/gguf.hpp>
#include <attune/formats/json.hpp>

namespace attune {

struct GgufSaveOptions {
  /// F32, F16, BF16, Q8_0 or Q4_0: of the matrices. Vectors are always F32, as llama.cpp wants them; a matrix
  /// whose rows are no whole blocks becomes F16.
  GgmlType type = GgmlType::f16;
  /// "general.name"; empty: none.
  std::string name = {};
};

/// Writes a Hugging Face checkpoint as a GGUF file, atomically: config_to_gguf(config), then `more` (such as
/// the tokenizer's metadata), and every tensor under llama.cpp's name and in its layout. A tied lm_head is
/// left out. Throws ConfigError for a config, an option or a tensor that GGUF has no place for, IoError when
/// the file cannot be written.
void save_gguf_checkpoint(const std::string& path, const JsonObject& config, const CheckpointReader& weights,
                          const GgufMetadata& more = GgufMetadata(), const GgufSaveOptions& options = {});

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/gguf_convert.inl.hpp>
#endif
