#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/text/encoding.hpp>

namespace attune {

/// Any tokenizer, as datasets use it: a value that holds a copy of the tokenizer behind a few functions, so
/// that the datasets need not be templates. Tokenizers convert to it; copies of both are cheap.
class TextEncoder {
 public:
  template <class Tokenizer>
  requires(!std::same_as<std::remove_cvref_t<Tokenizer>, TextEncoder> &&
           requires(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options) {
             { tokenizer.encode(text, options) } -> std::convertible_to<Encoding>;
           }) TextEncoder(const Tokenizer& tokenizer)  // NOLINT: datasets are given tokenizers
      : encode_([tokenizer](std::string_view text, const EncodeOptions& options) {
          return tokenizer.encode(text, options);
        }) {
    if constexpr (requires { tokenizer.encode_pair("", "", EncodeOptions()); })
      encode_pair_ = [tokenizer](std::string_view text, std::string_view pair, const EncodeOptions& options) {
        return tokenizer.encode_pair(text, pair, options);
      };
    if constexpr (requires(std::span<const std::string> words) {
                    tokenizer.encode_words(words, EncodeOptions());
                  })
      encode_words_ = [tokenizer](std::span<const std::string> words, const EncodeOptions& options) {
        return tokenizer.encode_words(words, options);
      };
    if constexpr (requires { tokenizer.mask_token_id(); })
      mask_token_id_ = [tokenizer] { return static_cast<std::int32_t>(tokenizer.mask_token_id()); };
    if constexpr (requires { tokenizer.is_special(0); })
      is_special_ = [tokenizer](std::int32_t id) { return tokenizer.is_special(id); };
    if constexpr (requires {
                    { tokenizer.special_token("eos_token") } -> std::convertible_to<std::string>;
                  })
      special_token_ = [tokenizer](std::string_view name) {
        return std::string(tokenizer.special_token(name));
      };
    if constexpr (requires {
                    {
                      tokenizer.special_token_id("eos_token")
                      } -> std::convertible_to<std::optional<std::int32_t>>;
                  })
      special_token_id_ = [tokenizer](std::string_view name) -> std::optional<std::int32_t> {
        return tokenizer.special_token_id(name);
      };
    if constexpr (requires {
                    { tokenizer.chat_template() } -> std::convertible_to<std::string>;
                  })
      chat_template_ = tokenizer.chat_template();
    if constexpr (requires { tokenizer.vocab_size(); })
      vocab_size_ = static_cast<std::int64_t>(tokenizer.vocab_size());
  }

  Encoding encode(std::string_view text, const EncodeOptions& options) const {
    return encode_(text, options);
  }

  /// The members below throw ConfigError when the tokenizer has nothing of the kind.
  Encoding encode_pair(std::string_view text, std::string_view pair, const EncodeOptions& options) const {
    return checked(encode_pair_, "encode_pair")(text, pair, options);
  }
  Encoding encode_words(std::span<const std::string> words, const EncodeOptions& options) const {
    return checked(encode_words_, "encode_words")(words, options);
  }
  std::int32_t mask_token_id() const { return checked(mask_token_id_, "mask_token_id")(); }
  bool is_special(std::int32_t id) const { return checked(is_special_, "is_special")(id); }
  /// A special token's text by its name in tokenizer_config.json ("eos_token"); empty when there is none.
  std::string special_token(std::string_view name) const {
    return special_token_ ? special_token_(name) : "";
  }
  std::optional<std::int32_t> special_token_id(std::string_view name) const {
    return special_token_id_ ? special_token_id_(name) : std::nullopt;
  }
  /// The source of the tokenizer's chat template; empty when there is none.
  const std::string& chat_template() const { return chat_template_; }
  /// 0 when unknown.
  std::int64_t vocab_size() const { return vocab_size_; }

 private:
  template <class Function>
  static const Function& checked(const Function& function, const char* name) {
    if (!function) throw ConfigError(std::string("TextEncoder: the tokenizer has no ") + name);
    return function;
  }

  std::function<Encoding(std::string_view, const EncodeOptions&)> encode_;
  std::function<Encoding(std::string_view, std::string_view, const EncodeOptions&)> encode_pair_;
  std::function<Encoding(std::span<const std::string>, const EncodeOptions&)> encode_words_;
  std::function<std::int32_t()> mask_token_id_;
  std::function<bool(std::int32_t)> is_special_;
  std::function<std::string(std::string_view)> special_token_;
  std::function<std::optional<std::int32_t>(std::string_view)> special_token_id_;
  std::string chat_template_;
  std::int64_t vocab_size_ = 0;
};

}  // namespace attune
