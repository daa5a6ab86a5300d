#pragma once

#include <cstdint>
#include <string>

#include <attune/core/inline.hpp>
#include <attune/formats/gguf.hpp>
#include <attune/text/tokenizer_parts.hpp>

namespace attune {

/// The tokenizer in a GGUF file's `tokenizer.ggml.*` fields, for Tokenizer::from_parts. Throws ConfigError,
/// naming the field, for a value of the wrong kind or when there is no tokenizer.
TokenizerParts read_tokenizer_parts(const GgufFile& file);

/// The metadata of the tokenizer in a Hugging Face directory (tokenizer.json, tokenizer_config.json,
/// chat_template.jinja), as llama.cpp's converter writes them. `vocab_size` is the model's: ids that have no
/// token are written as unused ones. Only byte-level BPE with a pre-tokenizer that llama.cpp has a name for.
/// Throws IoError, FormatError; ConfigError for another tokenizer, named.
GgufMetadata tokenizer_to_gguf(const std::string& directory, std::int64_t vocab_size);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/gguf_tokenizer.inl.hpp>
#endif
