#pragma once

#include <algorithm>

#include <attune/core/error.hpp>
#include <attune/text/bpe.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// The token <0x0A> of a byte that a vocabulary has no character for.
ATTUNE_INLINE std::string byte_token(unsigned byte) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4 & 15], digits[byte & 15], '>'};
}

ATTUNE_INLINE BpeModel::BpeModel(const Vocabulary& vocabulary, const std::vector<Merge>& merges,
                                 BpeOptions options, const std::string& where)
    : options_(std::move(options)) {
  int bits = 4;
  while ((std::size_t{1} << bits) < 2 * merges.size()) ++bits;
  shift_ = 64 - bits;
  slots_.resize(std::size_t{1} << bits);
  std::string merged;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto [left, right] = merges[rank];
    const std::string_view rest = vocabulary.token(right);
    merged.assign(vocabulary.token(left));
    merged.append(rest.substr(std::min(rest.size(), options_.continuing_subword_prefix.size())));
    const std::int32_t id = vocabulary.find(merged);
    if (id < 0)
      throw FormatError(where, -1,
                        "merge " + std::to_string(rank) + ": the vocabulary lacks \"" + merged +
                            "\", which \"" + std::string(vocabulary.token(left)) + "\" and \"" +
                            std::string(rest) + "\" make");
    const std::uint64_t pair = pair_of(left, right);
    slots_[slot_of(pair)] = {pair, static_cast<std::uint32_t>(rank), id};
  }
  const ByteAlphabet& alphabet = ByteAlphabet::get();
  for (unsigned byte = 0; byte < 256; ++byte) {
    fallback_ids_[byte] = vocabulary.find(byte_token(byte));
    for (unsigned place = 0; place < 4; ++place) {
      std::string token = (place & 1) != 0 ? "" : options_.continuing_subword_prefix;
      append_utf8(token, alphabet.character(static_cast<unsigned char>(byte)));
      if ((place & 2) != 0) token += options_.end_of_word_suffix;
      byte_ids_[place][byte] = vocabulary.find(token);
      if (options_.byte_level && options_.byte_fallback && byte_ids_[place][byte] < 0)
        throw ConfigError(where + ": byte_fallback with ByteLevel is supported when every byte is a token");
    }
  }
  if (options_.ignore_merges && options_.byte_level) {
    std::string bytes;
    for (std::int32_t id = 0; id < vocabulary.id_end(); ++id) {
      bytes.clear();
      if (vocabulary.has(id) && vocabulary.find(vocabulary.token(id)) == id &&
          alphabet.decode(vocabulary.token(id), bytes))
        words_.add(bytes, id);
    }
    words_.finish(where);
  }
}

ATTUNE_INLINE void BpeModel::put_bytes(std::string_view word, Scratch& scratch) const {
  std::vector<TokenPart>& parts = scratch.parts;
  TokenPart unknown{-1, 0};  // to be put before the next known byte
  const auto flush = [&] {
    if (unknown.id >= 0) parts.push_back(unknown);
    unknown = {-1, 0};
  };
  for (std::size_t at = 0; at < word.size(); ++at) {
    const unsigned place = (at == 0 ? 1u : 0u) | (at + 1 == word.size() ? 2u : 0u);
    const std::int32_t id = byte_ids_[place][static_cast<unsigned char>(word[at])];
    if (id >= 0) {
      flush();
      parts.push_back({id, 1});
    } else {
      if (unknown.id >= 0 && !options_.fuse_unk) flush();
      unknown = {options_.unk_id, unknown.length + 1};
    }
  }
  flush();
}

ATTUNE_INLINE void BpeModel::put_characters(const Vocabulary& vocabulary, std::string_view word,
                                            Scratch& scratch) const {
  std::vector<TokenPart>& parts = scratch.parts;
  const bool plain = options_.continuing_subword_prefix.empty() && options_.end_of_word_suffix.empty();
  TokenPart unknown{-1, 0};
  const auto flush = [&] {
    if (unknown.id >= 0) parts.push_back(unknown);
    unknown = {-1, 0};
  };
  for (std::size_t at = 0; at < word.size();) {
    const auto length = static_cast<std::size_t>(decode_valid_utf8(word.data() + at).bytes);
    std::string_view symbol = word.substr(at, length);
    if (!plain) {
      scratch.text.assign(at == 0 ? "" : options_.continuing_subword_prefix).append(symbol);
      if (at + length == word.size()) scratch.text.append(options_.end_of_word_suffix);
      symbol = scratch.text;
    }
    const auto bytes = static_cast<std::uint32_t>(length);
    at += length;
    if (const std::int32_t id = vocabulary.find(symbol); id >= 0) {
      flush();
      parts.push_back({id, bytes});
      continue;
    }
    const auto fallback = [&](char byte) { return fallback_ids_[static_cast<unsigned char>(byte)]; };
    if (options_.byte_fallback &&
        std::all_of(symbol.begin(), symbol.end(), [&](char byte) { return fallback(byte) >= 0; })) {
      // As in tokenizers, these do not end a run of unknown characters. The last of the bytes that prefix or
      // suffix add stand for nothing in the word.
      for (std::size_t part = 0; part < symbol.size(); ++part)
        parts.push_back({fallback(symbol[part]), part < length ? 1u : 0u});
      continue;
    }
    if (unknown.id >= 0 && !options_.fuse_unk) flush();
    unknown = {options_.unk_id, unknown.length + bytes};
  }
  flush();
}

