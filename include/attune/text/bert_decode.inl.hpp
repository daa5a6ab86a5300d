#pragma once

#include <string>

#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>
#include <attune/text/spacing.hpp>

namespace attune {

ATTUNE_INLINE std::string BertTokenizer::decode(std::span<const std::int32_t> ids,
                                                const DecodeOptions& options) const {
  const std::string& prefix = state_->options.continuing_subword_prefix;
  std::string text;
  bool first = true;
  for (const std::int32_t id : ids) {
    const std::string* known = state_->text_of(id);
    if (!known || (options.skip_special_tokens && state_->is_special(id))) continue;
    std::string token = *known;
    if (!first) {
      if (token.compare(0, prefix.size(), prefix) == 0)
        token.erase(0, prefix.size());
      else
        token.insert(token.begin(), ' ');
    }
    detail::clean_up_spaces(token, true);
    text += token;
    first = false;
  }
  if (options.clean_up.value_or(state_->options.clean_up_tokenization_spaces))
    detail::clean_up_spaces(text, false);
  return text;
}

}  // namespace attune
