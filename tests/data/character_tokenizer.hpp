#pragma once

#include <attune/text/encoding.hpp>
#include <attune/text/utf8.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace attune_test {

/// A token for each code point, whose id is its number; 1 is added in front when special tokens are asked
/// for.
struct CharacterTokenizer {
  bool special = true;
  std::string source = {};

  attune::Encoding encode(std::string_view text, const attune::EncodeOptions& options) const {
    attune::Encoding encoding;
    if (options.add_special_tokens) {
      encoding.ids.push_back(1);
      encoding.offsets.push_back({0, 0});
    }
    std::int32_t place = 0;
    for (std::size_t at = 0; at < text.size(); ++place) {
      const attune::detail::CodePoint point = attune::detail::decode_valid_utf8(text.data() + at);
      at += static_cast<std::size_t>(point.bytes);
      encoding.ids.push_back(static_cast<std::int32_t>(point.value));
      encoding.offsets.push_back({place, place + 1});
    }
    const auto most = static_cast<std::size_t>(options.max_length);
    if (most > 0 && encoding.ids.size() > most) {
      encoding.ids.resize(most);
      encoding.offsets.resize(most);
      encoding.truncated = true;
    }
    return encoding;
  }
  std::string special_token(std::string_view name) const {
    return !special ? "" : name == "eos_token" ? "$" : name == "bos_token" ? "^" : "";
  }
  std::optional<std::int32_t> special_token_id(std::string_view name) const {
    if (special && name == "eos_token") return 2;
    return std::nullopt;
  }
  const std::string& chat_template() const { return source; }
};

}  // namespace attune_test