ATTUNE_INLINE void BpeModel::tokenize(const Vocabulary& vocabulary, std::string_view word,
                                      Scratch& scratch) const {
  scratch.parts.clear();
  if (options_.ignore_merges) {
    const std::int32_t id = (options_.byte_level ? words_ : vocabulary).find(word);
    if (id >= 0) {
      scratch.parts.push_back({id, static_cast<std::uint32_t>(word.size())});
      return;
    }
  }
  if (options_.byte_level)
    put_bytes(word, scratch);
  else
    put_characters(vocabulary, word, scratch);
  // Searching all ranks again after each merge is quadratic, but for short words faster than a heap.
  constexpr std::size_t most_for_search = 96;
  if (scratch.parts.size() <= 1) return;
  if (scratch.parts.size() <= most_for_search)
    merge_short(scratch);
  else
    merge_long(scratch);
}

ATTUNE_INLINE void BpeModel::merge_short(Scratch& scratch) const {
  std::vector<TokenPart>& parts = scratch.parts;
  std::size_t count = parts.size();
  if (scratch.ranks.size() < count) {
    scratch.ranks.resize(count);
    scratch.results.resize(count);
  }
  std::uint32_t* const ranks = scratch.ranks.data();
  std::int32_t* const results = scratch.results.data();
  const auto look_up = [&](std::size_t at) {
    const Slot& slot = find(parts[at].id, parts[at + 1].id);
    ranks[at] = slot.rank;
    results[at] = slot.merged;
  };
  for (std::size_t at = 0; at + 1 < count; ++at) look_up(at);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t at = 1; at + 1 < count; ++at)
      if (ranks[at] < ranks[best]) best = at;
    if (ranks[best] == no_rank) break;
    parts[best] = {results[best], parts[best].length + parts[best + 1].length};
    --count;
    for (std::size_t at = best + 1; at < count; ++at) {
      parts[at] = parts[at + 1];
      ranks[at] = ranks[at + 1];
      results[at] = results[at + 1];
    }
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  parts.resize(count);
}

ATTUNE_INLINE void BpeModel::merge_long(Scratch& scratch) const {
  using Symbol = Scratch::Symbol;
  using Candidate = Scratch::Candidate;
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Candidate>& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  const auto count = static_cast<std::int32_t>(scratch.parts.size());
  for (std::int32_t at = 0; at < count; ++at) {
    const TokenPart& part = scratch.parts[static_cast<std::size_t>(at)];
    symbols.push_back({part.id, part.length, at - 1, at + 1 < count ? at + 1 : -1});
  }
  const auto symbol = [&](std::int32_t at) -> Symbol& { return symbols[static_cast<std::size_t>(at)]; };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto candidate = [&](std::int32_t at) {
    const Symbol& left = symbol(at);
    if (left.next < 0) return false;
    const Slot& slot = find(left.id, symbol(left.next).id);
    if (slot.rank == no_rank) return false;
    heap.push_back({slot.rank, at, left.id, symbol(left.next).id, slot.merged});
    return true;
  };
  for (std::int32_t at = 0; at + 1 < count; ++at) candidate(at);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbol(top.position);
    // Entries of pairs that are no more are passed over.
    if (left.id != top.left || left.next < 0 || symbol(left.next).id != top.right) continue;
    Symbol& right = symbol(left.next);
    left.id = top.merged;
    left.length += right.length;
    right.id = -1;
    left.next = right.next;
    if (right.next >= 0) symbol(right.next).previous = top.position;
    if (candidate(top.position)) std::push_heap(heap.begin(), heap.end(), later);
    if (left.previous >= 0 && candidate(left.previous)) std::push_heap(heap.begin(), heap.end(), later);
  }
  scratch.parts.clear();
  for (std::int32_t at = 0; at >= 0; at = symbol(at).next)
    scratch.parts.push_back({symbol(at).id, symbol(at).length});
}

}  // namespace attune::detail
