#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/text/chat_template_lexer.inl.hpp>
#include <attune/text/chat_template_tree.inl.hpp>

// The tree of an expression, as jinja2/parser.py builds it.

namespace attune::detail {

bool is_known_template_filter(std::string_view name);
bool is_known_template_test(std::string_view name);

/// Expressions; statements are the business of TemplateParser.
class TemplateExpressionParser {
 protected:
  TemplateExpressionParser(std::vector<TemplateToken> tokens, const std::string& name)
      : tokens_(std::move(tokens)), name_(name) {}

  using Kind = TemplateExpression::Kind;
  using Token = TemplateToken;
  static constexpr int max_depth = 200;

  /// Counts what is open while it lives.
  struct Depth {
    explicit Depth(TemplateExpressionParser& parser) : parser(parser) {
      if (++parser.depth_ > max_depth)
        parser.fail("nested deeper than " + std::to_string(max_depth) + " levels");
    }
    ~Depth() { --parser.depth_; }
    TemplateExpressionParser& parser;
  };

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  [[noreturn]] void fail(const std::string& what) const { throw TemplateError(name_, now().line, what); }
  std::string shown() const {
    switch (now().kind) {
      case Token::Kind::end:
        return "the end of the template";
      case Token::Kind::number:
        return "a number";
      case Token::Kind::string:
        return "a string";
      default:
        return "'" + now().text.substr(0, 60) + "'";
    }
  }
  bool is_op(std::string_view text) const { return now().kind == Token::Kind::op && now().text == text; }
  bool is_name(std::string_view text) const { return now().kind == Token::Kind::name && now().text == text; }
  bool take_op(std::string_view text) {
    if (!is_op(text)) return false;
    ++at_;
    return true;
  }
  bool take_name(std::string_view text) {
    if (!is_name(text)) return false;
    ++at_;
    return true;
  }
  void expect_op(std::string_view text) {
    if (!take_op(text)) fail("expected '" + std::string(text) + "', found " + shown());
  }
  void expect_name(std::string_view text) {
    if (!take_name(text)) fail("expected '" + std::string(text) + "', found " + shown());
  }
  std::string take_any_name() {
    if (now().kind != Token::Kind::name) fail("expected a name, found " + shown());
    return tokens_[at_++].text;
  }
  void expect(Token::Kind kind, const char* what) {
    if (now().kind != kind) fail(std::string("expected ") + what + ", found " + shown());
    ++at_;
  }

  TemplateExpressionPtr make(Kind kind, int line, std::vector<TemplateExpressionPtr> parts = {},
                             std::string text = {}) {
    auto node = std::make_unique<TemplateExpression>();
    node->kind = kind;
    node->line = line;
    node->parts = std::move(parts);
    node->text = std::move(text);
    for (const auto& part : node->parts)
      if (part) node->depth = std::max(node->depth, part->depth + 1);
    check_depth(*node);
    return node;
  }
  void check_depth(const TemplateExpression& node) const {
    if (node.depth > 2 * max_depth)
      throw TemplateError(name_, node.line,
                          "an expression deeper than " + std::to_string(2 * max_depth) + " levels");
  }
  template <class... Parts>
  static std::vector<TemplateExpressionPtr> parts(Parts... each) {
    std::vector<TemplateExpressionPtr> list;
    (list.push_back(std::move(each)), ...);
    return list;
  }

  // Expressions, from the loosest to the tightest.

