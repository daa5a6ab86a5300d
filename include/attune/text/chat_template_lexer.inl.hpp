#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <attune/text/chat_template.hpp>
#include <attune/text/chat_template_value.inl.hpp>

// Cuts a template into text and the tokens of its tags, as jinja2/lexer.py does with trim_blocks and
// lstrip_blocks.

namespace attune::detail {

struct TemplateToken {
  enum class Kind : std::uint8_t {
    text,
    block_begin,
    block_end,
    output_begin,
    output_end,
    name,
    string,
    number,
    op,
    end
  };
  Kind kind = Kind::end;
  int line = 0;
  std::string text;  // of a number empty
  TemplateValue number = nullptr;
};

class TemplateLexer {
 public:
  TemplateLexer(std::string_view source, const std::string& name) : name_(name) {
    // Line ends become \n, and a single one at the end is dropped.
    for (std::size_t i = 0; i < source.size(); ++i) {
      if (source[i] != '\r') {
        source_ += source[i];
      } else {
        source_ += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<TemplateToken> run() {
    while (at_ < source_.size()) read_text();
    push(TemplateToken::Kind::end, {});
    return std::move(tokens_);
  }

 private:
  using Kind = TemplateToken::Kind;

  [[noreturn]] void fail(const std::string& what) const { throw TemplateError(name_, line_, what); }

  void push(Kind kind, std::string text) {
    TemplateToken token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }
  bool sees(std::string_view what) const { return std::string_view(source_).substr(at_).starts_with(what); }
  void advance(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i)
      if (source_[at_ + i] == '\n') ++line_;
    at_ += bytes;
    if (bytes > 0) line_starting_ = source_[at_ - 1] == '\n';
  }
  void skip_space() {
    const std::string_view rest = std::string_view(source_).substr(at_);
    advance(rest.size() - python_strip(rest, true, false).size());
  }

  /// Text up to the next tag, then the tag.
  void read_text() {
    std::size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        emit_text(std::string_view(source_).substr(at_));
        at_ = source_.size();
        return;
      }
      if (source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#') break;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    emit_text(stripped_text(std::string_view(source_).substr(at_, tag - at_), sign, kind != '{'));
    advance(tag - at_);
    advance(sign == '-' || (sign == '+' && kind != '{') ? 3 : 2);
    if (kind == '#')
      read_comment();
    else if (kind == '%' && sees_raw("raw"))
      read_raw();
    else
      read_tag(kind == '{');
  }

  /// What is left of the text before a tag.
  std::string_view stripped_text(std::string_view text, char sign, bool block) const {
    if (sign == '-') return python_strip(text, false, true);
    if (sign == '+' || !block) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    const bool from_line_start = begin > 0 || line_starting_;
    if (from_line_start && begin < text.size() && python_strip(text.substr(begin), true, false).empty())
      return text.substr(0, begin);
    return text;
  }
  void emit_text(std::string_view text) {
    if (!text.empty()) push(Kind::text, std::string(text));
  }

  /// Behind an end mark of a block or comment: a sign decides what happens to the white space.
  void end_block(char sign) {
    if (sign == '-')
      skip_space();
    else if (sign != '+' && at_ < source_.size() && source_[at_] == '\n')
      advance(1);
  }

  void read_comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("a comment does not end");
    const char sign =
        end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+') ? source_[end - 1] : '\0';
    advance(end + 2 - at_);
    end_block(sign);
  }

  /// Whether a block holds nothing but the word ("raw", "endraw").
  bool sees_raw(std::string_view word) const { return raw_end(at_, word, nullptr) != std::string::npos; }
  /// The place behind such a block whose inside begins at `at`, or npos.
  std::size_t raw_end(std::size_t at, std::string_view word, char* sign) const {
    const auto blank = [&] {
      while (at < source_.size() && (source_[at] == ' ' || source_[at] == '\t' || source_[at] == '\n')) ++at;
    };
    blank();
    if (!std::string_view(source_).substr(at).starts_with(word)) return std::string::npos;
    at += word.size();
    blank();
    char found = '\0';
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) found = source_[at++];
    if (!std::string_view(source_).substr(at).starts_with("%}")) return std::string::npos;
    if (sign != nullptr) *sign = found;
    return at + 2;
  }
  void read_raw() {
    char sign = '\0';
    advance(raw_end(at_, "raw", &sign) - at_);
    if (sign == '-') skip_space();
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      std::size_t inside = tag + 2;
      char before = '\0', after = '\0';
      if (inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+'))
        before = source_[inside++];
      const std::size_t end = raw_end(inside, "endraw", &after);
      if (end == std::string::npos) continue;
      emit_text(stripped_text(std::string_view(source_).substr(at_, tag - at_), before, true));
      advance(end - at_);
      end_block(after);
      return;
    }
    fail("a raw block does not end");
  }

