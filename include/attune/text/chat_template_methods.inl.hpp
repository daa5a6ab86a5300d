#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <attune/text/chat_template_filters.inl.hpp>

// Methods of texts, dicts and lists (those that change nothing), and the functions that every template sees.

namespace attune::detail {

inline constexpr std::string_view string_methods[] = {
    "capitalize", "count",        "endswith",     "find",    "index",   "isalnum",    "isalpha", "isdecimal",
    "isdigit",    "islower",      "isnumeric",    "isspace", "isupper", "join",       "lower",   "lstrip",
    "partition",  "removeprefix", "removesuffix", "replace", "rfind",   "rpartition", "rsplit",  "rstrip",
    "split",      "splitlines",   "startswith",   "strip",   "title",   "upper",      "zfill"};
inline constexpr std::string_view dict_methods[] = {"copy", "get", "items", "keys", "values"};
inline constexpr std::string_view list_methods[] = {"copy", "count", "index"};
/// What the sandbox of transformers forbids, since it would change a value.
inline constexpr std::string_view changing_methods[] = {"append",     "clear",   "extend", "insert",
                                                        "pop",        "popitem", "remove", "reverse",
                                                        "setdefault", "sort",    "update"};

template <std::size_t N>
bool is_one_of(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

inline TemplateValue method_object(const TemplateValue& self, std::string_view name) {
  auto object = std::make_shared<TemplateObject>();
  object->kind = TemplateObject::Kind::method;
  object->name = std::string(name);
  object->self = self;
  return TemplateValue::object(std::move(object));
}

/// The method of that name, or nothing.
inline std::optional<TemplateValue> find_method(const TemplateValue& value, std::string_view name) {
  const bool known = (value.is_string() && is_one_of(name, string_methods)) ||
                     (value.is_dict() && is_one_of(name, dict_methods)) ||
                     (value.is_list() && is_one_of(name, list_methods)) ||
                     ((value.is_dict() || value.is_list()) && is_one_of(name, changing_methods));
  if (!known) return std::nullopt;
  return method_object(value, name);
}

/// A part of a text by code points; both bounds as Python's slices clip them.
inline std::string code_point_range(const std::string& text, std::int64_t begin, std::int64_t end) {
  const std::vector<std::size_t> places = code_point_places(text);
  const auto count = static_cast<std::int64_t>(places.size()) - 1;
  const auto clip = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + count : at, 0, count);
  };
  const std::int64_t first = clip(begin), last = std::max(clip(end), first);
  return text.substr(places[static_cast<std::size_t>(first)],
                     places[static_cast<std::size_t>(last)] - places[static_cast<std::size_t>(first)]);
}

inline std::int64_t place_in_code_points(const std::string& text, std::size_t byte) {
  return byte == std::string::npos ? -1 : count_code_points(std::string_view(text).substr(0, byte));
}

/// startswith and endswith take one text or a tuple of them.
inline bool has_affix(TemplateContext& context, const std::string& text, const TemplateValue& affix,
                      bool front) {
  const auto fits = [&](const TemplateValue& one) {
    if (!one.is_string()) context.fail("expected a string, found " + kind_name(one));
    return front ? text.starts_with(one.as_string()) : text.ends_with(one.as_string());
  };
  if (!affix.is_tuple()) return fits(affix);
  return std::any_of(affix.as_list().begin(), affix.as_list().end(), fits);
}

inline bool check_all(const std::string& text, bool (*fits)(char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(), fits);
}

inline TemplateValue partition_text(TemplateContext& context, const std::string& text,
                                    const std::string& mark, bool from_right) {
  if (mark.empty()) context.fail("an empty separator");
  const std::size_t at = from_right ? text.rfind(mark) : text.find(mark);
  if (at != std::string::npos)
    return context.list({text.substr(0, at), mark, text.substr(at + mark.size())}, true);
  if (from_right) return context.list({"", "", text}, true);
  return context.list({text, "", ""}, true);
}

