#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>

namespace attune::detail {

ATTUNE_INLINE void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::size_t found = text.find(from);
  if (found == std::string::npos) return;
  std::string result;
  std::size_t done = 0;
  for (; found != std::string::npos; found = text.find(from, done)) {
    result.append(text, done, found - done).append(to);
    done = found + from.size();
  }
  text = result.append(text, done);
}

/// Joins English punctuation to the word before it. `contract_do_not` is a rule that Hugging Face applies to
/// single tokens but not to whole texts.
ATTUNE_INLINE void clean_up_spaces(std::string& text, bool contract_do_not) {
  constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules)
    if (contract_do_not || from != " do not") replace_all(text, from, to);
}

}  // namespace attune::detail

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
