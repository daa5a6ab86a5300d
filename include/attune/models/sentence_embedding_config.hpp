#pragma once

#include <cstdint>
#include <string>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

/// How the states of a sentence's tokens become one vector.
enum class Pooling {
  mean,  ///< their mean
  cls    ///< the first token's
};

/// What the files that sentence-transformers puts beside those of transformers say of a model.
struct SentenceEmbeddingConfig {
  Pooling pooling = Pooling::mean;
  /// The most tokens of a text, special tokens included, that the model is meant for; 0 when no file says so.
  std::int64_t max_seq_length = 0;

  /// Reads modules.json, the config.json of its pooling, sentence_bert_config.json and, for the length,
  /// tokenizer_config.json, as far as they are there, as versions 2 to 6 of sentence-transformers write them.
  /// Throws FormatError, and ConfigError naming a module or a pooling mode that is not supported.
  static SentenceEmbeddingConfig from_pretrained(const std::string& directory);
  /// Writes the files that make the directory a SentenceTransformer: modules.json (transformer, pooling,
  /// normalisation), 1_Pooling/config.json, sentence_bert_config.json and config_sentence_transformers.json.
  /// Throws IoError.
  void save(const std::string& directory, std::int64_t embedding_dimension) const;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/models/sentence_embedding_config.inl.hpp>
#endif
