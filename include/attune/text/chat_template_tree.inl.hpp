#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <attune/text/chat_template_value.hpp>

namespace attune::detail {

struct TemplateExpression;
using TemplateExpressionPtr = std::unique_ptr<TemplateExpression>;

struct TemplateExpression {
  enum class Kind : std::uint8_t {
    constant,     // value
    name,         // text
    list,         // parts
    tuple,        // parts
    dict,         // parts: key, value, ...
    attribute,    // parts[0].text
    subscript,    // parts[0][parts[1]]
    slice,        // parts[0][parts[1]:parts[2]:parts[3]], each may be missing
    call,         // parts[0](parts[1], ..., named)
    filter,       // parts[0] | text(parts[1], ..., named)
    test,         // parts[0] is text(parts[1], ...)
    negative,     // -parts[0]
    positive,     // +parts[0]
    logical_not,  // not parts[0]
    logical_and,
    logical_or,
    binary,     // parts[0] text parts[1]
    compare,    // parts[0] operators[0] parts[1] operators[1] parts[2] ...
    concat,     // parts, as text
    condition,  // parts[0] if parts[1] else parts[2], which may be missing
  };
  Kind kind = Kind::constant;
  int line = 0;
  int depth = 1;
  std::string text{};
  TemplateValue value{};
  std::vector<TemplateExpressionPtr> parts{};
  std::vector<std::pair<std::string, TemplateExpressionPtr>> named{};
  std::vector<std::string> operators{};
};

struct TemplateStatement;
using TemplateBody = std::vector<TemplateStatement>;

/// What a value is assigned to: names, or one attribute of a namespace.
struct TemplateTarget {
  std::vector<std::string> names{};
  bool tuple = false;
  std::string attribute{};  // names[0].attribute
};

struct TemplateStatement {
  enum class Kind : std::uint8_t {
    text,
    output,
    condition,
    loop,
    set,
    set_block,
    macro,
    generation,
    stop,
    next
  };
  Kind kind = Kind::text;
  int line = 0;
  std::string text{};                  // or the macro's name
  TemplateExpressionPtr expression{};  // output, set, the loop's list; a set block's filters
  TemplateExpressionPtr filter{};      // of the loop
  TemplateTarget target{};
  std::vector<std::pair<TemplateExpressionPtr, TemplateBody>> branches{};  // of a condition; no test: else
  TemplateBody body{};
  TemplateBody otherwise{};                                                 // of a loop
  std::vector<std::pair<std::string, TemplateExpressionPtr>> parameters{};  // of a macro, with defaults
};

}  // namespace attune::detail
