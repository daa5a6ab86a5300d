#pragma once

#include <string>
#include <utility>
#include <vector>

#include <attune/text/chat_template.hpp>
#include <attune/text/chat_template_render.inl.hpp>

namespace attune {

namespace detail {

/// A message under all the names by which templates call its reasoning.
inline TemplateValue with_reasoning(const TemplateValue& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const TemplateValue* reasoning = message.find(name);
    if (reasoning == nullptr || reasoning->is_none()) continue;
    std::vector<std::pair<std::string, TemplateValue>> entries = {{"thinking", *reasoning}};
    entries.insert(entries.end(), message.as_dict().begin(), message.as_dict().end());
    entries.emplace_back("reasoning_content", *reasoning);
    return TemplateValue::dict(std::move(entries));
  }
  return message;
}

}  // namespace detail

struct ChatTemplate::Parsed {
  std::string name;
  detail::TemplateBody body;
  bool has_generation = false;
};

ATTUNE_INLINE ChatTemplate::ChatTemplate(std::string_view source, std::string name) {
  auto parsed = std::make_shared<Parsed>();
  parsed->name = std::move(name);
  std::string text(source);
  if (text.size() > (std::size_t{1} << 20))
    throw TemplateError(parsed->name, 1, "a template of more than 1048576 bytes");
  if (detail::valid_utf8_prefix(text) < text.size()) text = detail::replace_invalid_utf8(text);
  detail::TemplateParser parser(detail::TemplateLexer(text, parsed->name).run(), parsed->name);
  parsed->body = parser.run();
  parsed->has_generation = parser.has_generation();
  parsed_ = std::move(parsed);
}

ATTUNE_INLINE bool ChatTemplate::marks_assistant() const { return parsed_->has_generation; }

ATTUNE_INLINE RenderedChat ChatTemplate::render(const TemplateValue& messages,
                                                const ChatOptions& options) const {
  const auto given = [](const TemplateValue& value) {
    return value.is_undefined() ? TemplateValue(nullptr) : value;
  };
  std::vector<TemplateValue> chat;
  for (std::size_t i = 0; messages.is_list() && i < messages.as_list().size(); ++i) {
    if (!messages.as_list()[i].is_dict())
      throw ConfigError(parsed_->name + ": message " + std::to_string(i) + ": expected an object, found " +
                        detail::kind_name(messages.as_list()[i]));
    chat.push_back(detail::with_reasoning(messages.as_list()[i]));
  }
  if (!messages.is_list())
    throw ConfigError(parsed_->name + ": expected a list of messages, found " + detail::kind_name(messages));
  std::vector<std::pair<std::string, TemplateValue>> variables = {
      {"messages", TemplateValue::list(std::move(chat))},
      {"tools", given(options.tools)},
      {"documents", given(options.documents)},
      {"add_generation_prompt", options.add_generation_prompt}};
  for (const auto& variable : options.variables) variables.push_back(variable);
  return detail::TemplateRenderer(parsed_->name, options).run(parsed_->body, std::move(variables));
}

ATTUNE_INLINE RenderedChat ChatTemplate::render(std::span<const ChatMessage> messages,
                                                const ChatOptions& options) const {
  std::vector<TemplateValue> list;
  for (const ChatMessage& message : messages)
    list.push_back(TemplateValue::dict({{"role", message.role}, {"content", message.content}}));
  return render(TemplateValue::list(std::move(list)), options);
}

ATTUNE_INLINE std::vector<std::uint8_t> tokens_in_spans(const Encoding& encoding,
                                                        std::span<const TextSpan> spans) {
  std::vector<std::uint8_t> mask(encoding.ids.size(), 0);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    const TextSpan& token = encoding.offsets[i];
    for (const TextSpan& span : spans)
      if (token.begin < span.end && span.begin < token.end) mask[i] = 1;
  }
  return mask;
}

}  // namespace attune
