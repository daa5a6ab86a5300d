#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <attune/text/chat_template_strings.inl.hpp>

// Filters and tests, as jinja2/filters.py and jinja2/tests.py define them.

namespace attune::detail {

inline constexpr std::string_view template_filters[] = {
    "abs",     "capitalize", "count",  "d",      "default",    "dictsort", "e",          "escape",
    "first",   "float",      "indent", "int",    "items",      "join",     "last",       "length",
    "list",    "lower",      "map",    "max",    "min",        "reject",   "rejectattr", "replace",
    "reverse", "round",      "safe",   "select", "selectattr", "sort",     "string",     "sum",
    "title",   "tojson",     "trim",   "unique", "upper",      "wordcount"};
inline constexpr std::string_view template_tests[] = {
    "boolean",  "callable", "defined",  "divisibleby", "eq",          "equalto", "escaped", "even",
    "false",    "filter",   "float",    "ge",          "greaterthan", "gt",      "in",      "integer",
    "iterable", "le",       "lessthan", "lower",       "lt",          "mapping", "ne",      "none",
    "number",   "odd",      "sameas",   "sequence",    "string",      "test",    "true",    "undefined",
    "upper",    "==",       "!=",       "<",           ">",           "<=",      ">="};

ATTUNE_INLINE bool is_known_template_filter(std::string_view name) {
  return std::find(std::begin(template_filters), std::end(template_filters), name) !=
         std::end(template_filters);
}
ATTUNE_INLINE bool is_known_template_test(std::string_view name) {
  return std::find(std::begin(template_tests), std::end(template_tests), name) != std::end(template_tests);
}

TemplateValue apply_template_filter(TemplateContext& context, std::string_view name,
                                    const TemplateValue& value, const TemplateArguments& arguments);

inline bool apply_template_test(TemplateContext& context, std::string_view name, const TemplateValue& value,
                                const TemplateArguments& arguments) {
  using Kind = TemplateValue::Kind;
  const auto other = [&]() -> const TemplateValue& { return arguments.get(context, 0, "other"); };
  const auto whole = [&] {
    if (!value.is_integer()) context.fail("expected an integer, found " + kind_name(value));
    return value.as_integer();
  };
  if (name == "defined") return !value.is_undefined();
  if (name == "undefined") return value.is_undefined();
  if (name == "none") return value.is_none();
  if (name == "boolean") return value.kind() == Kind::boolean;
  if (name == "true") return value.kind() == Kind::boolean && value.as_bool();
  if (name == "false") return value.kind() == Kind::boolean && !value.as_bool();
  if (name == "integer") return value.kind() == Kind::integer;
  if (name == "float") return value.kind() == Kind::number;
  if (name == "number") return value.is_number();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_dict();
  if (name == "sequence" || name == "iterable")
    return value.is_list() || value.is_dict() || value.is_string() || value.is_undefined();
  if (name == "callable")
    return value.kind() == Kind::object && value.as_object()->kind != TemplateObject::Kind::name_space;
  if (name == "escaped") return false;
  if (name == "lower" || name == "upper") {
    const std::string text = python_text(context, value);
    return std::any_of(text.begin(), text.end(), is_ascii_letter) &&
           text == (name == "lower" ? lower_text(text) : upper_text(text));
  }
  if (name == "even") return whole() % 2 == 0;
  if (name == "odd") return whole() % 2 != 0;
  if (name == "divisibleby") {
    const std::int64_t by = arguments.integer(context, 0, "num", 0);
    if (by == 0) context.fail("divisibleby: division by zero");
    return by == -1 || whole() % by == 0;
  }
  if (name == "filter") return is_known_template_filter(python_text(context, value));
  if (name == "test") return is_known_template_test(python_text(context, value));
  if (name == "in") return contains_value(context, arguments.get(context, 0, "seq"), value);
  if (name == "eq" || name == "equalto" || name == "==") return equal_values(context, value, other());
  if (name == "ne" || name == "!=") return !equal_values(context, value, other());
  if (name == "sameas") return value.kind() == other().kind() && equal_values(context, value, other());
  const int order = compare_values(context, value, other());
  if (name == "lt" || name == "lessthan" || name == "<") return order < 0;
  if (name == "gt" || name == "greaterthan" || name == ">") return order > 0;
  return name == "le" || name == "<=" ? order <= 0 : order >= 0;
}

/// "a.b.0" of a value: what filters call an attribute.
inline TemplateValue attribute_path(TemplateContext& context, const TemplateValue& value,
                                    const TemplateValue& path) {
  TemplateValue now = value;
  std::string_view rest;
  std::string text = python_text(context, path);
  for (rest = text;;) {
    const std::string_view part = rest.substr(0, rest.find('.'));
    std::int64_t index = -1;
    const bool number = !part.empty() &&
                        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
                        std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc();
    const TemplateValue* found = nullptr;
    if (number && now.is_list() && index < static_cast<std::int64_t>(now.as_list().size()))
      found = &now.as_list()[static_cast<std::size_t>(index)];
    if (now.is_dict()) found = now.find(part);
    if (now.is_undefined()) context.fail("an attribute of " + kind_name(now));
    now = found == nullptr ? TemplateValue::undefined(std::string(part)) : TemplateValue(*found);
    if (part.size() == rest.size()) return now;
    rest.remove_prefix(part.size() + 1);
  }
}

/// What sorting goes by: letters without their case unless asked for.
inline TemplateValue sort_key(TemplateContext& context, const TemplateValue& value,
                              const TemplateValue* attribute, bool case_sensitive) {
  TemplateValue key =
      attribute == nullptr || attribute->is_none() ? value : attribute_path(context, value, *attribute);
  if (key.is_string() && !case_sensitive) return context.text(lower_text(key.as_string()));
  return key;
}

inline std::vector<TemplateValue> sorted_values(TemplateContext& context, std::vector<TemplateValue> values,
                                                const TemplateValue* attribute, bool case_sensitive,
                                                bool reverse) {
  std::vector<std::pair<TemplateValue, std::size_t>> keys;
  for (std::size_t i = 0; i < values.size(); ++i)
    keys.emplace_back(sort_key(context, values[i], attribute, case_sensitive), i);
  std::stable_sort(keys.begin(), keys.end(), [&](const auto& a, const auto& b) {
    const int order = compare_values(context, a.first, b.first);
    return reverse ? order > 0 : order < 0;
  });
  std::vector<TemplateValue> result;
  for (const auto& key : keys) result.push_back(values[key.second]);
  return result;
}

inline TemplateValue extreme_filter(TemplateContext& context, const TemplateValue& value,
                                    const TemplateArguments& arguments, bool largest) {
  const std::vector<TemplateValue> values = elements_of(context, value);
  if (values.empty()) return TemplateValue::undefined("No aggregated item, sequence was empty.");
  const bool case_sensitive = arguments.flag(0, "case_sensitive", false);
  const TemplateValue* attribute = arguments.find(1, "attribute");
  std::size_t best = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    const int order = compare_values(context, sort_key(context, values[i], attribute, case_sensitive),
                                     sort_key(context, values[best], attribute, case_sensitive));
    if (largest ? order > 0 : order < 0) best = i;
  }
  return values[best];
}

