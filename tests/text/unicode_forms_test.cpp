#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include <attune/text/aligned_text.hpp>
#include <attune/text/regex_chars.hpp>
#include <attune/text/unicode_forms.hpp>
#include <attune/text/utf8.hpp>

#include "support.hpp"

using namespace attune;
using namespace attune::detail;

namespace {

std::string form_of(NormalForm form, const std::string& text) {
  AlignedText aligned;
  aligned.assign(text, false, 0);
  aligned.apply(to_form(form, text));
  return std::string(aligned.bytes());
}

std::string without_combining(const std::string& text) {
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint next = decode_valid_utf8(text.data() + at);
    if ((RegexChars::table().classes(next.value) & unicode_combining) == 0)
      kept.append(text, at, static_cast<std::size_t>(next.bytes));
    at += static_cast<std::size_t>(next.bytes);
  }
  return kept;
}

}  // namespace

TEST_CASE("every code point has the normal forms that Hugging Face's tokenizers give it") {
  std::istringstream lines(
      text_test::read_file(std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/text/unicode_forms.txt"));
  const std::vector<std::pair<std::string, NormalForm>> forms{{"NFC", NormalForm::nfc},
                                                              {"NFD", NormalForm::nfd},
                                                              {"NFKC", NormalForm::nfkc},
                                                              {"NFKD", NormalForm::nfkd}};
  int seen = 0;
  for (std::string name, alone, among; lines >> name >> alone >> among; ++seen) {
    INFO(name);
    text_test::Hash hash_alone, hash_among;
    int kept = 0, wrongly_kept = 0;
    for (char32_t value = 0; value < 0x110000; ++value) {
      if (value >= 0xD800 && value < 0xE000) continue;
      std::string text;
      append_utf8(text, value);
      const std::string first = "a" + text, second = text + "\u0323\u0301" + text;
      if (name == "StripAccents") {
        hash_alone.add(without_combining(first) + "\n");
        hash_among.add(without_combining(second) + "\n");
        continue;
      }
      const NormalForm form = forms[static_cast<std::size_t>(seen)].second;
      REQUIRE(forms[static_cast<std::size_t>(seen)].first == name);
      const std::string changed = form_of(form, first);
      hash_alone.add(changed + "\n");
      hash_among.add(form_of(form, second) + "\n");
      if (keeps_form(form, first)) {
        ++kept;
        wrongly_kept += changed != first ? 1 : 0;
      }
    }
    CHECK(hash_alone.hex() == alone);
    CHECK(hash_among.hex() == among);
    if (name != "StripAccents") CHECK(kept > 1000000);
    CHECK(wrongly_kept == 0);
  }
  CHECK(seen == 5);
}

TEST_CASE("normal forms keep track of where characters are from") {
  AlignedText text;
  text.assign("e\u0301x", true, 10);
  text.apply(to_form(NormalForm::nfc, text.bytes()));
  CHECK(text.bytes() == "\u00e9x");
  CHECK(text.spans() == std::vector<TextSpan>{{10, 11}, {10, 11}, {12, 13}});
  text.apply(to_form(NormalForm::nfd, text.bytes()));
  CHECK(text.bytes() == "e\u0301x");
  CHECK(text.spans() == std::vector<TextSpan>{{10, 11}, {10, 11}, {10, 11}, {12, 13}});
}