inline TemplateValue call_string_method(TemplateContext& context, const std::string& name,
                                        const std::string& text, const TemplateArguments& arguments) {
  context.charge_text(text.size());
  const auto string = [&](std::size_t index, std::string_view what) -> const std::string& {
    const TemplateValue& value = arguments.get(context, index, what);
    if (!value.is_string()) context.fail(name + ": expected a string, found " + kind_name(value));
    return value.as_string();
  };
  const bool left = name == "strip" || name == "lstrip", right = name == "strip" || name == "rstrip";
  if (left || right) {
    const TemplateValue* chars = arguments.find(0, "chars");
    const bool given = chars != nullptr && !chars->is_none();
    return context.text(std::string(python_strip(text, left, right, given ? &string(0, "chars") : nullptr)));
  }
  if (name == "split" || name == "rsplit") {
    const TemplateValue* mark = arguments.find(0, "sep");
    const bool given = mark != nullptr && !mark->is_none();
    if (given && string(0, "sep").empty()) context.fail(name + ": an empty separator");
    return context.list(split_text(text, given ? mark : nullptr,
                                   arguments.integer(context, 1, "maxsplit", -1), name == "rsplit"));
  }
  if (name == "splitlines") return context.list(split_lines(text, arguments.flag(0, "keepends", false)));
  if (name == "startswith" || name == "endswith")
    return has_affix(context, text, arguments.get(context, 0, "prefix"), name == "startswith");
  if (name == "replace")
    return context.text(replace_text(context, text, string(0, "old"), string(1, "new"),
                                     arguments.integer(context, 2, "count", -1)));
  if (name == "upper") return context.text(upper_text(text));
  if (name == "lower") return context.text(lower_text(text));
  if (name == "capitalize") return context.text(capitalized_text(text));
  if (name == "title") return context.text(title_text(text));
  if (name == "join") {
    std::string result;
    bool first = true;
    for (const TemplateValue& element : elements_of(context, arguments.get(context, 0, "iterable"))) {
      if (!element.is_string()) context.fail("join: expected strings, found " + kind_name(element));
      if (!first) result += text;
      first = false;
      result += element.as_string();
      context.check_length(result.size());
    }
    return context.text(std::move(result));
  }
  if (name == "find") return place_in_code_points(text, text.find(string(0, "sub")));
  if (name == "rfind") return place_in_code_points(text, text.rfind(string(0, "sub")));
  if (name == "index") {
    const std::size_t at = text.find(string(0, "sub"));
    if (at == std::string::npos) context.fail("index: the text is not found");
    return place_in_code_points(text, at);
  }
  if (name == "count") return count_text(text, string(0, "sub"));
  if (name == "removeprefix")
    return context.text(text.starts_with(string(0, "prefix")) ? text.substr(string(0, "prefix").size())
                                                              : text);
  if (name == "removesuffix")
    return context.text(text.ends_with(string(0, "suffix"))
                            ? text.substr(0, text.size() - string(0, "suffix").size())
                            : text);
  if (name == "partition" || name == "rpartition")
    return partition_text(context, text, string(0, "sep"), name == "rpartition");
  if (name == "zfill") {
    const std::int64_t width = arguments.integer(context, 0, "width", 0),
                       missing = width - count_code_points(text);
    if (width > 1000) context.fail("zfill: expected at most 1000, found " + std::to_string(width));
    const bool sign = text.starts_with('-') || text.starts_with('+');
    if (missing <= 0) return context.text(text);
    return context.text(text.substr(0, sign) + std::string(static_cast<std::size_t>(missing), '0') +
                        text.substr(sign));
  }
  if (name == "isspace") return !text.empty() && python_strip(text, true, false).empty();
  if (name == "islower") return apply_template_test(context, "lower", text, {});
  if (name == "isupper") return apply_template_test(context, "upper", text, {});
  if (name == "isalpha")
    return check_all(text,
                     [](char c) { return is_ascii_letter(c) || static_cast<unsigned char>(c) >= 0x80; });
  if (name == "isalnum")
    return check_all(text, [](char c) {
      return is_ascii_letter(c) || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
    });
  return check_all(text, [](char c) { return c >= '0' && c <= '9'; });  // isdigit, isdecimal, isnumeric
}

