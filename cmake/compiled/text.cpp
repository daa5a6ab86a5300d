#include <attune/text/added_tokens.inl.hpp>
#include <attune/text/bert_chars.inl.hpp>
#include <attune/text/bert_tokenizer.inl.hpp>
#include <attune/text/bert_tokenizer_state.inl.hpp>
#include <attune/text/spacing.inl.hpp>
#include <attune/text/token_rows.inl.hpp>
#include <attune/text/unicode.inl.hpp>
#include <attune/text/word_split.inl.hpp>