  void read_tag(bool output) {
    push(output ? Kind::output_begin : Kind::block_begin, output ? "{{" : "{%");
    const std::string_view end = output ? "}}" : "%}";
    std::string brackets;
    for (;;) {
      skip_space();
      if (at_ >= source_.size()) fail(std::string("a tag does not end, expected ") + std::string(end));
      if (brackets.empty()) {
        char sign = '\0';
        std::size_t mark = at_;
        if (source_[mark] == '-' || (!output && source_[mark] == '+')) sign = source_[mark++];
        if (std::string_view(source_).substr(mark).starts_with(end)) {
          push(output ? Kind::output_end : Kind::block_end, std::string(end));
          advance(mark + 2 - at_);
          if (!output)
            end_block(sign);
          else if (sign == '-')
            skip_space();
          return;
        }
      }
      read_token(brackets);
    }
  }

  static bool is_name_begin(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  void read_token(std::string& brackets) {
    const char c = source_[at_];
    if (is_name_begin(c)) {
      std::size_t end = at_;
      while (end < source_.size() && (is_name_begin(source_[end]) || is_digit(source_[end]))) ++end;
      push(Kind::name, source_.substr(at_, end - at_));
      advance(end - at_);
    } else if (is_digit(c)) {
      read_number();
    } else if (c == '\'' || c == '"') {
      read_string(c);
    } else {
      static constexpr std::array<std::string_view, 25> operators = {
          "//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[",
          "]",  "(",  ")",  "{",  "}",  "<",  ">", "=", ".", ":", "|", ","};
      for (const std::string_view op : operators) {
        if (!sees(op)) continue;
        if (op == "(" || op == "[" || op == "{") brackets += c;
        if (op == ")" || op == "]" || op == "}") {
          const char open = op == ")" ? '(' : op == "]" ? '[' : '{';
          if (brackets.empty() || brackets.back() != open) fail("unexpected '" + std::string(op) + "'");
          brackets.pop_back();
        }
        push(Kind::op, std::string(op));
        advance(op.size());
        return;
      }
      if (c == ';') {
        push(Kind::op, ";");
        advance(1);
        return;
      }
      fail(std::string("unexpected character '") + (static_cast<unsigned char>(c) < 0x20 ? '?' : c) + "'");
    }
  }

  void read_number() {
    std::size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() &&
             (is_digit(source_[end]) ||
              (source_[end] == '_' && end + 1 < source_.size() && is_digit(source_[end + 1]))))
        ++end;
    };
    digits();
    bool floating = false;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      floating = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      std::size_t sign = end + 1;
      if (sign < source_.size() && (source_[sign] == '+' || source_[sign] == '-')) ++sign;
      if (sign < source_.size() && is_digit(source_[sign])) {
        floating = true;
        end = sign;
        digits();
      }
    }
    std::string text;
    for (const char c : std::string_view(source_).substr(at_, end - at_))
      if (c != '_') text += c;
    push(Kind::number, {});
    if (floating) {
      double value = 0;
      std::from_chars(text.data(), text.data() + text.size(), value);
      tokens_.back().number = value;
    } else {
      std::int64_t value = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
        fail("the number " + text.substr(0, 40) + " is too large");
      tokens_.back().number = value;
    }
    advance(end - at_);
  }

  void read_string(char quote) {
    std::string text;
    std::size_t at = at_ + 1;
    for (;; ++at) {
      if (at >= source_.size()) fail("a string does not end");
      const char c = source_[at];
      if (c == quote) break;
      if (c != '\\') {
        text += c;
        continue;
      }
      if (++at >= source_.size()) fail("a string does not end");
      at = read_escape(at, text);
    }
    push(Kind::string, std::move(text));
    advance(at + 1 - at_);
  }

  /// Adds what an escape stands for; the place of its last character.
  std::size_t read_escape(std::size_t at, std::string& text) {
    static constexpr std::string_view names = "\n\\'\"abfnrtv";
    static constexpr std::string_view values = "\0\\'\"\a\b\f\n\r\t\v";
    const char c = source_[at];
    if (c == '\n') return at;
    if (const std::size_t known = names.find(c); known != std::string_view::npos) {
      text += values[known];
      return at;
    }
    const auto code = [&](std::size_t first, std::size_t count, int base) {
      std::uint32_t value = 0;
      const std::string_view digits = std::string_view(source_).substr(first, count);
      const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
      if (failure != std::errc() ||
          (base == 16 && (digits.size() != count || end != digits.data() + count)) || value > 0x10ffff ||
          (value >= 0xd800 && value < 0xe000))
        fail("a bad escape in a string");
      append_utf8(text, value);
      return static_cast<std::size_t>(end - digits.data());
    };
    if (c == 'x') return at + code(at + 1, 2, 16);
    if (c == 'u') return at + code(at + 1, 4, 16);
    if (c == 'U') return at + code(at + 1, 8, 16);
    if (c >= '0' && c <= '7') return at + code(at, 3, 8) - 1;
    text += '\\';
    text += c;
    return at;
  }

  std::string source_;
  const std::string& name_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<TemplateToken> tokens_;
};

}  // namespace attune::detail
