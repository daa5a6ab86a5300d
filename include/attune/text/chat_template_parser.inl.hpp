#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/text/chat_template_expressions.inl.hpp>

// The tree of a template, as jinja2/parser.py builds it.

namespace attune::detail {

class TemplateParser : TemplateExpressionParser {
 public:
  TemplateParser(std::vector<TemplateToken> tokens, const std::string& name)
      : TemplateExpressionParser(std::move(tokens), name) {}

  TemplateBody run() { return parse_body({}); }
  bool has_generation() const { return has_generation_; }

 private:
  /// Until one of the words opens a block; that word is the next token.
  TemplateBody parse_body(std::initializer_list<std::string_view> ends) {
    const Depth depth(*this);
    TemplateBody body;
    for (;;) {
      const Token& token = now();
      TemplateStatement statement;
      statement.line = token.line;
      if (token.kind == Token::Kind::end) {
        if (ends.size() > 0)
          fail("expected '" + std::string(*(ends.end() - 1)) + "', found the end of the template");
        return body;
      }
      ++at_;
      if (token.kind == Token::Kind::text) {
        statement.text = token.text;
      } else if (token.kind == Token::Kind::output_begin) {
        statement.kind = TemplateStatement::Kind::output;
        statement.expression = parse_tuple(true);
        expect(Token::Kind::output_end, "'}}'");
      } else {
        for (const std::string_view end : ends)
          if (is_name(end)) return body;
        parse_statement(statement);
      }
      body.push_back(std::move(statement));
    }
  }
  void end_tag() { expect(Token::Kind::block_end, "'%}'"); }
  /// A body and the word that ends it, in a block of its own.
  TemplateBody parse_closed_body(std::string_view end) {
    TemplateBody body = parse_body({end});
    ++at_;
    end_tag();
    return body;
  }

  void parse_statement(TemplateStatement& statement) {
    const std::string word = take_any_name();
    if (word == "if") return parse_if(statement);
    if (word == "for") return parse_for(statement);
    if (word == "set") return parse_set(statement);
    if (word == "macro") return parse_macro(statement);
    if (word == "generation") {
      statement.kind = TemplateStatement::Kind::generation;
      has_generation_ = true;
      end_tag();
      statement.body = parse_closed_body("endgeneration");
    } else if (word == "break" || word == "continue") {
      if (loops_ == 0) fail("'" + word + "' outside of a loop");
      statement.kind = word == "break" ? TemplateStatement::Kind::stop : TemplateStatement::Kind::next;
      end_tag();
    } else {
      --at_;
      fail("the statement '" + word + "' is not supported here");
    }
  }
  void parse_if(TemplateStatement& statement) {
    statement.kind = TemplateStatement::Kind::condition;
    for (;;) {
      TemplateExpressionPtr test = parse_tuple(false);
      end_tag();
      statement.branches.emplace_back(std::move(test), parse_body({"elif", "else", "endif"}));
      if (!take_name("elif")) break;
    }
    if (take_name("else")) {
      end_tag();
      statement.branches.emplace_back(nullptr, parse_body({"endif"}));
    }
    expect_name("endif");
    end_tag();
  }
  TemplateTarget parse_target() {
    TemplateTarget target;
    const bool parentheses = take_op("(");
    do {
      if (parentheses && is_op(")")) break;
      if (now().kind != Token::Kind::name || is_name("in")) break;
      target.names.push_back(take_any_name());
      if (!is_op(",")) break;
      target.tuple = true;
    } while (take_op(","));
    if (target.names.empty()) fail("expected a name, found " + shown());
    if (parentheses) expect_op(")");
    for (const std::string& name : target.names)
      for (const char* reserved : {"true", "false", "none", "True", "False", "None"})
        if (name == reserved) fail("cannot assign to '" + name + "'");
    return target;
  }
  void parse_for(TemplateStatement& statement) {
    statement.kind = TemplateStatement::Kind::loop;
    statement.target = parse_target();
    expect_name("in");
    statement.expression = parse_tuple(false);
    if (take_name("if")) statement.filter = parse_expression();
    if (is_name("recursive")) fail("recursive loops are not supported");
    end_tag();
    ++loops_;
    statement.body = parse_body({"else", "endfor"});
    --loops_;
    if (take_name("else")) {
      end_tag();
      statement.otherwise = parse_body({"endfor"});
    }
    expect_name("endfor");
    end_tag();
  }
  void parse_set(TemplateStatement& statement) {
    statement.target = parse_target();
    if (!statement.target.tuple && take_op(".")) statement.target.attribute = take_any_name();
    if (take_op("=")) {
      statement.kind = TemplateStatement::Kind::set;
      statement.expression = parse_tuple(true);
      end_tag();
      return;
    }
    statement.kind = TemplateStatement::Kind::set_block;
    if (is_op("|")) {
      // The block's text takes the place of this constant.
      statement.expression = constant(std::string(), now().line);
      while (is_op("|")) statement.expression = parse_filter(std::move(statement.expression));
    }
    end_tag();
    statement.body = parse_closed_body("endset");
  }
  void parse_macro(TemplateStatement& statement) {
    statement.kind = TemplateStatement::Kind::macro;
    statement.text = take_any_name();
    expect_op("(");
    while (!is_op(")")) {
      if (!statement.parameters.empty()) expect_op(",");
      if (is_op(")")) break;
      std::string name = take_any_name();
      TemplateExpressionPtr fallback = take_op("=") ? parse_expression() : nullptr;
      if (!fallback && !statement.parameters.empty() && statement.parameters.back().second)
        fail("a parameter without a default after one that has one");
      statement.parameters.emplace_back(std::move(name), std::move(fallback));
    }
    ++at_;
    end_tag();
    const int loops = std::exchange(loops_, 0);
    statement.body = parse_closed_body("endmacro");
    loops_ = loops;
  }

  int loops_ = 0;
  bool has_generation_ = false;
};

}  // namespace attune::detail