inline TemplateValue call_method(TemplateContext& context, const TemplateObject& method,
                                 const TemplateArguments& arguments) {
  const TemplateValue& self = method.self;
  const std::string& name = method.name;
  if (self.is_string()) return call_string_method(context, name, self.as_string(), arguments);
  if (is_one_of(name, changing_methods))
    context.fail("'" + name + "' would change " + kind_name(self) + ", which a template may not");
  if (name == "copy") return self;
  if (self.is_list()) {
    const TemplateValue& wanted = arguments.get(context, 0, "value");
    std::int64_t count = 0, index = -1;
    for (std::size_t i = 0; i < self.as_list().size(); ++i) {
      if (!equal_values(context, self.as_list()[i], wanted)) continue;
      ++count;
      if (index < 0) index = static_cast<std::int64_t>(i);
    }
    if (name == "count") return count;
    if (index < 0) context.fail("index: the value is not in the list");
    return index;
  }
  if (name == "get") {
    const TemplateValue& key = arguments.get(context, 0, "key");
    context.charge(static_cast<std::int64_t>(self.as_dict().size()));
    const TemplateValue* found = key.is_string() ? self.find(key.as_string()) : nullptr;
    if (found != nullptr) return *found;
    const TemplateValue* fallback = arguments.find(1, "default");
    return fallback == nullptr ? TemplateValue(nullptr) : *fallback;
  }
  std::vector<TemplateValue> result;
  for (const auto& entry : self.as_dict()) {
    if (name == "keys")
      result.emplace_back(entry.first);
    else if (name == "values")
      result.push_back(entry.second);
    else
      result.push_back(context.list({entry.first, entry.second}, true));
  }
  return context.list(std::move(result));
}

inline constexpr std::string_view template_functions[] = {"range", "namespace", "dict", "raise_exception",
                                                          "strftime_now"};

inline TemplateValue strftime_now(TemplateContext& context, const TemplateArguments& arguments) {
  const std::string format = python_text(context, arguments.get(context, 0, "format"));
  if (format.size() > 1000) context.fail("strftime_now: a format of more than 1000 bytes");
  const std::time_t seconds =
      std::chrono::system_clock::to_time_t(context.options().now.value_or(std::chrono::system_clock::now()));
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  std::string text(format.size() * 100 + 100, '\0');
  // A blank in front, since an empty result cannot be told from one that does not fit.
  text.resize(std::strftime(text.data(), text.size(), (" " + format).c_str(), &parts));
  return context.text(text.empty() ? text : text.substr(1));
}

inline TemplateValue range_list(TemplateContext& context, const TemplateArguments& arguments) {
  if (arguments.values.empty() || arguments.values.size() > 3)
    context.fail("range: expected one to three integers");
  for (const TemplateValue& value : arguments.values)
    if (!value.is_integer()) context.fail("range: expected an integer, found " + kind_name(value));
  const std::int64_t first = arguments.values.size() > 1 ? arguments.values[0].as_integer() : 0;
  const std::int64_t last = arguments.values[arguments.values.size() > 1 ? 1 : 0].as_integer();
  const std::int64_t step = arguments.values.size() > 2 ? arguments.values[2].as_integer() : 1;
  if (step == 0) context.fail("range: a step of 0");
  constexpr std::int64_t most = std::int64_t{1} << 40;
  for (const std::int64_t bound : {first, last, step})
    if (bound > most || bound < -most) context.fail("range: a number is too large");
  const std::int64_t count = step > 0 ? (last - first + step - 1) / step : (first - last - step - 1) / -step;
  if (count > 100000) context.fail("range: more than 100000 numbers");  // the limit of Jinja's sandbox
  std::vector<TemplateValue> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.emplace_back(first + i * step);
  return context.list(std::move(numbers));
}

}  // namespace attune::detail
