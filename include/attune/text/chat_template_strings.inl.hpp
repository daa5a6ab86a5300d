#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <attune/text/chat_template_objects.inl.hpp>

// Texts as Python's str handles them, and JSON as json.dumps writes it.

namespace attune::detail {

inline char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
inline bool is_ascii_letter(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

inline std::string upper_text(std::string text) {
  for (char& c : text) c = ascii_upper(c);
  return text;
}
inline std::string lower_text(std::string text) {
  for (char& c : text) c = ascii_lower(c);
  return text;
}
inline std::string capitalized_text(std::string text) {
  text = lower_text(std::move(text));
  if (!text.empty()) text.front() = ascii_upper(text.front());
  return text;
}
/// str.title(): a letter behind one that is no letter becomes a capital.
inline std::string title_text(std::string text) {
  bool inside = false;
  for (char& c : text) {
    c = inside ? ascii_lower(c) : ascii_upper(c);
    inside = is_ascii_letter(c) || static_cast<unsigned char>(c) >= 0x80;
  }
  return text;
}
/// Jinja's title filter: words begin behind white space and - ( { [ <.
inline std::string title_filter(std::string text) {
  bool inside = false;
  for (char& c : text) {
    c = inside ? ascii_lower(c) : ascii_upper(c);
    inside = std::string_view("-({[< \t\n\r\f\v").find(c) == std::string_view::npos;
  }
  return text;
}

inline std::string replace_text(TemplateContext& context, const std::string& text, const std::string& from,
                                const std::string& to, std::int64_t count) {
  context.charge_text(text.size());
  std::string result;
  std::size_t at = 0;
  if (from.empty()) {  // between all characters
    for (const std::size_t place : code_point_places(text)) {
      result.append(text, at, place - at);
      at = place;
      if (count-- != 0) result += to;
      context.check_length(result.size());
    }
    return result;
  }
  for (; count != 0; --count) {
    const std::size_t found = text.find(from, at);
    if (found == std::string::npos) break;
    result.append(text, at, found - at) += to;
    at = found + from.size();
    context.check_length(result.size());
  }
  return result.append(text, at);
}

inline std::int64_t count_text(const std::string& text, const std::string& part) {
  if (part.empty()) return count_code_points(text) + 1;
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

inline std::vector<TemplateValue> split_lines(const std::string& text, bool keep_ends = false) {
  static constexpr std::string_view ends[] = {
      "\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
  std::vector<TemplateValue> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t length = 0;
    for (const std::string_view end : ends)
      if (length == 0 && std::string_view(text).substr(at).starts_with(end)) length = end.size();
    if (length == 0) {
      ++at;
      continue;
    }
    lines.emplace_back(text.substr(begin, at - begin + (keep_ends ? length : 0)));
    begin = at += length;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

/// str.split() and str.rsplit(); without a separator at white space.
inline std::vector<TemplateValue> split_text(std::string_view text, const TemplateValue* separator,
                                             std::int64_t most, bool from_right) {
  std::vector<TemplateValue> parts;
  const auto finish = [&] {
    if (from_right) std::reverse(parts.begin(), parts.end());
    return std::move(parts);
  };
  if (separator == nullptr) {
    for (;;) {
      text = python_strip(text, !from_right, from_right);
      if (text.empty()) return finish();
      if (most-- == 0) {
        parts.emplace_back(text);
        return finish();
      }
      const std::vector<std::size_t> places = code_point_places(text);
      std::size_t cut = from_right ? 0 : text.size();
      for (std::size_t i = 0; i + 1 < places.size(); ++i) {
        const std::size_t at = from_right ? places.size() - 2 - i : i;
        if (!is_python_space(decode_valid_utf8(text.data() + places[at]).value)) continue;
        cut = from_right ? places[at + 1] : places[at];
        break;
      }
      parts.emplace_back(from_right ? text.substr(cut) : text.substr(0, cut));
      text = from_right ? text.substr(0, cut) : text.substr(cut);
    }
  }
  const std::string& mark = separator->as_string();
  for (; most != 0; --most) {
    const std::size_t found = from_right ? text.rfind(mark) : text.find(mark);
    if (found == std::string_view::npos) break;
    parts.emplace_back(from_right ? text.substr(found + mark.size()) : text.substr(0, found));
    text = from_right ? text.substr(0, found) : text.substr(found + mark.size());
  }
  parts.emplace_back(text);
  return finish();
}

struct JsonStyle {
  std::string indent = {};  // of one level
  bool lines = false;       // whether there are line breaks
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false, ascii = false;
};

inline void write_json_text(std::string& out, const std::string& text, bool ascii) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto escape = [&](unsigned unit) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += digits[unit >> shift & 15];
  };
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_valid_utf8(text.data() + at);
    const auto c = static_cast<unsigned>(point.value);
    constexpr std::string_view special = "\"\\\n\r\t\b\f", letters = "\"\\nrtbf";
    if (const std::size_t known = c < 0x80 ? special.find(static_cast<char>(c)) : std::string_view::npos;
        known != std::string_view::npos)
      (out += '\\') += letters[known];
    else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000 && c != 0x7f))
      escape(c);
    else if (ascii && c >= 0x10000) {
      escape(0xd800 + ((c - 0x10000) >> 10));
      escape(0xdc00 + ((c - 0x10000) & 0x3ff));
    } else {
      out.append(text, at, static_cast<std::size_t>(point.bytes));
    }
    at += static_cast<std::size_t>(point.bytes);
  }
  out += '"';
}

