#include <array>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include <attune/text/bert_chars.hpp>
#include <attune/text/word_split.hpp>

#include "support.hpp"

using namespace attune;
using namespace attune::detail;

namespace {

constexpr char32_t block_size = 4096;

// The settings of the columns of unicode_blocks.txt, as scripts/unicode_table.py lists them.
constexpr std::array<BertCharSettings, 5> settings{{{true, true, true, true},
                                                    {true, true, false, true},
                                                    {true, true, true, false},
                                                    {true, true, false, false},
                                                    {false, false, false, false}}};

template <class Split>
std::string hash_block(char32_t first, const Split& split) {
  text_test::Hash hash;
  WordBuffer<false> word;
  for (char32_t value = first; value < first + block_size; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;
    std::string text = "a";
    append_utf8(text, value);
    text += 'b';
    split(text, word, [&] {
      hash.add(word.bytes());
      hash.add("\n");
      return true;
    });
  }
  return hash.hex();
}

void check_blocks(bool fast) {
  std::array<std::shared_ptr<const BertCharTable>, settings.size()> tables;
  for (std::size_t at = 0; at < settings.size(); ++at) tables[at] = BertCharTable::of(settings[at]);
  std::istringstream lines(
      text_test::read_file(std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/text/unicode_blocks.txt"));
  char32_t next = 0;
  for (std::string name; lines >> name; next += block_size) {
    const auto first = static_cast<char32_t>(std::stoul(name, nullptr, 16));
    REQUIRE(first == next);
    for (std::size_t column = 0; column < settings.size(); ++column) {
      std::string expected;
      lines >> expected;
      INFO("code points from ", name, ", settings ", column);
      const auto by_char = [](const BertCharSettings& what, const std::string& text, auto& word,
                              const auto& on_word) {
        const NormalizedText normalized = normalize(what, text, 0);
        split_normalized(normalized, 0, normalized.chars.size(), word, on_word);
      };
      if (fast) {
        CHECK(hash_block(first, [&](const std::string& text, auto& word, const auto& on_word) {
                // A character that must see its neighbours ends the one-pass way, before the word is out.
                if (split_words(*tables[column], text, 0, word, on_word) == SplitEnd::reorder)
                  by_char(settings[column], text, word, on_word);
              }) == expected);
      } else {
        CHECK(hash_block(first, [&](const std::string& text, auto& word, const auto& on_word) {
                by_char(settings[column], text, word, on_word);
              }) == expected);
      }
    }
  }
  CHECK(next == 0x110000);
}

std::u32string decompose(std::u32string_view text) {
  NormalizedText normalized = normalize(
      {false, false, true, false},
      [&] {
        std::string bytes;
        for (const char32_t value : text) append_utf8(bytes, value);
        return bytes;
      }(),
      0);
  return normalized.chars;
}

}  // namespace

TEST_CASE("every code point gives the words that Hugging Face's tokenizers make of it, in one pass") {
  check_blocks(true);
}

TEST_CASE("every code point gives the same words step by step") { check_blocks(false); }

TEST_CASE("combining characters that stay are put in canonical order") {
  // U+302E (class 224) and U+1D165 (216) are spacing marks, which strip_accents keeps.
  CHECK(decompose(U"a\u302E\U0001D165") == U"a\U0001D165\u302E");
  CHECK(decompose(U"a\u302E\u0301\U0001D165b") == U"a\U0001D165\u302Eb");
  CHECK(decompose(U"a\U0001D165\u302E") == U"a\U0001D165\u302E");
  CHECK(decompose(U"\u302Ea\U0001D165") == U"\u302Ea\U0001D165");  // not across a letter
}

TEST_CASE("UTF-8: ill-formed parts are replaced one by one") {
  const auto repair = [](std::string_view text) { return replace_invalid_utf8(text); };
  const std::string mark = "\xEF\xBF\xBD";
  CHECK(repair("plain") == "plain");
  CHECK(repair("\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80") == "\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80");
  CHECK(repair("a\x80z") == "a" + mark + "z");
  CHECK(repair("\xC0\xAF") == mark + mark);                        // overlong
  CHECK(repair("\xE0\x80\xAF") == mark + mark + mark);             // overlong
  CHECK(repair("\xED\xA0\x80") == mark + mark + mark);             // surrogate
  CHECK(repair("\xF4\x90\x80\x80") == mark + mark + mark + mark);  // past the end
  CHECK(repair("\xF0\x9F\x98") == mark);                           // cut short: one part
  CHECK(repair("\xE4\xB8"
               "a\xF0\x9F\x98"
               "b") == mark + "a" + mark + "b");
  CHECK(repair("\xFF\xFE") == mark + mark);
  for (std::size_t ascii = 0; ascii < 20; ++ascii) {  // around the eight-byte steps
    const std::string text = std::string(ascii, 'x') + "\xC3\xA9";
    CHECK(valid_utf8_prefix(text) == text.size());
    CHECK(valid_utf8_prefix(text + "\x80yyyyyyyyyyyy") == text.size());
    CHECK(valid_utf8_prefix(text.substr(0, ascii + 1)) == ascii);
  }
}
