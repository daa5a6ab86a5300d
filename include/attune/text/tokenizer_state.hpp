#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <attune/core/inline.hpp>
#include <attune/text/added_tokens.hpp>
#include <attune/text/encoding.hpp>
#include <attune/text/normalizer.hpp>
#include <attune/text/pre_tokenizer.hpp>
#include <attune/text/token_decoder.hpp>
#include <attune/text/token_models.hpp>
#include <attune/text/vocabulary.hpp>

namespace attune::detail {

/// What a row is put together from.
struct TemplatePiece {
  enum class Kind { special, first, second };
  Kind kind = Kind::first;
  std::vector<std::int32_t> ids = {};  ///< of a special piece
  std::int32_t type_id = 0;
};

struct PostProcessor {
  std::vector<TemplatePiece> single{{TemplatePiece::Kind::first, {}, 0}};
  std::vector<TemplatePiece> pair{{TemplatePiece::Kind::first, {}, 0}, {TemplatePiece::Kind::second, {}, 1}};
  /// Offsets leave out the white space that a token begins and ends with, but not a space that was added
  /// before the text.
  bool trim_offsets = false;
  bool add_prefix_space = false;
};

/// Everything that a Tokenizer looks up. Never changes once it is made.
class TokenizerState {
 public:
  using Merges = std::vector<BpeModel::Merge>;

  /// `vocabulary` is finished. Added tokens get their ids in the order given, as in tokenizers: those of the
  /// vocabulary, or else the next free one.
  TokenizerState(Vocabulary vocabulary, TokenModel model, const std::string& where);
  void add_token(const AddedToken& token);
  /// Call when all components are in place.
  void finish(const std::string& where);

  std::optional<std::int32_t> id_of(std::string_view token) const;
  /// The token of an id; nothing when there is none.
  std::optional<std::string_view> token_of(std::int32_t id) const;
  /// The same as decoding begins with it: an added token as it is searched for, normalised when it says so.
  std::optional<std::string_view> text_of(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  /// The bytes that a token stands for at byte level.
  std::string_view bytes_of(std::int32_t id) const;
  /// Whether all that decoding does is to put bytes together.
  bool decodes_bytes() const {
    return decoder.size() == 1 && decoder[0].kind == DecoderStep::Kind::byte_level;
  }

  std::uint32_t serial;  ///< tells caches of different tokenizers apart; never 0
  Vocabulary vocabulary;
  TokenModel model;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  bool has_decoder = false;  ///< without one, tokens are joined by spaces
  std::vector<DecoderStep> decoder;
  std::map<std::int32_t, AddedToken> added;  ///< by id
  AddedTokenMatcher raw_matcher;             ///< what is searched in the text as it is
  AddedTokenMatcher normalized_matcher;      ///< what is searched after normalisation
  std::int64_t vocab_size = 0;

  // What is kept for saving.
  std::shared_ptr<const nlohmann::json>
      components;                                ///< tokenizer.json without vocabulary, merges, added tokens
  std::shared_ptr<const nlohmann::json> config;  ///< tokenizer_config.json
  Merges merges;

  std::map<std::string, std::string, std::less<>> special_tokens;  ///< by name, as "eos_token"
  std::int64_t model_max_length = 0;
  bool clean_up_tokenization_spaces = false;
  std::string chat_template;

 private:
  std::map<std::string, std::int32_t, std::less<>> added_ids_;
  std::map<std::int32_t, std::string> patterns_;  // of added tokens
  std::vector<std::int32_t> special_ids_;         // ascending
  std::string decoded_bytes_;
  std::vector<std::uint32_t> decoded_begins_;  // by id, one more than ids
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/tokenizer_state.inl.hpp>
#endif