inline TemplateValue dictsort_filter(TemplateContext& context, const TemplateValue& value,
                                     const TemplateArguments& arguments) {
  if (!value.is_dict()) context.fail("dictsort: expected a dict, found " + kind_name(value));
  std::vector<TemplateValue> pairs;
  for (const auto& entry : value.as_dict()) pairs.push_back(context.list({entry.first, entry.second}, true));
  const std::string by = arguments.text(context, 1, "by", "key");
  if (by != "key" && by != "value")
    context.fail("dictsort: by: expected 'key' or 'value', found '" + by + "'");
  const TemplateValue place(by == "key" ? 0 : 1);
  return context.list(sorted_values(context, std::move(pairs), &place,
                                    arguments.flag(0, "case_sensitive", false),
                                    arguments.flag(2, "reverse", false)));
}

inline TemplateValue unique_filter(TemplateContext& context, const TemplateValue& value,
                                   const TemplateArguments& arguments) {
  std::vector<TemplateValue> keys, result;
  for (const TemplateValue& element : elements_of(context, value)) {
    const TemplateValue key = sort_key(context, element, arguments.find(1, "attribute"),
                                       arguments.flag(0, "case_sensitive", false));
    const auto same = [&](const TemplateValue& other) { return equal_values(context, key, other); };
    if (std::any_of(keys.begin(), keys.end(), same)) continue;
    keys.push_back(key);
    result.push_back(element);
  }
  return context.list(std::move(result));
}