  TemplateExpressionPtr parse_expression(bool conditional = true) {
    const Depth depth(*this);
    if (!conditional) return parse_or();
    TemplateExpressionPtr node = parse_or();
    while (is_name("if")) {
      const int line = tokens_[at_++].line;
      TemplateExpressionPtr test = parse_or(), otherwise;
      if (take_name("else")) otherwise = parse_expression();
      node = make(Kind::condition, line, parts(std::move(node), std::move(test), std::move(otherwise)));
    }
    return node;
  }
  TemplateExpressionPtr parse_or() {
    TemplateExpressionPtr node = parse_and();
    while (is_name("or")) {
      const int line = tokens_[at_++].line;
      TemplateExpressionPtr right = parse_and();
      node = make(Kind::logical_or, line, parts(std::move(node), std::move(right)));
    }
    return node;
  }
  TemplateExpressionPtr parse_and() {
    TemplateExpressionPtr node = parse_not();
    while (is_name("and")) {
      const int line = tokens_[at_++].line;
      TemplateExpressionPtr right = parse_not();
      node = make(Kind::logical_and, line, parts(std::move(node), std::move(right)));
    }
    return node;
  }
  TemplateExpressionPtr parse_not() {
    if (!is_name("not")) return parse_compare();
    const Depth depth(*this);
    const int line = tokens_[at_++].line;
    return make(Kind::logical_not, line, parts(parse_not()));
  }
  TemplateExpressionPtr parse_compare() {
    const int line = now().line;
    std::vector<TemplateExpressionPtr> operands = parts(parse_sum());
    std::vector<std::string> operators;
    for (;;) {
      if (now().kind == Token::Kind::op &&
          (is_op("==") || is_op("!=") || is_op("<") || is_op("<=") || is_op(">") || is_op(">=")))
        operators.push_back(tokens_[at_++].text);
      else if (take_name("in"))
        operators.push_back("in");
      else if (is_name("not") && ahead().kind == Token::Kind::name && ahead().text == "in") {
        at_ += 2;
        operators.push_back("not in");
      } else {
        break;
      }
      operands.push_back(parse_sum());
    }
    if (operators.empty()) return std::move(operands.front());
    TemplateExpressionPtr node = make(Kind::compare, line, std::move(operands));
    node->operators = std::move(operators);
    return node;
  }
  TemplateExpressionPtr parse_sum() {
    TemplateExpressionPtr node = parse_concat();
    while (is_op("+") || is_op("-")) {
      const Token& op = tokens_[at_++];
      TemplateExpressionPtr right = parse_concat();
      node = make(Kind::binary, op.line, parts(std::move(node), std::move(right)), op.text);
    }
    return node;
  }
  TemplateExpressionPtr parse_concat() {
    const int line = now().line;
    std::vector<TemplateExpressionPtr> pieces = parts(parse_product());
    while (take_op("~")) pieces.push_back(parse_product());
    if (pieces.size() == 1) return std::move(pieces.front());
    return make(Kind::concat, line, std::move(pieces));
  }
  TemplateExpressionPtr parse_product() {
    TemplateExpressionPtr node = parse_power();
    while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
      const Token& op = tokens_[at_++];
      TemplateExpressionPtr right = parse_power();
      node = make(Kind::binary, op.line, parts(std::move(node), std::move(right)), op.text);
    }
    return node;
  }
  TemplateExpressionPtr parse_power() {
    TemplateExpressionPtr node = parse_unary(true);
    while (is_op("**")) {
      const int line = tokens_[at_++].line;
      TemplateExpressionPtr right = parse_unary(true);
      node = make(Kind::binary, line, parts(std::move(node), std::move(right)), "**");
    }
    return node;
  }
  TemplateExpressionPtr parse_unary(bool filters) {
    const Depth depth(*this);
    const int line = now().line;
    TemplateExpressionPtr node;
    if (take_op("-"))
      node = make(Kind::negative, line, parts(parse_unary(false)));
    else if (take_op("+"))
      node = make(Kind::positive, line, parts(parse_unary(false)));
    else
      node = parse_primary();
    node = parse_postfix(std::move(node));
    return filters ? parse_filters(std::move(node)) : std::move(node);
  }
  TemplateExpressionPtr constant(TemplateValue value, int line) {
    TemplateExpressionPtr node = make(Kind::constant, line);
    node->value = std::move(value);
    return node;
  }
  TemplateExpressionPtr parse_primary() {
    const Token& token = now();
    if (token.kind == Token::Kind::name) {
      ++at_;
      if (token.text == "true" || token.text == "True") return constant(true, token.line);
      if (token.text == "false" || token.text == "False") return constant(false, token.line);
      if (token.text == "none" || token.text == "None") return constant(nullptr, token.line);
      return make(Kind::name, token.line, {}, token.text);
    }
    if (token.kind == Token::Kind::string) {
      std::string text;
      while (now().kind == Token::Kind::string) text += tokens_[at_++].text;
      return constant(std::move(text), token.line);
    }
    if (token.kind == Token::Kind::number) {
      ++at_;
      return constant(token.number, token.line);
    }
    if (take_op("(")) {
      TemplateExpressionPtr node = parse_tuple(true, true);
      expect_op(")");
      return node;
    }
    if (take_op("[")) return make(Kind::list, token.line, parse_items("]"));
    if (take_op("{")) {
      std::vector<TemplateExpressionPtr> entries;
      while (!is_op("}")) {
        if (!entries.empty()) expect_op(",");
        if (is_op("}")) break;
        entries.push_back(parse_expression());
        expect_op(":");
        entries.push_back(parse_expression());
      }
      ++at_;
      return make(Kind::dict, token.line, std::move(entries));
    }
    fail("unexpected " + shown());
  }
  std::vector<TemplateExpressionPtr> parse_items(std::string_view end) {
    std::vector<TemplateExpressionPtr> items;
    while (!is_op(end)) {
      if (!items.empty()) expect_op(",");
      if (is_op(end)) break;
      items.push_back(parse_expression());
    }
    ++at_;
    return items;
  }
  /// One expression, or several with commas between them.
  TemplateExpressionPtr parse_tuple(bool conditional, bool parentheses = false) {
    const int line = now().line;
    const auto at_end = [&] {
      return now().kind == Token::Kind::block_end || now().kind == Token::Kind::output_end || is_op(")");
    };
    std::vector<TemplateExpressionPtr> items;
    bool tuple = false;
    while (!at_end()) {
      items.push_back(parse_expression(conditional));
      if (!take_op(",")) break;
      tuple = true;
    }
    if (!tuple && items.size() == 1) return std::move(items.front());
    if (!tuple && !parentheses) fail("expected an expression, found " + shown());
    return make(Kind::tuple, line, std::move(items));
  }
  TemplateExpressionPtr parse_postfix(TemplateExpressionPtr node) {
    for (;;) {
      const int line = now().line;
      if (take_op(".")) {
        if (now().kind == Token::Kind::number && now().number.is_integer()) {
          TemplateExpressionPtr index = constant(tokens_[at_++].number, line);
          node = make(Kind::subscript, line, parts(std::move(node), std::move(index)));
        } else {
          node = make(Kind::attribute, line, parts(std::move(node)), take_any_name());
        }
      } else if (take_op("[")) {
        node = parse_subscript(std::move(node), line);
      } else if (is_op("(")) {
        node = parse_call(std::move(node), Kind::call, {});
      } else {
        return node;
      }
    }
  }
  TemplateExpressionPtr parse_subscript(TemplateExpressionPtr node, int line) {
    std::vector<TemplateExpressionPtr> bounds = parts(std::move(node));
    bool slice = false;
    const auto bound = [&] {
      const bool missing = is_op(":") || is_op("]") || is_op(",");
      bounds.push_back(missing ? nullptr : parse_expression());
    };
    bound();
    for (int colons = 0; colons < 2 && take_op(":"); ++colons) {
      slice = true;
      bound();
    }
    if (is_op(",")) fail("a subscript of several parts is not supported");
    if (!slice && bounds[1] == nullptr) fail("unexpected " + shown());
    expect_op("]");
    if (slice) bounds.resize(4);
    return make(slice ? Kind::slice : Kind::subscript, line, std::move(bounds));
  }
  /// Arguments in parentheses, after `first`.
  TemplateExpressionPtr parse_call(TemplateExpressionPtr first, Kind kind, std::string text) {
    const Depth depth(*this);
    const int line = now().line;
    std::vector<TemplateExpressionPtr> list = parts(std::move(first));
    std::vector<std::pair<std::string, TemplateExpressionPtr>> named;
    if (take_op("(")) {
      while (!is_op(")")) {
        if (list.size() + named.size() > 1) expect_op(",");
        if (is_op(")")) break;
        if (is_op("*") || is_op("**")) fail("arguments with * are not supported");
        if (now().kind == Token::Kind::name && ahead().kind == Token::Kind::op && ahead().text == "=") {
          std::string name = tokens_[at_].text;
          at_ += 2;
          named.emplace_back(std::move(name), parse_expression());
        } else {
          if (!named.empty()) fail("an argument without a name after one with a name");
          list.push_back(parse_expression());
        }
      }
      ++at_;
    }
    TemplateExpressionPtr node = make(kind, line, std::move(list), std::move(text));
    for (const auto& argument : named) node->depth = std::max(node->depth, argument.second->depth + 1);
    check_depth(*node);
    node->named = std::move(named);
    return node;
  }
  TemplateExpressionPtr parse_filters(TemplateExpressionPtr node) {
    for (;;) {
      if (is_op("|"))
        node = parse_filter(std::move(node));
      else if (take_name("is"))
        node = parse_test(std::move(node));
      else if (is_op("("))
        node = parse_call(std::move(node), Kind::call, {});
      else
        return node;
    }
  }
  TemplateExpressionPtr parse_filter(TemplateExpressionPtr node) {
    expect_op("|");
    std::string name = take_any_name();
    while (take_op(".")) name += "." + take_any_name();
    if (!is_known_template_filter(name)) fail("the filter '" + name + "' is not supported");
    return parse_call(std::move(node), Kind::filter, std::move(name));
  }
  TemplateExpressionPtr parse_test(TemplateExpressionPtr node) {
    const int line = now().line;
    const bool negated = take_name("not");
    std::string name = take_any_name();
    if (!is_known_template_test(name)) fail("the test '" + name + "' is not supported");
    const bool word = now().kind == Token::Kind::name && !is_name("else") && !is_name("or") &&
                      !is_name("and") && !is_name("is") && !is_name("if") && !is_name("not") &&
                      !is_name("in");
    if (is_op("(")) {
      node = parse_call(std::move(node), Kind::test, std::move(name));
    } else if (word || now().kind == Token::Kind::string || now().kind == Token::Kind::number || is_op("[") ||
               is_op("{")) {
      TemplateExpressionPtr argument = parse_postfix(parse_primary());
      node = make(Kind::test, line, parts(std::move(node), std::move(argument)), std::move(name));
    } else {
      node = make(Kind::test, line, parts(std::move(node)), std::move(name));
    }
    return negated ? make(Kind::logical_not, line, parts(std::move(node))) : std::move(node);
  }

  std::vector<TemplateToken> tokens_;
  const std::string& name_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace attune::detail
