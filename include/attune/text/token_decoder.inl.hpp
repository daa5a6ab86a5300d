#pragma once

#include <charconv>
#include <string_view>
#include <utility>

#include <attune/text/spacing.hpp>
#include <attune/text/token_decoder.hpp>
#include <attune/text/utf8.hpp>
#include <attune/text/vocabulary.hpp>

namespace attune::detail {

ATTUNE_INLINE int byte_of_token(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token.back() != '>') return -1;
  int byte = -1;
  const char* const end = token.data() + 5;
  return std::from_chars(token.data() + 3, end, byte, 16).ptr == end ? byte : -1;
}

/// Tokens that name bytes become the characters that these make together, or as many U+FFFD.
ATTUNE_INLINE void join_byte_tokens(std::vector<std::string>& tokens) {
  std::vector<std::string> joined;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (valid_utf8_prefix(bytes) == bytes.size())
      joined.push_back(bytes);
    else
      joined.insert(joined.end(), bytes.size(), "\xEF\xBF\xBD");
    bytes.clear();
  };
  for (std::string& token : tokens) {
    const int byte = byte_of_token(token);
    if (byte >= 0) {
      bytes += static_cast<char>(static_cast<unsigned char>(byte));
    } else {
      flush();
      joined.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(joined);
}

ATTUNE_INLINE void join_tokens(std::vector<std::string>& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, std::move(all));
}

ATTUNE_INLINE void strip_token(const DecoderStep& step, std::string& token) {
  std::size_t begin = 0, end = token.size();
  const std::size_t size = step.text.size();
  for (std::size_t count = 0; count < step.start && token.compare(begin, size, step.text) == 0; ++count)
    begin += size;
  for (std::size_t count = 0;
       count < step.stop && end >= begin + size && token.compare(end - size, size, step.text) == 0; ++count)
    end -= size;
  token = token.substr(begin, end - begin);
}

ATTUNE_INLINE void replace_in_token(const DecoderStep& step, std::string& token) {
  if (!step.regex) return replace_all(token, step.text, step.becomes);
  std::string result;
  std::size_t done = 0;
  for (std::size_t from = 0; from <= token.size();) {
    const TextRange found = step.regex->find(token, from);
    if (!found) break;
    result.append(token, done, found.begin - done).append(step.becomes);
    done = from = found.end;
    if (found.begin != found.end) continue;
    if (from == token.size()) break;
    from += static_cast<std::size_t>(decode_valid_utf8(token.data() + from).bytes);
  }
  token = result.append(token, done);
}

ATTUNE_INLINE void decode_step(const DecoderStep& step, std::vector<std::string>& tokens) {
  switch (step.kind) {
    case DecoderStep::Kind::byte_level: {
      std::string bytes, one;
      for (const std::string& token : tokens) {
        one.clear();
        bytes += ByteAlphabet::get().decode(token, one) ? one : token;
      }
      tokens.assign(1, replace_invalid_utf8(bytes));
      break;
    }
    case DecoderStep::Kind::byte_fallback:
      join_byte_tokens(tokens);
      break;
    case DecoderStep::Kind::fuse:
      join_tokens(tokens);
      break;
    case DecoderStep::Kind::metaspace:
      for (std::size_t at = 0; at < tokens.size(); ++at)
        replace_all(tokens[at], step.text, at == 0 && step.drop_first ? "" : " ");
      break;
    case DecoderStep::Kind::replace:
      for (std::string& token : tokens) replace_in_token(step, token);
      break;
    case DecoderStep::Kind::strip:
      for (std::string& token : tokens) strip_token(step, token);
      break;
    case DecoderStep::Kind::word_piece:
      for (std::size_t at = 0; at < tokens.size(); ++at) {
        if (at > 0) {
          if (tokens[at].compare(0, step.text.size(), step.text) == 0)
            tokens[at].erase(0, step.text.size());
          else
            tokens[at].insert(0, " ");
        }
        if (step.clean_up) clean_up_spaces(tokens[at], true);
      }
      break;
    case DecoderStep::Kind::bpe:
      for (std::size_t at = 0; at < tokens.size(); ++at)
        replace_all(tokens[at], step.text, at + 1 == tokens.size() ? "" : " ");
      break;
  }
}

}  // namespace attune::detail
