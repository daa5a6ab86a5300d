#include <attune/text/chat_template.hpp>

#include <attune/core/file.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace attune;

namespace {

/// The text, or "TemplateError: ...", or "ConfigError: ...".
std::string rendered(const std::string& source, const TemplateValue& messages = TemplateValue::list({}),
                     const ChatOptions& options = {}) {
  try {
    return ChatTemplate(source, "t").render(messages, options).text;
  } catch (const TemplateError& error) {
    return std::string("TemplateError: ") + error.what();
  } catch (const ConfigError& error) {
    return std::string("ConfigError: ") + error.what();
  }
}

TemplateValue fixture() {
  const std::string path = std::string(ATTUNE_SOURCE_DIR) + "/tests/text/fixtures/chat_templates.json";
  return TemplateValue::parse(read_text_file(path), path);
}

std::string repeat(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

}  // namespace

TEST_CASE("templates render what transformers renders, and mark the same spans") {
  const TemplateValue all = fixture();
  std::size_t texts = 0, errors = 0, spans = 0;
  for (const TemplateValue& item : all.find("cases")->as_list()) {
    const TemplateValue& named = *item.find("template");
    const TemplateValue& whole = *all.find("templates");
    const std::string source =
        named.kind() == TemplateValue::Kind::string
            ? named.as_string()
            : whole.as_list()[static_cast<std::size_t>(named.as_integer())].as_string();
    CAPTURE(source);
    ChatOptions options;
    options.variables = all.find("variables")->as_dict();
    for (const auto& entry : item.as_dict()) {
      if (entry.first == "add_generation_prompt") options.add_generation_prompt = entry.second.as_bool();
      if (entry.first == "tools" && entry.second.as_bool()) options.tools = *all.find("tools");
      if (entry.first == "enable_thinking") options.variables.push_back(entry);
    }
    const TemplateValue& messages = *all.find("chats")->find(item.find("chat")->as_string());
    const TemplateValue& expected = *item.find("expected");
    if (const TemplateValue* error = expected.find("error")) {
      CAPTURE(error->as_string());
      const std::string found = rendered(source, messages, options);
      CHECK_MESSAGE(found.starts_with("TemplateError: t: line "), found);
      ++errors;
      continue;
    }
    try {
      const RenderedChat chat = ChatTemplate(source).render(messages, options);
      CHECK(chat.text == expected.find("text")->as_string());
      std::vector<TextSpan> wanted;
      for (const TemplateValue& span : expected.find("spans")->as_list())
        wanted.push_back({static_cast<std::int32_t>(span.as_list()[0].as_integer()),
                          static_cast<std::int32_t>(span.as_list()[1].as_integer())});
      CHECK(chat.assistant == wanted);
      spans += wanted.size();
      ++texts;
    } catch (const TemplateError& error) {
      FAIL_CHECK(std::string(error.what()));
    }
  }
  CHECK(texts > 300);
  CHECK(errors > 60);
  CHECK(spans > 10);
}

TEST_CASE("errors name the template and the line") {
  CHECK(rendered("a\n\n{{ missing.x }}") ==
        "TemplateError: t: line 3: attribute 'x' of 'missing', which is undefined");
  CHECK(rendered("\n{% if true %}\n") ==
        "TemplateError: t: line 2: expected 'endif', found the end of the template");
  CHECK(rendered("{{ raise_exception('roles must alternate') }}") ==
        "TemplateError: t: line 1: roles must alternate");
  CHECK(rendered("{%\n include 'x' %}") ==
        "TemplateError: t: line 2: the statement 'include' is not supported here");
  CHECK(rendered("{% for a in [] recursive %}{% endfor %}") ==
        "TemplateError: t: line 1: recursive loops are not supported");
  CHECK(rendered("{{ 'x' | groupby('a') }}") ==
        "TemplateError: t: line 1: the filter 'groupby' is not supported");
  CHECK(rendered("{{ '%s' % 1 }}") == "TemplateError: t: line 1: formatting with % is not supported");
  CHECK(rendered("{% raw %}x") == "TemplateError: t: line 1: a raw block does not end");
  CHECK(rendered("{% set x %}{% generation %}a{% endgeneration %}{% endset %}") ==
        "TemplateError: t: line 1: a generation block inside of a macro or a set block is not supported");
  CHECK(rendered("x", TemplateValue("hello")) ==
        "ConfigError: t: expected a list of messages, found a string");
  CHECK(rendered("x", TemplateValue::list({1})) ==
        "ConfigError: t: message 0: expected an object, found an integer");
  try {
    ChatTemplate("\n\n{{", "file.jinja");
    FAIL_CHECK("no error");
  } catch (const FormatError& error) {
    CHECK(error.file == "file.jinja");
    CHECK(error.offset == 3);
  }
}

TEST_CASE("depth, time and memory are bounded") {
  const auto refused = [](const std::string& source, const std::string& reason) {
    const std::string found = rendered(source);
    CHECK_MESSAGE(found.starts_with("TemplateError: t: line "), source.substr(0, 60)
                                                                    << " -> " << found.substr(0, 200));
    CHECK_MESSAGE(found.find(reason) != std::string::npos, source.substr(0, 60)
                                                               << " -> " << found.substr(0, 200));
    CHECK(found.size() < 300);
  };
  refused("{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}", "nested deeper than 200 levels");
  refused("{{ " + repeat("[", 100000) + repeat("]", 100000) + " }}", "nested deeper than 200 levels");
  refused("{{ " + repeat("-", 100000) + "1 }}", "nested deeper than 200 levels");
  refused("{{ " + repeat("not ", 100000) + "1 }}", "nested deeper than 200 levels");
  refused("{{ 1" + repeat(" + 1", 100000) + " }}", "an expression deeper than 400 levels");
  refused("{{ 1" + repeat(" | string", 100000) + " }}", "an expression deeper than 400 levels");
  refused("{{ x" + repeat(".a", 100000) + " }}", "an expression deeper than 400 levels");
  refused("{{ 1" + repeat(" if 1 else 1", 20000) + " }}", "nested deeper than 200 levels");
  refused(repeat("{% if 1 %}", 100000), "nested deeper than 200 levels");
  refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macros call each other deeper than 60 levels");
  refused(repeat("{% for i in range(1000) %}", 5) + repeat("{% endfor %}", 5),
          "takes more than 10000000 steps");
  refused("{{ 'x' * 1000000000000 }}", "a text of more than 67108864 bytes");
  refused("{{ [0] * 1000000000 }}", "takes more than 10000000 steps");
  refused("{{ range(100001) }}", "more than 100000 numbers");
  refused("{{ range(0, 9000000000000000000, 1) }}", "too large");
  refused(
      "{% set ns = namespace(t='0123456789abcdef') %}{% for i in range(40) %}{% set ns.t = ns.t ~ ns.t %}{% "
      "endfor %}",
      "");
  refused("{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}",
          "lists in lists deeper than 200 levels");
  refused(
      "{% set o = namespace(n=0) %}{% for i in range(20000) %}{% set o.n = namespace(p=o.n) %}{% endfor %}",
      "more than 10000 namespaces");
  refused("{{ 9223372036854775807 + 1 }}", "an integer is too large");
  refused("{{ 9223372036854775808 }}", "is too large");
  refused("{{ 3 ** 100 }}", "an integer is too large");
  refused("{% set t = 'ab' * 1000000 %}{% for i in range(100000) %}{% if 'c' in t %}{% endif %}{% endfor %}",
          "steps");
  refused(std::string(2 << 20, 'x'), "a template of more than 1048576 bytes");
  ChatOptions small;
  small.limits.max_output = 10;
  CHECK(rendered("{{ 'abcdef' }}{{ 'abcdef' }}", TemplateValue::list({}), small) ==
        "TemplateError: t: line 1: a text of more than 10 bytes");
  CHECK(rendered("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns.self.self.x is defined }}") ==
        "False");
  CHECK(rendered("{% set o = namespace(n=0) %}{% for i in range(9000) %}{% set o.n = namespace(p=o.n) %}{% "
                 "endfor %}ok") == "ok");
}

TEST_CASE("every truncation and every changed byte of a template renders or throws") {
  const std::string source =
      "{%- macro m(a, b=1) -%}{{ a ~ b | tojson }}{%- endmacro -%}{# c #}{% raw %}{{{% endraw %}\n"
      "{% for x in messages[::-1] if x.role in ('user', \"b\") %}{{ loop.index + 1 }}{% else %}-{% endfor "
      "%}\n"
      "{% set ns = namespace(v={'k': [1, 2.5]}) %}{{ ns.v['k'][0] | default(3) if ns is defined else m(1, "
      "b=2) }}";
  const TemplateValue messages = TemplateValue::parse(R"([{"role":"user","content":"a"}])", "m");
  ChatOptions options;
  options.limits = {.max_output = 1 << 16, .max_steps = 100000};
  REQUIRE_FALSE(rendered(source, messages, options).starts_with("TemplateError"));
  std::size_t refused = 0;
  for (std::size_t size = 0; size < source.size(); ++size)
    refused += rendered(source.substr(0, size), messages, options).starts_with("TemplateError") ? 1 : 0;
  CHECK(refused > source.size() / 2);
  for (std::size_t at = 0; at < source.size(); ++at)
    for (const char c :
         {'{', '}', '%', '(', ')', '\'', '"', ' ', '-', '|', '.', '0', 'a', '\n', '\0', '\xff'}) {
      std::string changed = source;
      changed[at] = c;
      rendered(changed, messages, options);
    }
}

TEST_CASE("every truncation of a published model's template renders or throws") {
  const TemplateValue all = fixture();
  const TemplateValue& messages = *all.find("chats")->find("tools");
  ChatOptions options;
  options.limits = {.max_output = 1 << 16, .max_steps = 100000};
  options.tools = *all.find("tools");
  options.variables = all.find("variables")->as_dict();
  std::size_t refused = 0, tried = 0;
  for (const TemplateValue& whole : all.find("templates")->as_list()) {
    const std::string& source = whole.as_string();
    for (std::size_t size = 0; size < source.size(); size += 3, ++tried)
      refused += rendered(source.substr(0, size), messages, options).starts_with("TemplateError") ? 1 : 0;
  }
  CHECK(refused > tried * 9 / 10);
}

TEST_CASE("messages as values of the program") {
  const std::vector<ChatMessage> messages = {{"user", "Hi \xff"}, {"assistant", "三国"}};
  const ChatTemplate chat(
      "{% for m in messages %}<{{ m.role }}>{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}");
  CHECK(chat.marks_assistant());
  CHECK_FALSE(ChatTemplate("{{ messages }}").marks_assistant());
  const RenderedChat text = chat.render(messages);
  CHECK(text.text == "<user>Hi \xEF\xBF\xBD<assistant>三国");
  CHECK(text.assistant == std::vector<TextSpan>{{6, 10}, {21, 23}});
  Encoding encoding;
  encoding.ids = {1, 2, 3, 4, 5};
  encoding.offsets = {{0, 6}, {5, 7}, {10, 21}, {22, 23}, {0, 0}};
  CHECK(tokens_in_spans(encoding, text.assistant) == std::vector<std::uint8_t>{0, 1, 0, 1, 0});
}

TEST_CASE("strftime_now tells the time that was given") {
  ChatOptions options;
  options.now = std::chrono::system_clock::from_time_t(86400 * 365);
  CHECK(rendered("{{ strftime_now('%Y|') }}{{ strftime_now('') }}", TemplateValue::list({}), options)
            .substr(0, 4) == "1971");
}

TEST_CASE("JSON keeps the order of its keys, and of two equal ones the last value") {
  const TemplateValue value =
      TemplateValue::parse(R"({"z": 1, "a": {"y": [true, null, 2.5, -3]}, "z": 18446744073709551615})", "x");
  REQUIRE(value.as_dict().size() == 2);
  CHECK(value.as_dict()[0].first == "z");
  CHECK(value.as_dict()[0].second.kind() == TemplateValue::Kind::number);
  CHECK(value.find("a")->find("y")->as_list()[3].as_integer() == -3);
  CHECK_THROWS_AS(TemplateValue::parse(repeat("[", 100), "x"), FormatError);
  CHECK_THROWS_AS(TemplateValue::parse("{", "x"), FormatError);
}