inline TemplateArguments arguments_from(const TemplateArguments& arguments, std::size_t first) {
  TemplateArguments rest;
  for (std::size_t i = first; i < arguments.values.size(); ++i) rest.values.push_back(arguments.values[i]);
  rest.named = arguments.named;
  return rest;
}

inline TemplateValue map_filter(TemplateContext& context, const TemplateValue& value,
                                const TemplateArguments& arguments) {
  std::vector<TemplateValue> result;
  const TemplateValue* attribute = arguments.values.empty() ? arguments.find(0, "attribute") : nullptr;
  std::string filter;
  if (attribute == nullptr) {
    filter = python_text(context, arguments.get(context, 0, "filter"));
    if (!is_known_template_filter(filter)) context.fail("the filter '" + filter + "' is not supported");
  }
  for (const TemplateValue& element : elements_of(context, value)) {
    context.charge(1);
    if (attribute == nullptr) {
      result.push_back(apply_template_filter(context, filter, element, arguments_from(arguments, 1)));
      continue;
    }
    TemplateValue found = attribute_path(context, element, *attribute);
    const TemplateValue* fallback = arguments.find(arguments.values.size(), "default");
    result.push_back(found.is_undefined() && fallback != nullptr ? *fallback : found);
  }
  return context.list(std::move(result));
}

/// select, reject, selectattr and rejectattr.
inline TemplateValue select_filter(TemplateContext& context, const TemplateValue& value,
                                   const TemplateArguments& arguments, bool by_attribute, bool wanted) {
  const std::size_t at = by_attribute ? 1 : 0;
  std::string test;
  if (arguments.values.size() > at) {
    test = python_text(context, arguments.values[at]);
    if (!is_known_template_test(test)) context.fail("the test '" + test + "' is not supported");
  }
  std::vector<TemplateValue> result;
  for (const TemplateValue& element : elements_of(context, value)) {
    context.charge(1);
    const TemplateValue tested =
        by_attribute ? attribute_path(context, element, arguments.get(context, 0, "attribute")) : element;
    const bool holds = test.empty()
                           ? is_true(tested)
                           : apply_template_test(context, test, tested, arguments_from(arguments, at + 1));
    if (holds == wanted) result.push_back(element);
  }
  return context.list(std::move(result));
}

inline TemplateValue join_filter(TemplateContext& context, const TemplateValue& value,
                                 const TemplateArguments& arguments) {
  const std::string between = arguments.text(context, 0, "d", "");
  const TemplateValue* attribute = arguments.find(1, "attribute");
  std::string result;
  bool first = true;
  for (const TemplateValue& element : elements_of(context, value)) {
    if (!first) result += between;
    first = false;
    result +=
        python_text(context, attribute == nullptr ? element : attribute_path(context, element, *attribute));
    context.check_length(result.size());
  }
  return context.text(std::move(result));
}

inline TemplateValue indent_filter(TemplateContext& context, const TemplateValue& value,
                                   const TemplateArguments& arguments) {
  std::string indent;
  const TemplateValue* width = arguments.find(0, "width");
  if (width != nullptr && width->is_string()) {
    indent = width->as_string();
  } else {
    const std::int64_t spaces = arguments.integer(context, 0, "width", 4);
    if (spaces > 1000) context.fail("indent: expected at most 1000, found " + std::to_string(spaces));
    indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(0, spaces)), ' ');
  }
  const bool blank = arguments.flag(2, "blank", false);
  std::string result = arguments.flag(1, "first", false) ? indent : std::string();
  bool first = true;
  for (const TemplateValue& line : split_lines(python_text(context, value) + "\n")) {
    if (!first) {
      result += '\n';
      if (blank || !line.as_string().empty()) result += indent;
    }
    first = false;
    result += line.as_string();
    context.check_length(result.size());
  }
  return context.text(std::move(result));
}

