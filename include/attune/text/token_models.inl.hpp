#pragma once

#include <algorithm>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/text/token_models.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// Throws unless a trie of the vocabulary stays within its bounds.
ATTUNE_INLINE void check_trie_size(const Vocabulary& vocabulary, const std::string& where) {
  std::int64_t bytes = 0;
  for (std::int32_t id = 0; id < vocabulary.id_end(); ++id)
    if (vocabulary.has(id)) bytes += static_cast<std::int64_t>(vocabulary.token(id).size());
  if (2 * bytes > ByteTrie::max_bytes)
    throw ConfigError(where + ": the tokens of a vocabulary may have " +
                      std::to_string(ByteTrie::max_bytes / 2) + " bytes together, found " +
                      std::to_string(bytes));
}

ATTUNE_INLINE WordPieceModel::WordPieceModel(const Vocabulary& vocabulary, Options options,
                                             const std::string& where)
    : options_(std::move(options)),
      unk_id_(vocabulary.find(options_.unk_token)),
      continuation_root_(pieces_.add_root()) {
  if (unk_id_ < 0)
    throw ConfigError(where + ": the vocabulary lacks the unknown token \"" + options_.unk_token + "\"");
  check_trie_size(vocabulary, where);
  const std::string& prefix = options_.continuing_subword_prefix;
  for (std::int32_t id = 0; id < vocabulary.id_end(); ++id) {
    if (!vocabulary.has(id) || vocabulary.token(id).empty()) continue;
    const std::string_view token = vocabulary.token(id);
    if (vocabulary.find(token) != id) continue;
    pieces_.insert(token, id);
    if (token.size() > prefix.size() && token.substr(0, prefix.size()) == prefix)
      pieces_.insert(token.substr(prefix.size()), id, continuation_root_);
  }
}

ATTUNE_INLINE void WordPieceModel::tokenize(std::string_view word, std::vector<TokenPart>& parts) const {
  parts.clear();
  if (count_code_points(word) <= options_.max_input_chars_per_word) {
    std::uint32_t root = 0;
    std::size_t begin = 0;
    while (begin < word.size()) {
      const ByteTrie::Match match = pieces_.longest_prefix(word.substr(begin), root);
      if (match.length == 0) break;
      parts.push_back({match.value, static_cast<std::uint32_t>(match.length)});
      begin += match.length;
      root = continuation_root_;
    }
    if (begin == word.size()) return;
    parts.clear();
  }
  parts.push_back({unk_id_, static_cast<std::uint32_t>(word.size())});
}

ATTUNE_INLINE UnigramModel::UnigramModel(const Vocabulary& vocabulary, std::vector<double> scores,
                                         std::int32_t unk_id, bool byte_fallback, const std::string& where)
    : scores_(std::move(scores)), unk_id_(unk_id), byte_fallback_(byte_fallback) {
  check_trie_size(vocabulary, where);
  constexpr double unk_penalty = 10;  // SentencePiece's
  double least = std::numeric_limits<double>::max();
  for (const double score : scores_) least = std::min(least, score);
  unk_score_ = least - unk_penalty;
  for (std::int32_t id = 0; id < vocabulary.id_end(); ++id)
    if (vocabulary.has(id) && !vocabulary.token(id).empty()) pieces_.insert(vocabulary.token(id), id);
  for (unsigned byte = 0; byte < 256; ++byte) fallback_ids_[byte] = vocabulary.find(byte_token(byte));
}

ATTUNE_INLINE void UnigramModel::tokenize(const Vocabulary& vocabulary, std::string_view word,
                                          Scratch& scratch, std::vector<TokenPart>& parts) const {
  using Node = Scratch::Node;
  std::vector<Node>& nodes = scratch.nodes;
  nodes.assign(word.size() + 1, {0, -1, unreached});
  const auto offer = [&](std::size_t begin, std::size_t end, std::int32_t id, double score) {
    Node& node = nodes[end];
    if (node.begin == unreached || score > node.score) node = {score, id, static_cast<std::uint32_t>(begin)};
  };
  for (std::size_t begin = 0; begin < word.size();) {
    const double here = nodes[begin].score;
    const auto length = static_cast<std::size_t>(decode_valid_utf8(word.data() + begin).bytes);
    bool single = false;
    pieces_.for_each_prefix(word.substr(begin), [&](std::size_t size, std::int32_t id) {
      offer(begin, begin + size, id, scores_[static_cast<std::size_t>(id)] + here);
      single = single || size == length;
    });
    if (!single) {
      if (unk_id_ < 0)
        throw ConfigError(
            "Tokenizer: the Unigram model has no unknown token and the text has a character \"" +
            std::string(word.substr(begin, length)) + "\" that it does not know");
      offer(begin, begin + length, unk_id_, unk_score_ + here);
    }
    begin += length;
  }
  std::vector<TokenPart>& reversed = scratch.reversed;
  reversed.clear();
  for (std::size_t end = word.size(); end > 0; end = nodes[end].begin) {
    const auto size = static_cast<std::uint32_t>(end - nodes[end].begin);
    if (nodes[end].id == unk_id_ && !reversed.empty() && reversed.back().id == unk_id_)
      reversed.back().length += size;  // unknown characters side by side
    else
      reversed.push_back({nodes[end].id, size});
  }
  parts.clear();
  std::size_t at = 0;
  for (auto part = reversed.rbegin(); part != reversed.rend(); at += part->length, ++part) {
    if (part->id != unk_id_) {
      parts.push_back(*part);
      continue;
    }
    const std::string_view text = word.substr(at, part->length);
    const auto fallback = [&](char byte) { return fallback_ids_[static_cast<unsigned char>(byte)]; };
    if (const std::int32_t id = vocabulary.find(text); id >= 0) {
      parts.push_back({id, part->length});
    } else if (byte_fallback_ &&
               std::all_of(text.begin(), text.end(), [&](char byte) { return fallback(byte) >= 0; })) {
      for (std::size_t byte = 0; byte < text.size(); ++byte)
        parts.push_back({fallback(text[byte]), byte == 0 ? part->length : TokenPart::as_before});
    } else {
      parts.push_back(*part);
    }
  }
}

ATTUNE_INLINE void tokenize_word(const TokenModel& model, const Vocabulary& vocabulary, std::string_view word,
                                 ModelScratch& scratch) {
  if (const auto* bpe = std::get_if<BpeModel>(&model))
    bpe->tokenize(vocabulary, word, scratch.bpe);
  else if (const auto* pieces = std::get_if<WordPieceModel>(&model))
    pieces->tokenize(word, scratch.bpe.parts);
  else
    std::get<UnigramModel>(model).tokenize(vocabulary, word, scratch.unigram, scratch.bpe.parts);
}

}  // namespace attune::detail
