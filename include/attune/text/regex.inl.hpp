#pragma once

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <attune/core/error.hpp>
#include <attune/text/regex.hpp>
#include <attune/text/unicode_newer_table.hpp>

namespace attune::detail {

/// Members of a bracket: the code points with the property \p{name} that PCRE2 10.42 does not know yet. A
/// general category of one letter (L) has those of two (Lu, Ll ...). Newer versions of PCRE2 have them twice,
/// which changes nothing.
ATTUNE_INLINE std::string newer_code_points(std::string_view name) {
  std::string members;
  for (const UnicodeNewerRange& range : unicode_newer_ranges) {
    const std::string_view property = range.name;
    if (property != name && !(name.size() == 1 && property.size() == 2 && property[0] == name[0])) continue;
    char text[32];
    std::snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", range.first, range.last);
    members += text;
  }
  return members;
}

/// Writes a pattern again in PCRE2's syntax.
class RegexTranslator {
 public:
  RegexTranslator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string translate() {
    while (at_ < pattern_.size()) {
      const char letter = pattern_[at_];
      if (letter == '\\') {
        atom_ = out_.size();
        escape(false);
      } else if (letter == '[') {
        atom_ = out_.size();
        bracket();
      } else if (letter == '(') {
        open_group();
      } else if (letter == ')') {
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        take(1);
      } else if (letter == '{' && interval()) {
        continue;
      } else {
        if (std::string_view("?*+|").find(letter) == std::string_view::npos &&
            (static_cast<unsigned char>(letter) & 0xC0) != 0x80)
          atom_ = out_.size();
        take(1);
      }
    }
    return std::move(out_);
  }

 private:
  // White space and word characters, as members of a bracket. PCRE2's own \s also has U+180E.
  static constexpr std::string_view space = "\\p{Z}\\x09-\\x0d\\x{85}";
  static std::string word() {
    std::string members;
    for (const char* property : {"L", "M", "Nd", "Nl", "Pc"}) members += category(property);
    return members + "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
  }
  // Word characters as well, but for Oniguruma not in a bracket: superscripts and fractions of Latin-1.
  static constexpr std::string_view latin_numbers = "\\xb2\\xb3\\xb9\\xbc-\\xbe";

  static std::string category(std::string_view name, std::string_view kind = "") {
    return "\\p{" + std::string(kind) + std::string(name) + "}" + newer_code_points(name);
  }
  /// Whether a property's name is a script's. Alone it would mean the script's extensions too.
  static bool is_script(std::string_view name) {
#if PCRE2_MAJOR > 10 || PCRE2_MINOR >= 40
    constexpr std::string_view scripts[] = {"Arabic",   "Armenian", "Bengali", "Cyrillic", "Devanagari",
                                            "Georgian", "Greek",    "Han",     "Hangul",   "Hebrew",
                                            "Hiragana", "Katakana", "Latin",   "Tamil",    "Thai"};
    return std::find(std::begin(scripts), std::end(scripts), name) != std::end(scripts);
#else
    return static_cast<void>(name), false;
#endif
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw ConfigError(where_ + ": the regular expression " + std::string(pattern_) + " uses " + what +
                      ", which is not supported");
  }
  void take(std::size_t count) {
    out_.append(pattern_.substr(at_, count));
    at_ += count;
  }