/// A text as a number, in Python's spelling, or nothing.
inline std::optional<double> parse_python_float(std::string_view text) {
  text = python_strip(text, true, true);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

inline TemplateValue int_filter(TemplateContext& context, const TemplateValue& value,
                                const TemplateArguments& arguments) {
  const TemplateValue* given = arguments.find(0, "default");
  const TemplateValue fallback = given == nullptr ? TemplateValue(0) : *given;
  double number = 0;
  if (value.is_integer()) return value.as_integer();
  if (value.is_string()) {
    std::string_view text = python_strip(value.as_string(), true, true);
    if (text.starts_with('+')) text.remove_prefix(1);
    std::int64_t whole = 0;
    const std::int64_t base = arguments.integer(context, 1, "base", 10);
    if (base < 2 || base > 36) context.fail("int: base: expected 2 to 36");
    const auto [end, failure] =
        std::from_chars(text.data(), text.data() + text.size(), whole, static_cast<int>(base));
    if (!text.empty() && failure == std::errc() && end == text.data() + text.size()) return whole;
    const auto parsed = parse_python_float(text);
    if (!parsed) return fallback;
    number = *parsed;
  } else if (value.kind() == TemplateValue::Kind::number) {
    number = value.as_number();
  } else {
    return fallback;
  }
  if (!(std::fabs(number) < 9.2e18)) return fallback;
  return static_cast<std::int64_t>(number);
}

inline TemplateValue round_filter(TemplateContext& context, const TemplateValue& value,
                                  const TemplateArguments& arguments) {
  if (!value.is_number()) context.fail("round: expected a number, found " + kind_name(value));
  const std::int64_t precision = arguments.integer(context, 0, "precision", 0);
  const std::string method = arguments.text(context, 1, "method", "common");
  if (precision < -300 || precision > 300) context.fail("round: precision: expected -300 to 300");
  const double number = value.as_number();
  if (method == "common") {
    if (value.is_integer() && precision >= 0) return value.as_integer();
    if (precision < 0) {
      const double unit = std::pow(10.0, static_cast<double>(-precision));
      return std::nearbyint(number / unit) * unit;
    }
    char digits[1024];  // the decimal that is nearest, as Python rounds
    const auto end = std::to_chars(digits, digits + sizeof(digits), number, std::chars_format::fixed,
                                   static_cast<int>(precision))
                         .ptr;
    double rounded = number;
    std::from_chars(digits, end, rounded);
    return rounded;
  }
  if (method != "ceil" && method != "floor") context.fail("round: method must be common, ceil or floor");
  const double unit = std::pow(10.0, static_cast<double>(precision));
  return (method == "ceil" ? std::ceil(number * unit) : std::floor(number * unit)) / unit;
}

inline std::string escape_html(TemplateContext& context, const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&#34;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  context.charge_text(result.size());
  return result;
}

inline TemplateValue sum_filter(TemplateContext& context, const TemplateValue& value,
                                const TemplateArguments& arguments) {
  const TemplateValue* attribute = arguments.find(0, "attribute");
  const TemplateValue* start = arguments.find(1, "start");
  if (start != nullptr && !start->is_number())
    context.fail("sum: start: expected a number, found " + kind_name(*start));
  double total = start == nullptr ? 0 : start->as_number();
  bool whole = start == nullptr || start->is_integer();
  for (const TemplateValue& element : elements_of(context, value)) {
    const TemplateValue term =
        attribute == nullptr || attribute->is_none() ? element : attribute_path(context, element, *attribute);
    if (!term.is_number()) context.fail("sum: expected numbers, found " + kind_name(term));
    whole = whole && term.is_integer();
    total += term.as_number();
  }
  if (whole && std::fabs(total) < 9e15) return static_cast<std::int64_t>(total);
  return total;
}

inline TemplateValue apply_list_filter(TemplateContext& context, std::string_view name,
                                       const TemplateValue& value, const TemplateArguments& arguments) {
  if (name == "map") return map_filter(context, value, arguments);
  if (name == "select" || name == "reject")
    return select_filter(context, value, arguments, false, name == "select");
  if (name == "selectattr" || name == "rejectattr")
    return select_filter(context, value, arguments, true, name == "selectattr");
  if (name == "unique") return unique_filter(context, value, arguments);
  if (name == "max" || name == "min") return extreme_filter(context, value, arguments, name == "max");
  std::vector<TemplateValue> elements = elements_of(context, value);
  if (name == "list") return context.list(std::move(elements));
  if (name == "first")
    return elements.empty() ? TemplateValue::undefined("No first item, sequence was empty.")
                            : elements.front();
  if (name == "last")
    return elements.empty() ? TemplateValue::undefined("No last item, sequence was empty.") : elements.back();
  if (name == "sort")
    return context.list(sorted_values(context, std::move(elements), arguments.find(2, "attribute"),
                                      arguments.flag(1, "case_sensitive", false),
                                      arguments.flag(0, "reverse", false)));
  std::reverse(elements.begin(), elements.end());
  if (!value.is_string()) return context.list(std::move(elements));
  std::string reversed;
  for (const TemplateValue& element : elements) reversed += element.as_string();
  return context.text(std::move(reversed));
}

ATTUNE_INLINE TemplateValue apply_template_filter(TemplateContext& context, std::string_view name,
                                                  const TemplateValue& value,
                                                  const TemplateArguments& arguments) {
  const auto text = [&] { return python_text(context, value); };
  if (name == "default" || name == "d") {
    const TemplateValue* fallback = arguments.find(0, "default_value");
    const bool missing = value.is_undefined() || (arguments.flag(1, "boolean", false) && !is_true(value));
    return !missing ? value : fallback == nullptr ? TemplateValue("") : *fallback;
  }
  if (name == "tojson") return json_filter(context, value, arguments);
  if (name == "length" || name == "count") return length_of(context, value);
  if (name == "trim") {
    const TemplateValue* chars = arguments.find(0, "chars");
    const std::string whole = text();
    const std::string wanted = chars == nullptr || chars->is_none() ? "" : python_text(context, *chars);
    return context.text(std::string(
        python_strip(whole, true, true, chars == nullptr || chars->is_none() ? nullptr : &wanted)));
  }
  if (name == "upper") return context.text(upper_text(text()));
  if (name == "lower") return context.text(lower_text(text()));
  if (name == "capitalize") return context.text(capitalized_text(text()));
  if (name == "title") return context.text(title_filter(text()));
  if (name == "string" || name == "safe") return value.is_string() ? value : context.text(text());
  if (name == "escape" || name == "e") return context.text(escape_html(context, text()));
  if (name == "replace")
    return context.text(replace_text(context, text(), python_text(context, arguments.get(context, 0, "old")),
                                     python_text(context, arguments.get(context, 1, "new")),
                                     arguments.integer(context, 2, "count", -1)));
  if (name == "wordcount") return static_cast<std::int64_t>(split_text(text(), nullptr, -1, false).size());
  if (name == "join") return join_filter(context, value, arguments);
  if (name == "indent") return indent_filter(context, value, arguments);
  if (name == "int") return int_filter(context, value, arguments);
  if (name == "float") {
    if (value.is_number()) return value.as_number();
    const auto number = value.is_string() ? parse_python_float(value.as_string()) : std::nullopt;
    const TemplateValue* fallback = arguments.find(0, "default");
    return number ? TemplateValue(*number) : fallback == nullptr ? TemplateValue(0.0) : *fallback;
  }
  if (name == "round") return round_filter(context, value, arguments);
  if (name == "abs") {
    if (!value.is_number()) context.fail("abs: expected a number, found " + kind_name(value));
    if (!value.is_integer()) return std::fabs(value.as_number());
    if (value.as_integer() == std::numeric_limits<std::int64_t>::min())
      context.fail("abs: the number is too large");
    return value.as_integer() < 0 ? -value.as_integer() : value.as_integer();
  }
  if (name == "sum") return sum_filter(context, value, arguments);
  if (name == "dictsort") return dictsort_filter(context, value, arguments);
  if (name == "items") {
    if (value.is_undefined()) return context.list({});
    if (!value.is_dict()) context.fail("items: expected a dict, found " + kind_name(value));
    std::vector<TemplateValue> pairs;
    for (const auto& entry : value.as_dict())
      pairs.push_back(context.list({entry.first, entry.second}, true));
    return context.list(std::move(pairs));
  }
  return apply_list_filter(context, name, value, arguments);
}

}  // namespace attune::detail
