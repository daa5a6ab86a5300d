#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <attune/core/error.hpp>
#include <attune/text/pre_tokenizer.hpp>
#include <attune/text/regex.hpp>
#include <attune/text/split_patterns.hpp>

using namespace attune;
using namespace attune::detail;

namespace {

/// Where the pieces of a text end.
std::vector<std::size_t> ends_by_regex(const Regex& regex, const std::string& text) {
  std::vector<std::size_t> ends;
  for (std::size_t at = 0; at < text.size(); at = ends.back()) {
    const TextRange found = regex.find(text, at);
    REQUIRE(found.begin == at);
    REQUIRE(found.end > at);
    ends.push_back(found.end);
  }
  return ends;
}

std::vector<std::size_t> ends_by_scanner(SplitPattern pattern, const std::string& text) {
  const SplitScanner scanner(text);
  std::vector<std::size_t> ends;
  for (std::size_t at = 0; at < text.size(); at = ends.back()) ends.push_back(scanner.next(pattern, at));
  return ends;
}

std::vector<std::string> pieces(const PreTokenizerStep& step, const std::string& text) {
  std::vector<std::string> found;
  split_text(step, text, [&](std::size_t begin, std::size_t end) {
    found.push_back(text.substr(begin, end - begin));
    return true;
  });
  return found;
}

}  // namespace

TEST_CASE("the scanners split random texts as the regular expressions do") {
  const std::vector<std::string> parts{
      " ",      " ",      "  ",     "\t",   "\n",     "\r",     "\r\n",       "\u00a0", "\u3000",
      "\u2028", "\v",     "\u0085", "'",    "'",      "'s",     "'S",         "'t",     "'ll",
      "'LL",    "'lL",    "'re",    "'rE",  "'ve",    "'m",     "'d",         "'D",     "'\u017f",
      "l",      "e",      "s",      "S",    "a",      "Z",      "\u00e9",     "\u0431", "\u4e2d",
      "\uac00", "\u02b0", "\u01c5", "0",    "1",      "9",      "\u0663",     "\u00bd", "\u2167",
      "\u2460", "!",      ".",      "_",    "-",      "\u3002", "\U0001f600", "\u0301", "\u200d",
      "\ufffd", "$",      "\x01",   "\x7f", "\u180e", "\ue000", "\u0378"};
  const std::vector<std::pair<SplitPattern, Regex>> patterns{
      {SplitPattern::gpt2, Regex(std::string(gpt2_split_regex), "test")},
      {SplitPattern::llama3, Regex(std::string(llama3_split_regex), "test")},
      {SplitPattern::qwen2, Regex(std::string(qwen2_split_regex), "test")}};
  std::mt19937 random(7);
  int wrong = 0;
  for (int round = 0; round < 40000 && wrong < 5; ++round) {
    std::string text;
    for (unsigned count = random() % 12; count > 0; --count) text += parts[random() % parts.size()];
    for (const auto& [pattern, regex] : patterns) {
      INFO("pattern ", static_cast<int>(pattern), " text ", text);
      const bool same = ends_by_scanner(pattern, text) == ends_by_regex(regex, text);
      CHECK(same);
      wrong += same ? 0 : 1;
    }
  }
}

TEST_CASE("what becomes of delimiters") {
  PreTokenizerStep step;
  step.finder = PreTokenizerStep::Finder::literal;
  step.literal = "-";
  const std::string text = "the-final--countdown";
  using Pieces = std::vector<std::string>;
  step.behavior = SplitBehavior::removed;
  CHECK(pieces(step, text) == Pieces{"the", "final", "countdown"});
  step.behavior = SplitBehavior::isolated;
  CHECK(pieces(step, text) == Pieces{"the", "-", "final", "-", "-", "countdown"});
  step.behavior = SplitBehavior::merged_with_previous;
  CHECK(pieces(step, text) == Pieces{"the-", "final-", "-", "countdown"});
  step.behavior = SplitBehavior::merged_with_next;
  CHECK(pieces(step, text) == Pieces{"the", "-final", "-", "-countdown"});
  step.behavior = SplitBehavior::contiguous;
  CHECK(pieces(step, text) == Pieces{"the", "-", "final", "--", "countdown"});
  step.invert = true;
  step.behavior = SplitBehavior::removed;
  CHECK(pieces(step, text) == Pieces{"-", "-", "-"});
}

TEST_CASE("regular expressions mean what tokenizers means by them") {
  CHECK(to_pcre2_syntax(R"(\p{Nl}{1,3}+a)", "test") == R"((?:\p{Nl}{1,3})+a)");
  CHECK(to_pcre2_syntax(R"((?:a|b){2}+)", "test") == R"((?:(?:a|b){2})+)");
  CHECK(to_pcre2_syntax(R"([ab]{,4})", "test") == R"([ab]{0,4})");
  CHECK(to_pcre2_syntax(R"(a{b}\u0041[[:alpha:]])", "test") == R"(a{b}\x{0041}[[:alpha:]])");
  CHECK(to_pcre2_syntax(R"([^\s\p{Lt}]+(?!\S)|(?i:x)++)", "test") ==
        R"([^\p{Z}\x09-\x0d\x{85}\p{Lt}]+(?![^\p{Z}\x09-\x0d\x{85}])|(?i:x)++)");
  const Regex space("\\s", "test");
  CHECK_FALSE(static_cast<bool>(space.find("\u180e", 0)));
  CHECK(static_cast<bool>(space.find("\u2003", 0)));
  CHECK(static_cast<bool>(Regex("[\\S]", "test").find("\u180e", 0)));
  // What Oniguruma says of a digit, a fraction of Latin-1, other numbers (No, Nl), a circled letter and a
  // mark.
  const std::vector<std::pair<const char*, std::vector<bool>>> words{
      {"\\w", {true, true, false, true, true, true}},
      {"[\\w]", {true, false, false, true, true, true}},
      {"\\W", {false, false, true, false, false, false}},
      {"[^\\w]", {false, true, true, false, false, false}}};
  const std::vector<std::string> characters{"7", "\u00bd", "\u09f4", "\u2170", "\u24d0", "\u0301"};
  for (const auto& [pattern, expected] : words)
    for (std::size_t at = 0; at < characters.size(); ++at) {
      INFO(pattern << " on " << characters[at]);
      CHECK(static_cast<bool>(Regex(pattern, "test").find(characters[at], 0)) == expected[at]);
    }
  const Regex lines("^b$", "test");
  CHECK(lines.find("a\nb\nc", 0).begin == 2);
  const std::string odd = "a.b*c[d]\\e^f$ (g)|h{2}#";
  CHECK(Regex(regex_escape(odd), "test").find("x" + odd, 0).end == odd.size() + 1);
}