  void escape(bool in_bracket) {
    if (at_ + 1 == pattern_.size()) return take(1);  // PCRE2 complains
    const char letter = pattern_[at_ + 1];
    const auto put = [&](std::string_view members, bool negated = false, std::size_t length = 2) {
      if (in_bracket)
        out_.append(members);
      else
        out_.append(negated ? "[^" : "[").append(members).append("]");
      at_ += length;
    };
    if (letter == 's') return put(space);
    if (letter == 'w') return put(in_bracket ? word() : word().append(latin_numbers));
    if (letter == 'd') return put(category("Nd"));
    if (letter == 'S') return in_bracket ? put("\\S\\x{180e}") : put(space, true);
    if (letter == 'W' && !in_bracket) return put(word().append(latin_numbers), true);
    if (letter == 'D' && !in_bracket) return put(category("Nd"), true);
    if (letter == 'u') {
      const std::string_view digits = pattern_.substr(at_ + 2, 4);
      if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
        refuse("\\u without four digits");
      out_.append("\\x{").append(digits).append("}");
      at_ += 6;
      return;
    }
    if (std::string_view("hHRXKGyYOMCgkQEWNc").find(letter) != std::string_view::npos)
      refuse(std::string("\\") + letter);
    const bool braces = at_ + 2 < pattern_.size() && pattern_[at_ + 2] == '{' &&
                        (letter == 'p' || letter == 'P' || letter == 'x');
    const std::size_t end = braces ? pattern_.find('}', at_) : std::string_view::npos;
    if (end == std::string_view::npos) return take(2);
    const std::size_t length = end + 1 - at_;
    const std::string_view name = pattern_.substr(at_ + 3, length - 4);
    if (letter == 'x' || (!is_script(name) && newer_code_points(name).empty())) return take(length);
    const std::string_view kind = is_script(name) ? "sc:" : "";
    if (in_bracket && letter == 'P') {  // a member of a bracket cannot be taken away again
      out_.append("\\P{").append(kind).append(name).append("}");
      at_ += length;
      return;
    }
    put(category(name, kind), letter == 'P', length);
  }

  void bracket() {
    take(1);
    if (at_ < pattern_.size() && pattern_[at_] == '^') take(1);
    if (at_ < pattern_.size() && pattern_[at_] == ']') refuse("an empty bracket");
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      const std::string_view rest = pattern_.substr(at_);
      if (rest[0] == '\\') {
        escape(true);
      } else if (rest.substr(0, 2) == "[:") {
        const std::size_t end = rest.find(":]");
        if (end == std::string_view::npos) refuse("a bracket in a bracket");
        take(end + 2);
      } else if (rest[0] == '[') {
        refuse("a bracket in a bracket");
      } else if (rest.substr(0, 2) == "&&") {
        refuse("an intersection of brackets");
      } else {
        take(1);
      }
    }
    if (at_ < pattern_.size()) take(1);
  }

  void open_group() {
    groups_.push_back(out_.size());
    const std::string_view rest = pattern_.substr(at_);
    if (rest.substr(0, 2) == "(*") refuse("(*");
    if (rest.substr(0, 2) != "(?") return take(1);
    const std::size_t flags = rest.find_first_not_of("ix-", 2);
    const char kind = flags == std::string_view::npos ? ')' : rest[flags];
    if (flags > 2 && (kind == ':' || kind == ')')) {
      if (kind == ')') groups_.pop_back();  // the flags hold to the end of the group around
      return take(flags + 1);
    }
    if (rest.size() > 2 && std::string_view(":=!>").find(rest[2]) != std::string_view::npos) return take(3);
    if (rest.substr(0, 4) == "(?<=" || rest.substr(0, 4) == "(?<!") return take(4);
    refuse(std::string(rest.substr(0, 3)));
  }

  /// {n}, {n,}, {n,m} or {,m}: a + behind it repeats once more, it does not make it possessive.
  bool interval() {
    const std::size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) return false;
    std::string body(pattern_.substr(at_ + 1, end - at_ - 1));
    if (body.empty() || body == "," || body.find_first_not_of("0123456789,") != std::string::npos)
      return false;
    if (body[0] == ',') body.insert(0, "0");
    const bool again = end + 1 < pattern_.size() && pattern_[end + 1] == '+';
    if (again) out_.insert(atom_, "(?:");
    out_.append("{").append(body).append(again ? "})+" : "}");
    at_ = end + (again ? 2 : 1);
    return true;
  }

  std::string_view pattern_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  std::size_t atom_ = 0;             // where in out_ begins what a quantifier would repeat
  std::vector<std::size_t> groups_;  // where in out_ the open groups begin
};

