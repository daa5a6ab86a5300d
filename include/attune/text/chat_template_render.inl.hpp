#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <attune/text/chat_template_evaluate.inl.hpp>

// Runs the tree of a template.

namespace attune::detail {

class TemplateRenderer {
 public:
  TemplateRenderer(const std::string& name, const ChatOptions& options) : context_(name, options) {}
  TemplateRenderer(const TemplateRenderer&) = delete;
  TemplateRenderer& operator=(const TemplateRenderer&) = delete;
  ~TemplateRenderer() {
    // Namespaces can hold each other; one by one, no chain of them is destroyed recursively.
    for (const auto& space : namespaces_) space->attributes.clear();
  }

  RenderedChat run(const TemplateBody& body, std::vector<std::pair<std::string, TemplateValue>> variables) {
    auto root = std::make_shared<TemplateScope>();
    root->variables = std::move(variables);
    // As in Jinja, what the template itself sets hides what it was given.
    scope_ = std::make_shared<TemplateScope>();
    scope_->parent = root;
    std::string output;
    output_ = main_ = &output;
    execute(body);
    return {std::move(output), std::move(spans_)};
  }

 private:
  using Kind = TemplateExpression::Kind;
  enum class Flow : std::uint8_t { on, stop, next };
  static constexpr int max_calls = 60;

  /// A scope of its own while it lives.
  class Inside {
   public:
    Inside(TemplateRenderer& renderer, std::shared_ptr<TemplateScope> parent)
        : renderer_(renderer), outer_(std::exchange(renderer.scope_, std::make_shared<TemplateScope>())) {
      renderer.scope_->parent = std::move(parent);
    }
    explicit Inside(TemplateRenderer& renderer) : Inside(renderer, renderer.scope_) {}
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    ~Inside() { renderer_.scope_ = std::move(outer_); }

   private:
    TemplateRenderer& renderer_;
    std::shared_ptr<TemplateScope> outer_;
  };
  /// Output goes to another text while it lives.
  class Captured {
   public:
    Captured(TemplateRenderer& renderer, std::string& text)
        : renderer_(renderer), outer_(std::exchange(renderer.output_, &text)) {}
    Captured(const Captured&) = delete;
    Captured& operator=(const Captured&) = delete;
    ~Captured() { renderer_.output_ = outer_; }

   private:
    TemplateRenderer& renderer_;
    std::string* outer_;
  };

  // Expressions.

  TemplateValue evaluate(const TemplateExpression& node) {
    context_.line = node.line;
    context_.charge(1);
    switch (node.kind) {
      case Kind::constant:
        return node.value;
      case Kind::name:
        return look_up(node.text);
      case Kind::list:
      case Kind::tuple: {
        std::vector<TemplateValue> elements;
        for (const auto& part : node.parts) elements.push_back(evaluate(*part));
        return context_.list(std::move(elements), node.kind == Kind::tuple);
      }
      case Kind::dict:
        return evaluate_dict(node);
      case Kind::attribute: {
        const TemplateValue value = evaluate(*node.parts[0]);
        context_.line = node.line;
        return attribute_of(context_, value, node.text);
      }
      case Kind::subscript: {
        const TemplateValue value = evaluate(*node.parts[0]), index = evaluate(*node.parts[1]);
        context_.line = node.line;
        return subscript_of(context_, value, index);
      }
      case Kind::slice: {
        const auto bound = [&](std::size_t i) {
          return node.parts[i] ? evaluate(*node.parts[i]) : TemplateValue(nullptr);
        };
        const TemplateValue value = evaluate(*node.parts[0]), begin = bound(1), end = bound(2),
                            step = bound(3);
        context_.line = node.line;
        return slice_value(context_, value, begin, end, step);
      }
      case Kind::call: {
        const TemplateValue callee = evaluate(*node.parts[0]);
        return call(node, callee, arguments(node));
      }
      case Kind::filter: {
        const TemplateValue value = evaluate(*node.parts[0]);
        const TemplateArguments given = arguments(node);
        context_.line = node.line;
        return apply_template_filter(context_, node.text, value, given);
      }
      case Kind::test: {
        const TemplateValue value = evaluate(*node.parts[0]);
        const TemplateArguments given = arguments(node);
        context_.line = node.line;
        return apply_template_test(context_, node.text, value, given);
      }
      case Kind::logical_not:
        return !is_true(evaluate(*node.parts[0]));
      case Kind::logical_and:
      case Kind::logical_or: {
        TemplateValue left = evaluate(*node.parts[0]);
        return is_true(left) == (node.kind == Kind::logical_or) ? left : evaluate(*node.parts[1]);
      }
      case Kind::condition:
        if (is_true(evaluate(*node.parts[1]))) return evaluate(*node.parts[0]);
        return node.parts[2] ? evaluate(*node.parts[2])
                             : TemplateValue::undefined("the missing else of an inline if");
      case Kind::compare:
        return evaluate_comparison(node);
      case Kind::concat:
        return evaluate_concat(node);
      default:
        return evaluate_arithmetic(node);
    }
  }

