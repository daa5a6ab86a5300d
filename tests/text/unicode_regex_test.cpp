// Properties in regular expressions, on every code point, as Hugging Face's tokenizers read them.
#include <cstdio>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include <attune/text/regex.hpp>
#include <attune/text/utf8.hpp>

#include "support.hpp"

using namespace attune;
using namespace attune::detail;

namespace {

/// How many code points, in rising order, and a hash of their ranges.
class Points {
 public:
  void add(char32_t value) {
    if (count_ == 0 || value != last_ + 1) {
      flush();
      first_ = value;
    }
    last_ = value;
    ++count_;
  }
  std::pair<int, std::string> result() {
    flush();
    return {count_, hash_.hex()};
  }

 private:
  void flush() {
    if (count_ == 0) return;
    char range[32];
    std::snprintf(range, sizeof range, "%x-%x\n", static_cast<unsigned>(first_),
                  static_cast<unsigned>(last_));
    hash_.add(range);
  }

  text_test::Hash hash_;
  int count_ = 0;
  char32_t first_ = 0, last_ = 0;
};

std::pair<int, std::string> matched(const Regex& regex, const std::string& every) {
  Points points;
  for (TextRange found; (found = regex.find(every, found ? found.end : 0));)
    points.add(decode_valid_utf8(every.data() + found.begin).value);
  return points.result();
}

/// The code points that make one character with a letter and its accent before them.
std::pair<int, std::string> joining() {
  Points points;
  const Regex grapheme = Regex::grapheme();
  for (char32_t value = 0x80; value < 0x110000; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;
    std::string text = "e\u0301";
    append_utf8(text, value);
    if (grapheme.find(text, 0).end == text.size()) points.add(value);
  }
  return points.result();
}

}  // namespace

TEST_CASE("regular expressions know the properties that Hugging Face's tokenizers know") {
  std::string every;
  for (char32_t value = 0; value < 0x110000; ++value)
    if (value < 0xD800 || value >= 0xE000) append_utf8(every, value);
  std::istringstream lines(
      text_test::read_file(std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/text/unicode_regex.txt"));
  int seen = 0, expected = 0;
  for (std::string hash, pattern; lines >> expected >> hash >> pattern; ++seen) {
    INFO(pattern);
    const auto [count, found] = pattern == "\\X" ? joining() : matched(Regex(pattern, "test"), every);
    CHECK(count == expected);
    CHECK(found == hash);
  }
  CHECK(seen == 53);
}

TEST_CASE("a mark newer than PCRE2 belongs to the character before it") {
  const Regex grapheme = Regex::grapheme();
  const std::string mark = "\u0ece";  // LAO YAMAKKAN, Unicode 15
  CHECK(grapheme.find("a" + mark + "\u0301b", 0).end == 1 + 3 + 2);
  CHECK(grapheme.find("ab", 0).end == 1);
  CHECK(grapheme.find("\n" + mark, 0).end == 1);
}
