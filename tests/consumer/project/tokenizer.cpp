#include <attune/text/tokenizer.hpp>

#include <cstdio>

// Puts a tokenizer together from the fields of a GGUF file. This header needs PCRE2, which attune::tokenizers
// brings.
int main() {
  attune::TokenizerParts parts;
  parts.tokens = {"h", "e", "l", "o", "he", "ll", "hell", "hello"};
  parts.merges = {"h e", "l l", "he ll", "hell o"};
  const auto tokenizer = attune::Tokenizer::from_parts(parts);
  const auto ids = tokenizer.encode("hellohe").ids;
  std::printf("%zu tokens: %s\n", ids.size(), tokenizer.decode(ids).c_str());
  return ids == std::vector<std::int32_t>{7, 4} ? 0 : 1;
}
