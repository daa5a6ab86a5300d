#pragma once

#include <utility>

#include <attune/text/spacing.hpp>

namespace attune::detail {

ATTUNE_INLINE void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::size_t found = from.empty() ? std::string::npos : text.find(from);
  if (found == std::string::npos) return;
  std::string result;
  std::size_t done = 0;
  for (; found != std::string::npos; found = text.find(from, done)) {
    result.append(text, done, found - done).append(to);
    done = found + from.size();
  }
  text = result.append(text, done);
}

ATTUNE_INLINE void clean_up_spaces(std::string& text, bool contract_do_not) {
  constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules)
    if (contract_do_not || from != " do not") replace_all(text, from, to);
}

}  // namespace attune::detail
