#pragma once

#include <algorithm>
#include <utility>

#include <attune/text/token_decoder.hpp>
#include <attune/text/tokenizer.hpp>
#include <attune/text/tokenizer_state.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// How many bytes at the end of the text may still become one character: 0 to 3.
ATTUNE_INLINE std::size_t unfinished_utf8(std::string_view text) {
  for (std::size_t length = 1; length <= 3 && length <= text.size(); ++length) {
    const std::string_view tail = text.substr(text.size() - length);
    if ((static_cast<unsigned char>(tail[0]) & 0xC0) == 0x80) continue;
    const auto lead = static_cast<unsigned char>(tail[0]);
    const std::size_t wanted = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
    return wanted > length && utf8_step(tail.data(), length) == -static_cast<int>(length) ? length : 0;
  }
  return 0;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE TokenStream::TokenStream(Tokenizer tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

ATTUNE_INLINE std::string TokenStream::push_bytes(std::string_view bytes) {
  bytes_ += bytes;
  const std::size_t certain = bytes_.size() - detail::unfinished_utf8(bytes_);
  std::string text = detail::replace_invalid_utf8(std::string_view(bytes_).substr(0, certain));
  bytes_.erase(0, certain);
  return text;
}

ATTUNE_INLINE std::string TokenStream::decoded(std::span<const std::int32_t> ids) const {
  return tokenizer_.decode(ids, {.skip_special_tokens = false, .clean_up = false});
}

ATTUNE_INLINE std::string TokenStream::push(std::int32_t id) {
  const detail::TokenizerState& state = *tokenizer_.state_;
  if (!state.token_of(id) || (skip_special_tokens_ && state.is_special(id))) return {};
  if (state.decodes_bytes()) return push_bytes(state.bytes_of(id));
  // Decoders treat the first token of a text differently: the last tokens returned stand before the new ones.
  ids_.push_back(id);
  if (is_unfinished()) return {};
  std::string text = pending();
  if (text.empty()) return {};
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(returned_));
  returned_ = ids_.size();
  return text;
}

/// Whether the last tokens are bytes that may become a character.
ATTUNE_INLINE bool TokenStream::is_unfinished() const {
  const detail::TokenizerState& state = *tokenizer_.state_;
  const bool byte_level = std::any_of(state.decoder.begin(), state.decoder.end(), [](const auto& step) {
    return step.kind == detail::DecoderStep::Kind::byte_level;
  });
  std::string bytes;
  for (std::size_t at = returned_; at < ids_.size(); ++at) {
    const int byte = detail::byte_of_token(state.token_of(ids_[at]).value_or(""));
    if (byte_level)
      bytes += state.bytes_of(ids_[at]);
    else if (byte < 0)
      bytes.clear();
    else
      bytes += static_cast<char>(static_cast<unsigned char>(byte));
  }
  return detail::unfinished_utf8(bytes) > 0;
}

ATTUNE_INLINE std::string TokenStream::pending() const {
  const std::string all = decoded(ids_), before = decoded(std::span(ids_).first(returned_));
  // Bytes that end no character spoil those before them, which were returned already.
  if (all.compare(0, before.size(), before) != 0) return decoded(std::span(ids_).subspan(returned_));
  return all.substr(before.size());
}

ATTUNE_INLINE std::string TokenStream::finish() {
  std::string text = detail::replace_invalid_utf8(bytes_);
  if (ids_.size() > returned_) text += pending();
  bytes_.clear();
  ids_.clear();
  returned_ = 0;
  return text;
}

}  // namespace attune
