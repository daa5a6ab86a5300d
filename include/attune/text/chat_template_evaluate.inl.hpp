#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/text/chat_template_methods.inl.hpp>

// Expressions, and the values that calls give.

namespace attune::detail {

inline std::int64_t checked_integer(TemplateContext& context, bool overflowed, std::int64_t value) {
  if (overflowed) context.fail("an integer is too large");
  return value;
}

inline std::int64_t integer_power(TemplateContext& context, std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  for (std::int64_t i = 0; i < exponent; ++i) {
    if (base == 0 || base == 1 || base == -1) return base == -1 ? (exponent % 2 == 0 ? 1 : -1) : base;
    const bool overflowed = __builtin_mul_overflow(result, base, &result);
    result = checked_integer(context, overflowed, result);
  }
  return result;
}

inline TemplateValue integer_arithmetic(TemplateContext& context, const std::string& op, std::int64_t a,
                                        std::int64_t b) {
  std::int64_t result = 0;
  if (op == "+" || op == "-" || op == "*") {
    const bool overflowed = op == "+"   ? __builtin_add_overflow(a, b, &result)
                            : op == "-" ? __builtin_sub_overflow(a, b, &result)
                                        : __builtin_mul_overflow(a, b, &result);
    return checked_integer(context, overflowed, result);
  }
  if (op == "**" && b >= 0) return integer_power(context, a, b);
  if (op == "**") return std::pow(static_cast<double>(a), static_cast<double>(b));
  if (b == 0) context.fail("division by zero");
  if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
  if (b == -1 && a == std::numeric_limits<std::int64_t>::min()) context.fail("an integer is too large");
  const std::int64_t quotient = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
  return op == "//" ? quotient : a - quotient * b;
}

inline TemplateValue float_arithmetic(TemplateContext& context, const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) context.fail("division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/// A list or text several times.
inline TemplateValue repeated(TemplateContext& context, const TemplateValue& value, std::int64_t count) {
  count = std::max<std::int64_t>(0, count);
  if (value.is_string()) {
    const std::string& text = value.as_string();
    if (!text.empty() &&
        static_cast<std::uint64_t>(count) > context.options().limits.max_output / text.size())
      context.check_length(std::numeric_limits<std::size_t>::max());
    std::string result;
    for (std::int64_t i = 0; i < count && !text.empty(); ++i) result += text;
    return context.text(std::move(result));
  }
  const auto& elements = value.as_list();
  std::vector<TemplateValue> result;
  for (std::int64_t i = 0; i < count && !elements.empty(); ++i) {
    context.charge(static_cast<std::int64_t>(elements.size()));
    result.insert(result.end(), elements.begin(), elements.end());
  }
  return context.list(std::move(result), value.is_tuple());
}

inline TemplateValue binary_value(TemplateContext& context, const std::string& op, const TemplateValue& a,
                                  const TemplateValue& b) {
  if (a.is_integer() && b.is_integer())
    return integer_arithmetic(context, op, a.as_integer(), b.as_integer());
  if (a.is_number() && b.is_number()) return float_arithmetic(context, op, a.as_number(), b.as_number());
  if (op == "+" && a.is_string() && b.is_string()) {
    context.check_length(a.as_string().size() + b.as_string().size());
    return context.text(a.as_string() + b.as_string());
  }
  if (op == "+" && a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    context.charge(static_cast<std::int64_t>(a.as_list().size() + b.as_list().size()));
    std::vector<TemplateValue> both = a.as_list();
    both.insert(both.end(), b.as_list().begin(), b.as_list().end());
    return context.list(std::move(both), a.is_tuple());
  }
  if (op == "*" && b.is_integer() && (a.is_string() || a.is_list()))
    return repeated(context, a, b.as_integer());
  if (op == "*" && a.is_integer() && (b.is_string() || b.is_list()))
    return repeated(context, b, a.as_integer());
  if (op == "%" && a.is_string()) context.fail("formatting with % is not supported");
  context.fail("cannot compute " + kind_name(a) + " " + op + " " + kind_name(b));
}

inline TemplateValue slice_value(TemplateContext& context, const TemplateValue& value,
                                 const TemplateValue& begin, const TemplateValue& end,
                                 const TemplateValue& step_value) {
  if (!value.is_string() && !value.is_list()) context.fail("cannot slice " + kind_name(value));
  const auto bound = [&](const TemplateValue& given, std::int64_t fallback) {
    if (given.is_none()) return fallback;
    if (!given.is_integer()) context.fail("a slice: expected an integer, found " + kind_name(given));
    return given.as_integer();
  };
  const std::int64_t step = bound(step_value, 1);
  if (step == 0) context.fail("a slice with a step of 0");
  const std::int64_t count = length_of(context, value);
  const auto clip = [&](const TemplateValue& given, std::int64_t fallback) {
    std::int64_t at = bound(given, fallback);
    if (given.is_none()) return at;
    if (at < 0) at = at < -count ? -1 : at + count;
    return step > 0 ? std::clamp<std::int64_t>(at, 0, count) : std::clamp<std::int64_t>(at, -1, count - 1);
  };
  const std::int64_t first = clip(begin, step > 0 ? 0 : count - 1), last = clip(end, step > 0 ? count : -1);
  if (value.is_string() && step == 1)
    return context.text(code_point_range(value.as_string(), first, std::max(first, last)));
  const std::vector<TemplateValue> elements = elements_of(context, value);
  std::vector<TemplateValue> chosen;
  const std::int64_t stride = std::clamp<std::int64_t>(step, -count - 1, count + 1);  // more is no different
  for (std::int64_t at = first; stride > 0 ? at < last : at > last; at += stride)
    chosen.push_back(elements[static_cast<std::size_t>(at)]);
  if (!value.is_string()) return context.list(std::move(chosen), value.is_tuple());
  std::string text;
  for (const TemplateValue& element : chosen) text += element.as_string();
  return context.text(std::move(text));
}

/// loop.index and the like.
inline std::optional<TemplateValue> loop_attribute(TemplateContext& context, const TemplateObject& loop,
                                                   std::string_view name, int depth) {
  const auto index = static_cast<std::int64_t>(loop.index),
             length = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return length - index;
  if (name == "revindex0") return length - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == length;
  if (name == "length") return length;
  if (name == "depth" || name == "depth0") return depth + (name == "depth" ? 1 : 0);
  if (name == "previtem")
    return index > 0 ? loop.items[loop.index - 1] : TemplateValue::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < length ? loop.items[loop.index + 1]
                              : TemplateValue::undefined("there is no next item");
  static_cast<void>(context);
  return std::nullopt;
}

inline TemplateValue attribute_of(TemplateContext& context, const TemplateValue& value,
                                  const std::string& name) {
  if (value.is_undefined()) context.fail("attribute '" + name + "' of " + kind_name(value));
  if (value.kind() == TemplateValue::Kind::object) {
    const std::shared_ptr<TemplateObject>& object = value.as_object();
    for (const auto& attribute : object->attributes)
      if (attribute.first == name) return attribute.second;
    if (object->kind == TemplateObject::Kind::loop) {
      if (auto found = loop_attribute(context, *object, name, 0)) return *found;
      if (name == "cycle" || name == "changed") return method_object(value, name);
    }
    return TemplateValue::undefined(name);
  }
  if (const auto method = find_method(value, name)) return *method;
  context.charge(value.is_dict() ? static_cast<std::int64_t>(value.as_dict().size() / 8) : 0);
  const TemplateValue* found = value.find(name);
  return found == nullptr ? TemplateValue::undefined(name) : *found;
}

inline TemplateValue subscript_of(TemplateContext& context, const TemplateValue& value,
                                  const TemplateValue& index) {
  if (value.is_undefined()) context.fail("a part of " + kind_name(value));
  if (index.is_integer() && (value.is_list() || value.is_string())) {
    const std::int64_t count = length_of(context, value);
    const std::int64_t at = index.as_integer() < 0 ? index.as_integer() + count : index.as_integer();
    if (at < 0 || at >= count)
      return TemplateValue::undefined("element " + std::to_string(index.as_integer()));
    if (value.is_list()) return value.as_list()[static_cast<std::size_t>(at)];
    return context.text(code_point_range(value.as_string(), at, at + 1));
  }
  if (!index.is_string()) return TemplateValue::undefined("element " + python_text(context, index));
  if (const TemplateValue* found = value.find(index.as_string())) return *found;
  return attribute_of(context, value, index.as_string());
}

/// loop.cycle(...) and loop.changed(...)
inline TemplateValue call_loop_method(TemplateContext& context, const TemplateObject& method,
                                      const TemplateArguments& arguments) {
  TemplateObject& loop = *method.self.as_object();
  if (method.name == "cycle") {
    if (arguments.values.empty()) context.fail("cycle: expected at least one value");
    return arguments.values[loop.index % arguments.values.size()];
  }
  TemplateValue now = context.list(arguments.values, true);
  const bool same = loop.last_changed && equal_values(context, *loop.last_changed, now);
  loop.last_changed = std::move(now);
  return !same;
}

}  // namespace attune::detail