  TemplateValue evaluate_dict(const TemplateExpression& node) {
    std::vector<std::pair<std::string, TemplateValue>> entries;
    for (std::size_t i = 0; i < node.parts.size(); i += 2) {
      const TemplateValue key = evaluate(*node.parts[i]);
      if (!key.is_string()) context_.fail("a dict's keys must be strings, found " + kind_name(key));
      entries.emplace_back(key.as_string(), evaluate(*node.parts[i + 1]));
    }
    return context_.dict(std::move(entries));
  }

  TemplateValue evaluate_comparison(const TemplateExpression& node) {
    TemplateValue left = evaluate(*node.parts[0]);
    for (std::size_t i = 0; i < node.operators.size(); ++i) {
      TemplateValue right = evaluate(*node.parts[i + 1]);
      context_.line = node.line;
      const std::string& op = node.operators[i];
      bool holds;
      if (op == "==" || op == "!=")
        holds = equal_values(context_, left, right) == (op == "==");
      else if (op == "in" || op == "not in")
        holds = contains_value(context_, right, left) == (op == "in");
      else {
        const int order = compare_values(context_, left, right);
        holds = op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
      }
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }

  TemplateValue evaluate_concat(const TemplateExpression& node) {
    std::string text;
    for (const auto& part : node.parts) {
      text += python_text(context_, evaluate(*part));
      context_.check_length(text.size());
    }
    return context_.text(std::move(text));
  }

  TemplateValue evaluate_arithmetic(const TemplateExpression& node) {
    const TemplateValue left = evaluate(*node.parts[0]);
    if (node.kind == Kind::binary) {
      const TemplateValue right = evaluate(*node.parts[1]);
      context_.line = node.line;
      return binary_value(context_, node.text, left, right);
    }
    context_.line = node.line;
    if (!left.is_number()) context_.fail("expected a number, found " + kind_name(left));
    if (node.kind == Kind::positive) return left.is_integer() ? TemplateValue(left.as_integer()) : left;
    return binary_value(context_, "-", 0, left);
  }

  TemplateValue look_up(const std::string& name) {
    for (const TemplateScope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
      context_.charge(1);
      for (const auto& variable : scope->variables)
        if (variable.first == name) return variable.second;
    }
    if (!is_one_of(name, template_functions)) return TemplateValue::undefined(name);
    auto object = std::make_shared<TemplateObject>();
    object->name = name;
    return TemplateValue::object(std::move(object));
  }

  TemplateArguments arguments(const TemplateExpression& node) {
    TemplateArguments given;
    for (std::size_t i = 1; i < node.parts.size(); ++i) given.values.push_back(evaluate(*node.parts[i]));
    for (const auto& argument : node.named)
      given.named.emplace_back(argument.first, evaluate(*argument.second));
    return given;
  }

  TemplateValue call(const TemplateExpression& node, const TemplateValue& callee,
                     const TemplateArguments& given) {
    context_.line = node.line;
    if (callee.kind() != TemplateValue::Kind::object) context_.fail("cannot call " + kind_name(callee));
    const std::shared_ptr<TemplateObject> object = callee.as_object();
    switch (object->kind) {
      case TemplateObject::Kind::macro:
        return call_macro(*object, given);
      case TemplateObject::Kind::method:
        if (object->self.kind() == TemplateValue::Kind::object)
          return call_loop_method(context_, *object, given);
        return call_method(context_, *object, given);
      case TemplateObject::Kind::function:
        return call_function(object->name, given);
      case TemplateObject::Kind::loop:
        context_.fail("recursive loops are not supported");
      default:
        context_.fail("cannot call a namespace");
    }
  }

  TemplateValue call_function(const std::string& name, const TemplateArguments& given) {
    if (name == "raise_exception") context_.fail(python_text(context_, given.get(context_, 0, "message")));
    if (name == "strftime_now") return strftime_now(context_, given);
    if (name == "range") return range_list(context_, given);
    std::vector<std::pair<std::string, TemplateValue>> entries;
    for (const TemplateValue& value : given.values) {
      if (!value.is_dict()) context_.fail(name + ": expected a dict, found " + kind_name(value));
      entries.insert(entries.end(), value.as_dict().begin(), value.as_dict().end());
    }
    entries.insert(entries.end(), given.named.begin(), given.named.end());
    const TemplateValue values = context_.dict(std::move(entries));
    if (name == "dict") return values;
    if (namespaces_.size() >= 10000) context_.fail("more than 10000 namespaces");
    auto space = std::make_shared<TemplateObject>();
    space->kind = TemplateObject::Kind::name_space;
    for (const auto& entry : values.as_dict()) check_attribute(entry.first);
    space->attributes = values.as_dict();
    namespaces_.push_back(space);
    return TemplateValue::object(std::move(space));
  }
  void check_attribute(const std::string& name) const {
    if (name.starts_with('_')) context_.fail("a namespace may not hold '" + name + "'");
  }

  TemplateValue call_macro(const TemplateObject& object, const TemplateArguments& given) {
    const TemplateStatement& macro = *object.macro;
    if (++calls_ > max_calls)
      context_.fail("macros call each other deeper than " + std::to_string(max_calls) + " levels");
    if (given.values.size() > macro.parameters.size())
      context_.fail("macro '" + macro.text + "' takes " + std::to_string(macro.parameters.size()) +
                    " arguments, found " + std::to_string(given.values.size()));
    std::string text;
    {
      const Inside inside(*this, object.scope.lock());
      for (const auto& argument : given.named) {
        const auto known = [&](const auto& parameter) { return parameter.first == argument.first; };
        if (std::none_of(macro.parameters.begin(), macro.parameters.end(), known))
          context_.fail("macro '" + macro.text + "' has no parameter '" + argument.first + "'");
      }
      for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
        const auto& parameter = macro.parameters[i];
        const TemplateValue* value = given.find(i, parameter.first);
        scope_->set(parameter.first, value != nullptr   ? *value
                                     : parameter.second ? evaluate(*parameter.second)
                                                        : TemplateValue::undefined(parameter.first));
      }
      const Captured captured(*this, text);
      execute(macro.body);
    }
    --calls_;
    return context_.text(std::move(text));
  }