ATTUNE_INLINE std::string to_pcre2_syntax(std::string_view pattern, const std::string& where) {
  constexpr std::size_t longest_pattern = 1 << 16;
  if (pattern.size() > longest_pattern)
    throw ConfigError(where + ": a regular expression of more than " + std::to_string(longest_pattern) +
                      " bytes");
  return RegexTranslator(pattern, where).translate();
}

ATTUNE_INLINE std::string regex_escape(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    if (std::string_view("\\^$.|?*+()[]{}-#&~/ \t").find(letter) != std::string_view::npos) escaped += '\\';
    escaped += letter;
  }
  return escaped;
}

struct Regex::Code {
  std::string pattern, where;
  pcre2_code* code = nullptr;

  /// `source` is for messages, `translated` in PCRE2's syntax.
  Code(const std::string& source, const std::string& translated, const std::string& name)
      : pattern(source), where(name) {
    pcre2_compile_context* const context = pcre2_compile_context_create(nullptr);
    if (context) pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE place = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &place,
                         context);
    pcre2_compile_context_free(context);
    if (!code) {
      PCRE2_UCHAR message[256] = {};
      pcre2_get_error_message(error, message, sizeof message);
      throw ConfigError(where + ": the regular expression " + pattern +
                        " cannot be compiled: " + reinterpret_cast<const char*>(message));
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it the search is only slower
  }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(code); }
};

/// What a search needs beside the program; one per thread.
class RegexScratch {
 public:
  RegexScratch()
      : data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(32 * 1024, 1024 * 1024, nullptr)) {
    if (!context_) return;
    pcre2_set_match_limit(context_, 50'000'000);
    pcre2_set_heap_limit(context_, 64 * 1024);  // kibibytes
    pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;
  ~RegexScratch() {
    pcre2_jit_stack_free(stack_);
    pcre2_match_context_free(context_);
    pcre2_match_data_free(data_);
  }

  /// PCRE2's answer; the match is in range() when it is positive or 0.
  int search(const pcre2_code* code, std::string_view text, std::size_t from) {
    if (!data_ || !context_) return PCRE2_ERROR_NOMEMORY;
    const auto match = [&](std::uint32_t options) {
      return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK | options, data_, context_);
    };
    const int found = match(0);
    // The interpreter keeps what it may go back to on the heap, which may grow further.
    return found == PCRE2_ERROR_JIT_STACKLIMIT ? match(PCRE2_NO_JIT) : found;
  }
  TextRange range() const {
    const PCRE2_SIZE* const places = pcre2_get_ovector_pointer(data_);
    return {places[0], places[1]};
  }

 private:
  pcre2_match_data* data_;
  pcre2_match_context* context_;
  pcre2_jit_stack* stack_;
};

ATTUNE_INLINE Regex::Regex(const std::string& pattern, const std::string& where)
    : code_(std::make_shared<const Code>(pattern, to_pcre2_syntax(pattern, where), where)) {}

ATTUNE_INLINE Regex Regex::grapheme() {
  // A mark that PCRE2 does not know ends its \X; it belongs to the character before, unless that is a control
  // character.
  const std::string pattern =
      "\\X(?:(?<![\\p{Cc}\\p{Zl}\\p{Zp}])[" + newer_code_points("X") + "][\\p{M}\\x{200c}\\x{200d}]*)*";
  return Regex(std::make_shared<const Code>(pattern, pattern, "Regex::grapheme"));
}

ATTUNE_INLINE TextRange Regex::find(std::string_view text, std::size_t from) const {
  thread_local RegexScratch scratch;
  const int found = scratch.search(code_->code, text, from);
  if (found >= 0) return scratch.range();
  if (found == PCRE2_ERROR_NOMATCH) return {};
  PCRE2_UCHAR message[256] = {};
  pcre2_get_error_message(found, message, sizeof message);
  throw ConfigError(code_->where + ": the regular expression " + code_->pattern + " failed on a text of " +
                    std::to_string(text.size()) + " bytes: " + reinterpret_cast<const char*>(message));
}

}  // namespace attune::detail
