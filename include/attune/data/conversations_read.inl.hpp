#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/data/conversations.hpp>
#include <attune/data/rows.hpp>

// Files of conversations.

namespace attune::detail {

/// What is wrong with a row; the reader adds where it is.
struct BadConversation {
  std::string what;
};

inline std::string text_field(const TemplateValue& row, const char* key, bool needed) {
  const TemplateValue* value = row.find(key);
  if (value == nullptr || value->is_none()) {
    if (needed) throw BadConversation{std::string("expected \"") + key + "\""};
    return {};
  }
  if (!value->is_string()) throw BadConversation{std::string("\"") + key + "\": expected a string"};
  return value->as_string();
}

inline TemplateValue make_message(const std::string& role, TemplateValue content) {
  return TemplateValue::dict({{"role", role}, {"content", std::move(content)}});
}

/// Tools come as a list, or as a string of JSON.
inline TemplateValue tools_of(const TemplateValue& row) {
  const TemplateValue* tools = row.find("tools");
  if (tools == nullptr || tools->is_none()) return nullptr;
  if (tools->is_list()) return tools->as_list().empty() ? TemplateValue(nullptr) : *tools;
  if (!tools->is_string()) throw BadConversation{"\"tools\": expected a list"};
  if (trim(tools->as_string()).empty()) return nullptr;
  try {
    return TemplateValue::parse(tools->as_string(), "tools");
  } catch (const FormatError& error) {
    throw BadConversation{std::string("\"tools\": ") + error.what()};
  }
}

/// A list of messages as it is, but for empty system messages.
inline std::vector<TemplateValue> checked_messages(const TemplateValue& value, const char* key) {
  if (!value.is_list() || value.as_list().empty())
    throw BadConversation{std::string("\"") + key + "\": expected a list of messages"};
  std::vector<TemplateValue> messages;
  for (const TemplateValue& message : value.as_list()) {
    const TemplateValue* role = message.find("role");
    const TemplateValue* content = message.find("content");
    if (role == nullptr || !role->is_string() || role->as_string().empty())
      throw BadConversation{std::string("\"") + key + "\": a message without a role"};
    if (content != nullptr && !content->is_none() && !content->is_string() && !content->is_list())
      throw BadConversation{std::string("\"") + key + "\": \"content\": expected a string"};
    if ((content == nullptr || content->is_none()) && message.find("tool_calls") == nullptr)
      throw BadConversation{std::string("\"") + key + "\": a message without content"};
    const bool blank = content != nullptr && content->is_string() && trim(content->as_string()).empty();
    if (role->as_string() != "system" || !blank) messages.push_back(message);
  }
  if (messages.empty())
    throw BadConversation{std::string("\"") + key + "\": expected a message that is not empty"};
  return messages;
}

inline Conversation from_messages(const TemplateValue& row, const char* key) {
  Conversation conversation;
  conversation.messages = TemplateValue::list(checked_messages(*row.find(key), key));
  conversation.tools = tools_of(row);
  return conversation;
}

inline Conversation from_sharegpt(const TemplateValue& row) {
  const TemplateValue* turns = row.find("conversations");
  if (turns == nullptr || !turns->is_list() || turns->as_list().empty())
    throw BadConversation{"\"conversations\": expected a list of turns"};
  std::vector<TemplateValue> messages;
  const std::string system = text_field(row, "system", false);
  if (!trim(system).empty()) messages.push_back(make_message("system", system));
  for (const TemplateValue& turn : turns->as_list()) {
    if (!turn.is_dict()) throw BadConversation{"\"conversations\": expected objects"};
    const std::string from = text_field(turn, "from", true);
    const auto is = [&](std::initializer_list<std::string_view> names) {
      return std::find(names.begin(), names.end(), from) != names.end();
    };
    std::string role;
    if (is({"human", "user"}))
      role = "user";
    else if (is({"gpt", "assistant", "bot", "model", "chatgpt", "function_call"}))
      role = "assistant";
    else if (is({"system"}))
      role = "system";
    else if (is({"observation", "tool", "function"}))
      role = "tool";
    else
      throw BadConversation{"\"from\": expected human, gpt, system, function_call or observation, found '" +
                            from.substr(0, 60) + "'"};
    messages.push_back(make_message(role, text_field(turn, "value", true)));
  }
  Conversation conversation;
  conversation.messages = TemplateValue::list(std::move(messages));
  conversation.tools = tools_of(row);
  return conversation;
}

inline Conversation from_alpaca(const TemplateValue& row) {
  std::vector<TemplateValue> messages;
  const std::string system = text_field(row, "system", false), input = text_field(row, "input", false);
  if (!trim(system).empty()) messages.push_back(make_message("system", system));
  const TemplateValue* history = row.find("history");
  if (history != nullptr && !history->is_none()) {
    if (!history->is_list()) throw BadConversation{"\"history\": expected a list of pairs"};
    for (const TemplateValue& pair : history->as_list()) {
      if (!pair.is_list() || pair.as_list().size() != 2 || !pair.as_list()[0].is_string() ||
          !pair.as_list()[1].is_string())
        throw BadConversation{"\"history\": expected pairs of a question and an answer"};
      messages.push_back(make_message("user", pair.as_list()[0]));
      messages.push_back(make_message("assistant", pair.as_list()[1]));
    }
  }
  const std::string instruction = text_field(row, "instruction", true);
  messages.push_back(make_message("user", input.empty()         ? instruction
                                          : instruction.empty() ? input
                                                                : instruction + "\n" + input));
  messages.push_back(make_message("assistant", text_field(row, "output", true)));
  Conversation conversation;
  conversation.messages = TemplateValue::list(std::move(messages));
  return conversation;
}

inline Conversation from_completion(const TemplateValue& row) {
  const TemplateValue* prompt = row.find("prompt");
  Conversation conversation;
  if (prompt != nullptr && prompt->is_list()) {
    std::vector<TemplateValue> messages = checked_messages(*prompt, "prompt");
    const TemplateValue* completion = row.find("completion");
    if (completion == nullptr) throw BadConversation{"expected \"completion\""};
    for (const TemplateValue& message : checked_messages(*completion, "completion"))
      messages.push_back(message);
    conversation.messages = TemplateValue::list(std::move(messages));
    conversation.tools = tools_of(row);
    return conversation;
  }
  conversation.prompt = text_field(row, "prompt", true);
  conversation.completion = text_field(row, "completion", true);
  if (conversation.completion.empty())
    throw BadConversation{"\"completion\": expected a text that is not empty"};
  return conversation;
}

inline Conversation from_text(std::string text) {
  if (trim(text).empty()) throw BadConversation{"expected a text that is not empty"};
  Conversation conversation;
  conversation.completion = std::move(text);
  return conversation;
}

inline Conversation from_row(const TemplateValue& row, ConversationFormat format) {
  if (!row.is_dict()) throw BadConversation{"expected an object"};
  const auto has = [&](const char* key) { return row.find(key) != nullptr; };
  if (format == ConversationFormat::automatic) {
    if (has("messages"))
      format = ConversationFormat::messages;
    else if (has("conversations"))
      format = ConversationFormat::sharegpt;
    else if (has("instruction"))
      format = ConversationFormat::alpaca;
    else if (has("completion"))
      format = ConversationFormat::completion;
    else if (has("text"))
      format = ConversationFormat::text;
    else
      throw BadConversation{
          "expected one of the keys messages, conversations, instruction, completion and text"};
  }
  switch (format) {
    case ConversationFormat::sharegpt: {
      const TemplateValue* turns = row.find("conversations");
      const bool renamed = turns != nullptr && turns->is_list() && !turns->as_list().empty() &&
                           turns->as_list()[0].find("role") != nullptr;
      return renamed ? from_messages(row, "conversations") : from_sharegpt(row);
    }
    case ConversationFormat::alpaca:
      return from_alpaca(row);
    case ConversationFormat::completion:
      return from_completion(row);
    case ConversationFormat::text:
      return from_text(text_field(row, "text", true));
    default:
      if (!has("messages")) throw BadConversation{"expected \"messages\""};
      return from_messages(row, "messages");
  }
}

/// A cell as it was before Dify's server kept spreadsheets from reading it as a formula.
inline std::string dify_cell(std::string_view cell) {
  if (cell.size() >= 2 && cell[0] == '\'' && std::string_view("=+-@").find(cell[1]) != std::string_view::npos)
    cell.remove_prefix(1);
  return std::string(cell);
}

inline std::vector<Conversation> parse_dify_csv(const std::string& content, const std::string& name,
                                                BadRows bad_rows) {
  const Table table =
      parse_table(content, name, {.format = TableFormat::csv, .header = true, .bad_rows = bad_rows});
  const auto column = [&](std::initializer_list<std::string_view> names) {
    for (const std::string_view wanted : names)
      if (const int found = table.find_column(wanted); found >= 0) return found;
    return -1;
  };
  const int question =
      column({"Question", "question", "问题", "Content", "content", "segment content", "分段内容", "内容"});
  const int answer = column({"Answer", "answer", "答案"});
  if (question < 0)
    throw line_error(name, 1,
                     "expected the columns Question,Answer or 问题,答案 of annotations, or content or "
                     "分段内容 of segments");
  std::vector<Conversation> conversations;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    Conversation conversation;
    const std::string asked = dify_cell(table.find(row, question).value_or(""));
    const std::string answered = answer < 0 ? "" : dify_cell(table.find(row, answer).value_or(""));
    const bool blank = trim(asked).empty();
    if (blank || (answer >= 0 && trim(answered).empty())) {
      if (bad_rows == BadRows::error)
        throw line_error(
            name, table.line(row),
            "column '" + table.names()[static_cast<std::size_t>(blank ? question : answer)] + "' is empty");
      continue;
    }
    if (answer >= 0)
      conversation.messages =
          TemplateValue::list({make_message("user", asked), make_message("assistant", answered)});
    else
      conversation.completion = asked;
    conversations.push_back(std::move(conversation));
  }
  return conversations;
}