  // Statements.

  void write(const std::string& text) {
    context_.charge_text(text.size());
    context_.check_length(output_->size() + text.size());
    *output_ += text;
  }

  Flow execute(const TemplateBody& body) {
    for (const TemplateStatement& statement : body) {
      context_.line = statement.line;
      context_.charge(1);
      const Flow flow = execute(statement);
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

  Flow execute(const TemplateStatement& statement) {
    switch (statement.kind) {
      case TemplateStatement::Kind::text:
        write(statement.text);
        return Flow::on;
      case TemplateStatement::Kind::output:
        write(python_text(context_, evaluate(*statement.expression)));
        return Flow::on;
      case TemplateStatement::Kind::condition:
        for (const auto& branch : statement.branches)
          if (!branch.first || is_true(evaluate(*branch.first))) return execute(branch.second);
        return Flow::on;
      case TemplateStatement::Kind::loop:
        return execute_loop(statement);
      case TemplateStatement::Kind::set:
        assign(statement.target, evaluate(*statement.expression));
        return Flow::on;
      case TemplateStatement::Kind::set_block:
        return execute_set_block(statement);
      case TemplateStatement::Kind::macro: {
        auto object = std::make_shared<TemplateObject>();
        object->kind = TemplateObject::Kind::macro;
        object->macro = &statement;
        object->scope = scope_;
        context_.charge(50);
        if (kept_scopes_.empty() || kept_scopes_.back() != scope_) kept_scopes_.push_back(scope_);
        scope_->set(statement.text, TemplateValue::object(std::move(object)));
        return Flow::on;
      }
      case TemplateStatement::Kind::generation:
        return execute_generation(statement);
      case TemplateStatement::Kind::stop:
        return Flow::stop;
      default:
        return Flow::next;
    }
  }

  Flow execute_set_block(const TemplateStatement& statement) {
    std::string text;
    Flow flow;
    {
      const Inside inside(*this);
      const Captured captured(*this, text);
      flow = execute(statement.body);
    }
    TemplateValue value = context_.text(std::move(text));
    if (statement.expression) value = filtered(*statement.expression, value);
    assign(statement.target, value);
    return flow;
  }
  /// A chain of filters over a value that takes the place of the innermost constant.
  TemplateValue filtered(const TemplateExpression& node, const TemplateValue& value) {
    if (node.kind != Kind::filter) return value;
    const TemplateValue input = filtered(*node.parts[0], value);
    const TemplateArguments given = arguments(node);
    return apply_template_filter(context_, node.text, input, given);
  }

  Flow execute_generation(const TemplateStatement& statement) {
    const bool main = output_ == main_;
    const std::size_t begin = output_->size();
    Flow flow;
    {
      const Inside inside(*this);
      flow = execute(statement.body);
    }
    if (!main) context_.fail("a generation block inside of a macro or a set block is not supported");
    const std::int64_t first = counted_ + count_code_points(std::string_view(*output_).substr(
                                              counted_bytes_, begin - counted_bytes_));
    const std::int64_t last = first + count_code_points(std::string_view(*output_).substr(begin));
    counted_ = last;
    counted_bytes_ = output_->size();
    spans_.push_back({static_cast<std::int32_t>(first), static_cast<std::int32_t>(last)});
    return flow;
  }

  void assign(const TemplateTarget& target, const TemplateValue& value) {
    if (!target.attribute.empty()) {
      const TemplateValue space = look_up(target.names[0]);
      if (space.kind() != TemplateValue::Kind::object ||
          space.as_object()->kind != TemplateObject::Kind::name_space)
        context_.fail("'" + target.names[0] + "' is no namespace");
      check_attribute(target.attribute);
      auto& attributes = space.as_object()->attributes;
      for (auto& attribute : attributes)
        if (attribute.first == target.attribute) {
          attribute.second = value;
          return;
        }
      context_.charge(4);
      attributes.emplace_back(target.attribute, value);
      return;
    }
    if (!target.tuple) return scope_->set(target.names[0], value);
    const std::vector<TemplateValue> elements = elements_of(context_, value);
    if (elements.size() != target.names.size())
      context_.fail("cannot unpack " + std::to_string(elements.size()) + " values into " +
                    std::to_string(target.names.size()) + " names");
    for (std::size_t i = 0; i < elements.size(); ++i) scope_->set(target.names[i], elements[i]);
  }

  Flow execute_loop(const TemplateStatement& statement) {
    std::vector<TemplateValue> items = elements_of(context_, evaluate(*statement.expression));
    if (statement.filter) {
      std::vector<TemplateValue> chosen;
      for (const TemplateValue& item : items) {
        const Inside inside(*this);
        assign(statement.target, item);
        if (is_true(evaluate(*statement.filter))) chosen.push_back(item);
      }
      items = std::move(chosen);
    }
    if (items.empty()) {
      const Inside inside(*this);
      return execute(statement.otherwise);
    }
    auto loop = std::make_shared<TemplateObject>();
    loop->kind = TemplateObject::Kind::loop;
    loop->items = std::move(items);
    for (; loop->index < loop->items.size(); ++loop->index) {
      const Inside inside(*this);
      context_.charge(1);
      scope_->set("loop", TemplateValue::object(loop));
      assign(statement.target, loop->items[loop->index]);
      if (execute(statement.body) == Flow::stop) break;
    }
    loop->last_changed.reset();  // it might hold the loop itself
    return Flow::on;
  }

  TemplateContext context_;
  std::shared_ptr<TemplateScope> scope_;
  std::vector<std::shared_ptr<TemplateScope>> kept_scopes_;
  std::vector<std::shared_ptr<TemplateObject>> namespaces_;
  std::string* output_ = nullptr;
  std::string* main_ = nullptr;
  std::vector<TextSpan> spans_;
  std::int64_t counted_ = 0;  // code points in the first counted_bytes_ of the output
  std::size_t counted_bytes_ = 0;
  int calls_ = 0;
};

}  // namespace attune::detail
