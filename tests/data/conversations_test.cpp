#include <attune/data/conversations.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "character_tokenizer.hpp"

using namespace attune;
using attune_test::CharacterTokenizer;

namespace {

/// "role:content|role:content", or "prompt>completion".
std::string shown(const Conversation& conversation) {
  if (!conversation.is_chat()) return conversation.prompt + ">" + conversation.completion;
  std::string text;
  for (const TemplateValue& message : conversation.messages.as_list())
    text += (text.empty() ? "" : "|") + message.find("role")->as_string() + ":" +
            message.find("content")->as_string();
  return text;
}

std::vector<std::string> parsed(const std::string& content, const std::string& name = "x.jsonl",
                                const ConversationReadOptions& options = {}) {
  std::vector<std::string> result;
  for (const Conversation& conversation : parse_conversations(content, name, options))
    result.push_back(shown(conversation));
  return result;
}

std::string error_of(const std::string& content, const std::string& name = "x.jsonl",
                     const ConversationReadOptions& options = {}) {
  try {
    parse_conversations(content, name, options);
  } catch (const FormatError& error) {
    return std::string("FormatError: ") + error.what();
  } catch (const ConfigError& error) {
    return std::string("ConfigError: ") + error.what();
  }
  return "none";
}

/// The text with what is to be learned in brackets.
std::string learned(const CausalLmDataset& dataset, std::int64_t row) {
  std::string text;
  bool inside = false;
  const TokenRow& tokens = dataset.row(row);
  for (std::size_t i = 0; i <= tokens.ids.size(); ++i) {
    const bool now = i < tokens.ids.size() && tokens.labels[i] != ignore_index;
    if (now != inside) text += now ? "[" : "]";
    inside = now;
    if (i < tokens.ids.size()) detail::append_utf8(text, static_cast<char32_t>(tokens.ids[i]));
  }
  return text;
}

const std::string plain_template =
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}{% if "
    "add_generation_prompt "
    "%}<assistant>{% endif %}";
const std::string marked_template =
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</>{% "
    "endgeneration %}{% else %}{{ m.content }}</>{% endif %}{% endfor %}";

std::vector<Conversation> chat() {
  return parse_conversations(
      R"({"messages":[{"role":"user","content":"三"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"国d"}]})",
      "chat.jsonl");
}

}  // namespace

TEST_CASE("messages, ShareGPT, Alpaca and completions are read") {
  CHECK(
      parsed(
          R"({"messages":[{"role":"system","content":" "},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})") ==
      std::vector<std::string>{"user:a|assistant:b"});
  CHECK(
      parsed(
          "\xEF\xBB\xBF[{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":"
          "\"b\"}],\"system\":\"s\"},\n"
          R"({"conversations":[{"from":"user","value":"c"},{"from":"function_call","value":"{}"},{"from":"observation","value":"o"},{"from":"gpt","value":"d"}]},)"
          R"({"conversations":[{"role":"user","content":"e"}]}])",
          "x.json") == std::vector<std::string>{"system:s|user:a|assistant:b",
                                                "user:c|assistant:{}|tool:o|assistant:d", "user:e"});
  CHECK(parsed(R"({"instruction":"i","input":"","output":"o"})"
               "\n\n"
               R"({"instruction":"i","input":"n","output":"o","system":"s","history":[["q","a"]]})"
               "\r\n"
               R"({"instruction":"","input":"n","output":"o","history":null})") ==
        std::vector<std::string>{"user:i|assistant:o", "system:s|user:q|assistant:a|user:i\nn|assistant:o",
                                 "user:n|assistant:o"});
  CHECK(parsed(R"({"prompt":"p","completion":"c"})") == std::vector<std::string>{"p>c"});
  CHECK(
      parsed(
          R"({"prompt":[{"role":"user","content":"p"}],"completion":[{"role":"assistant","content":"c"}]})") ==
      std::vector<std::string>{"user:p|assistant:c"});
  CHECK(parsed(R"({"text":"t"})") == std::vector<std::string>{">t"});
  const auto tools = parse_conversations(
      R"({"conversations":[{"from":"human","value":"a"}],"tools":"[{\"name\":\"f\"}]"})", "x.jsonl");
  REQUIRE(tools[0].tools.is_list());
  CHECK(tools[0].tools.as_list()[0].find("name")->as_string() == "f");
}

TEST_CASE("Dify's exports are read") {
  const std::vector<std::string> expected = {"user:谁?|assistant:=1+1", "user:a,b|assistant:x\ny"};
  for (const std::string header : {"Question,Answer", "\xEF\xBB\xBF问题,答案", "question,answer"})
    CHECK(parsed(header + "\r\n谁?,'=1+1\r\n\"a,b\",\"x\ny\"\r\n", "annotations.csv") == expected);
  CHECK(
      parsed("question,answer\n'-a,'@b\n'quoted','+\n''=,'\n", "a.csv") ==
      std::vector<std::string>{"user:-a|assistant:@b", "user:'quoted'|assistant:+", "user:''=|assistant:'"});
  CHECK(parsed("content\n段落\n'=x\n", "segments.csv", {.format = ConversationFormat::dify}) ==
        std::vector<std::string>{">段落", ">=x"});
  CHECK(parsed("分段内容,答案\na,b\n", "segments.csv") == std::vector<std::string>{"user:a|assistant:b"});
  CHECK(
      parsed(
          R"({"messages":[{"role":"system","content":""},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})",
          "a.jsonl", {.format = ConversationFormat::dify}) == std::vector<std::string>{"user:q|assistant:a"});
  CHECK(error_of("a,b\n1,2\n", "x.csv").find("x.csv: line 1: expected the columns Question,Answer") !=
        std::string::npos);
  CHECK(error_of("Question,Answer\na,b\nc,\n", "x.csv") ==
        "FormatError: x.csv: line 3: column 'Answer' is empty");
  CHECK(parsed("Question,Answer\na,b\nc,\n", "x.csv", {.bad_rows = BadRows::skip}).size() == 1);
  CHECK(error_of("Question,Answer\na,b\n", "x.csv", {.format = ConversationFormat::alpaca}) ==
        "ConfigError: x.csv: only Dify's exports are read from CSV");
}

TEST_CASE("rows that are no conversations are refused with their line") {
  const std::string good = R"({"text":"t"})";
  const auto line = [&](const std::string& row, const std::string& what) {
    const std::string found = error_of(good + "\n" + row + "\n");
    CHECK_MESSAGE(found.starts_with("FormatError: x.jsonl: line 2: "), found);
    CHECK_MESSAGE(found.find(what) != std::string::npos, found);
    CHECK(parsed(good + "\n" + row + "\n", "x.jsonl", {.bad_rows = BadRows::skip}).size() == 1);
  };
  line("{", "");
  line("3", "expected an object");
  line("{}", "expected one of the keys");
  line(R"({"messages":3})", "expected a list of messages");
  line(R"({"messages":[]})", "expected a list of messages");
  line(R"({"messages":[{"content":"x"}]})", "a message without a role");
  line(R"({"messages":[{"role":"user"}]})", "a message without content");
  line(R"({"messages":[{"role":"user","content":3}]})", "\"content\": expected a string");
  line(R"({"messages":[{"role":"system","content":""}]})", "expected a message that is not empty");
  line(R"({"conversations":[{"from":"alien","value":"x"}]})", "found 'alien'");
  line(R"({"conversations":[{"from":"human"}]})", "expected \"value\"");
  line(R"({"conversations":[]})", "expected a list of turns");
  line(R"({"conversations":[{"from":"human","value":"x"}],"tools":"["})", "\"tools\": ");
  line(R"({"instruction":"x"})", "expected \"output\"");
  line(R"({"instruction":"x","output":"y","history":[["a"]]})", "expected pairs of a question and an answer");
  line(R"({"prompt":"x","completion":""})", "expected a text that is not empty");
  line(R"({"completion":"x"})", "expected \"prompt\"");
  line(R"({"text":"  "})", "expected a text that is not empty");
  CHECK(error_of("[{\"text\":\"t\"},{}]", "x.json")
            .starts_with("FormatError: x.json: element 1: expected one of"));
  CHECK(error_of("", "x.jsonl") == "FormatError: x.jsonl: expected at least one conversation, found none");
  CHECK(error_of(R"({"text":"t"})", "x.jsonl", {.format = ConversationFormat::messages})
            .ends_with("expected \"messages\""));
  CHECK(error_of(std::string(100000, '['), "x.json").starts_with("FormatError: x.json"));
}

TEST_CASE("the assistant's turns are learned, told by generation blocks or by what each turn adds") {
  const std::vector<Conversation> conversations = chat();
  const auto with = [&](const std::string& source, TrainOn train_on, std::int64_t max_length = 0) {
    return learned(make_conversation_dataset(CharacterTokenizer{.source = source}, conversations,
                                             {.max_length = max_length, .train_on = train_on}),
                   0);
  };
  CHECK(with(marked_template, TrainOn::assistant) ==
        "<user>三</><assistant>[b</>]<user>c</><assistant>[国d</>]");
  CHECK(with(marked_template, TrainOn::completion) ==
        "<user>三</><assistant>b</><user>c</><assistant>[国d</>]");
  CHECK(with(plain_template, TrainOn::assistant) ==
        "^<user>三</>\n<assistant>[b</>]\n<user>c</>\n<assistant>[国d</>]\n");
  CHECK(with(plain_template, TrainOn::completion) ==
        "^<user>三</>\n<assistant>b</>\n<user>c</>\n<assistant>[国d</>]\n");
  CHECK(with(plain_template, TrainOn::everything).starts_with("[^<user>"));
  CHECK(with(marked_template, TrainOn::assistant, 22) == "<user>三</><assistant>[b]");
}

TEST_CASE("prompts with completions and plain texts are learned with the end token") {
  const auto conversations =
      parse_conversations("{\"prompt\":\"三? \",\"completion\":\"国\"}\n{\"text\":\"ab\"}", "x.jsonl");
  const CharacterTokenizer tokenizer;
  const auto dataset = make_conversation_dataset(tokenizer, conversations);
  CHECK(learned(dataset, 0) == "三? [国$]");
  CHECK(learned(dataset, 1) == "[ab$]");
  CHECK(learned(make_conversation_dataset(tokenizer, conversations,
                                          {.train_on = TrainOn::everything, .add_eos_token = false}),
                0) == "[三? 国]");
}

TEST_CASE("what cannot be learned is said") {
  const auto conversations = chat();
  const auto error = [&](const std::string& source, const ConversationOptions& options = {}) -> std::string {
    try {
      make_conversation_dataset(CharacterTokenizer{.source = source}, conversations, options);
    } catch (const Error& failure) {
      return failure.what();
    }
    return "none";
  };
  CHECK(error("").starts_with("conversation 0: a conversation needs a chat template"));
  CHECK(error("{{ raise_exception('no') }}") == "conversation 0: chat_template: line 1: no");
  CHECK(error("{{ messages | length }}{{ messages[-1].content }}").find("changes the text before it") !=
        std::string::npos);
  CHECK(error(marked_template, {.max_length = -1}).find("max_length must not be negative") !=
        std::string::npos);
  CHECK(
      error(marked_template, {.max_length = 5, .skip_untrained = true}).find("no conversation has a token") !=
      std::string::npos);
  CHECK(error("{{ x }}{{ messages[0].content }}{% generation %}{% endgeneration %}",
              {.variables = {{"x", TemplateValue(7)}}}) == "none");
  const auto dataset = make_conversation_dataset(CharacterTokenizer{.source = marked_template}, conversations,
                                                 {.max_length = 5});
  const std::vector<std::int64_t> rows = {0};
  CHECK_THROWS_WITH_AS(dataset.batch(rows), doctest::Contains("no token of rows 0 is to be learned"),
                       ConfigError);
}