/// Rows of JSON with the line, or the number of the element, on which each is.
class ConversationRows {
 public:
  ConversationRows(const std::string& name, const ConversationReadOptions& options)
      : name_(name), options_(options) {}

  void read_array(std::string_view content) {
    const TemplateValue rows = TemplateValue::parse(content, name_);
    for (std::size_t i = 0; i < rows.as_list().size(); ++i) {
      try {
        add(rows.as_list()[i]);
      } catch (const BadConversation& bad) {
        reject(FormatError(name_, -1, "element " + std::to_string(i) + ": " + bad.what));
      }
    }
  }
  void read_lines(std::string_view content) {
    std::int64_t line = 0;
    while (!content.empty()) {
      ++line;
      const std::size_t end = content.find('\n');
      const std::string_view text = trim(content.substr(0, end));
      content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
      if (text.empty()) continue;
      try {
        add(TemplateValue::parse(text, name_));
      } catch (const BadConversation& bad) {
        reject(line_error(name_, line, bad.what));
      } catch (const FormatError& error) {
        reject(line_error(name_, line, std::string(error.what()).substr(name_.size())));
      }
    }
  }
  std::vector<Conversation> take() { return std::move(conversations_); }

 private:
  void add(const TemplateValue& row) { conversations_.push_back(from_row(row, options_.format)); }
  void reject(const FormatError& error) const {
    if (options_.bad_rows == BadRows::error) throw error;
  }

  const std::string& name_;
  ConversationReadOptions options_;
  std::vector<Conversation> conversations_;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::vector<Conversation> parse_conversations(const std::string& content,
                                                            const std::string& name,
                                                            const ConversationReadOptions& options) {
  const std::string text = detail::to_utf8(content, name);
  std::vector<Conversation> conversations;
  if (name.ends_with(".csv")) {
    if (options.format != ConversationFormat::automatic && options.format != ConversationFormat::dify)
      throw ConfigError(name + ": only Dify's exports are read from CSV");
    conversations = detail::parse_dify_csv(text, name, options.bad_rows);
  } else {
    detail::ConversationRows rows(name, options);
    if (detail::trim(text).starts_with('['))
      rows.read_array(text);
    else
      rows.read_lines(text);
    conversations = rows.take();
  }
  if (conversations.empty()) throw FormatError(name, -1, "expected at least one conversation, found none");
  return conversations;
}

ATTUNE_INLINE std::vector<Conversation> read_conversations(const std::string& file,
                                                           const ConversationReadOptions& options) {
  return parse_conversations(detail::read_utf8_file(file), file, options);
}

}  // namespace attune