inline void write_template_json(TemplateContext& context, std::string& out, const TemplateValue& value,
                                const JsonStyle& style, int level = 0) {
  context.charge(1);
  context.check_length(out.size());
  const auto new_line = [&](int depth) {
    if (!style.lines) return;
    out += '\n';
    for (int i = 0; i < depth; ++i) out += style.indent;
  };
  switch (value.kind()) {
    case TemplateValue::Kind::none:
      out += "null";
      return;
    case TemplateValue::Kind::boolean:
      out += value.as_bool() ? "true" : "false";
      return;
    case TemplateValue::Kind::integer:
      out += std::to_string(value.as_integer());
      return;
    case TemplateValue::Kind::number:
      if (std::isnan(value.as_number()))
        out += "NaN";
      else if (std::isinf(value.as_number()))
        out += value.as_number() < 0 ? "-Infinity" : "Infinity";
      else
        out += python_float(value.as_number());
      return;
    case TemplateValue::Kind::string:
      context.charge_text(value.as_string().size());
      write_json_text(out, value.as_string(), style.ascii);
      return;
    case TemplateValue::Kind::list: {
      if (value.as_list().empty()) {
        out += "[]";
        return;
      }
      out += '[';
      bool first = true;
      for (const TemplateValue& element : value.as_list()) {
        if (!first) out += style.item_separator;
        first = false;
        new_line(level + 1);
        write_template_json(context, out, element, style, level + 1);
      }
      new_line(level);
      out += ']';
      return;
    }
    case TemplateValue::Kind::dict: {
      if (value.as_dict().empty()) {
        out += "{}";
        return;
      }
      std::vector<const std::pair<std::string, TemplateValue>*> entries;
      for (const auto& entry : value.as_dict()) entries.push_back(&entry);
      if (style.sort_keys)
        std::sort(entries.begin(), entries.end(),
                  [](const auto* a, const auto* b) { return a->first < b->first; });
      out += '{';
      bool first = true;
      for (const auto* entry : entries) {
        if (!first) out += style.item_separator;
        first = false;
        new_line(level + 1);
        write_json_text(out, entry->first, style.ascii);
        out += style.key_separator;
        write_template_json(context, out, entry->second, style, level + 1);
      }
      new_line(level);
      out += '}';
      return;
    }
    default:
      context.fail("JSON cannot hold " + kind_name(value));
  }
}

/// The tojson of transformers: json.dumps(x, ensure_ascii, indent, separators, sort_keys).
inline TemplateValue json_filter(TemplateContext& context, const TemplateValue& value,
                                 const TemplateArguments& arguments) {
  JsonStyle style;
  style.ascii = arguments.flag(0, "ensure_ascii", false);
  style.sort_keys = arguments.flag(3, "sort_keys", false);
  if (const TemplateValue* indent = arguments.find(1, "indent"); indent != nullptr && !indent->is_none()) {
    style.lines = true;
    style.item_separator = ",";
    if (indent->is_string()) {
      style.indent = indent->as_string();
    } else {
      const std::int64_t width = arguments.integer(context, 1, "indent", 0);
      if (width > 100) context.fail("tojson: indent: expected at most 100, found " + std::to_string(width));
      style.indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(0, width)), ' ');
    }
  }
  if (const TemplateValue* separators = arguments.find(2, "separators");
      separators != nullptr && !separators->is_none()) {
    if (!separators->is_list() || separators->as_list().size() != 2)
      context.fail("tojson: separators: expected two strings");
    style.item_separator = python_text(context, separators->as_list()[0]);
    style.key_separator = python_text(context, separators->as_list()[1]);
  }
  std::string out;
  write_template_json(context, out, value, style);
  return context.text(std::move(out));
}

}  // namespace attune::detail
