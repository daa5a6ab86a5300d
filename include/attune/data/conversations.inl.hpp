#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/data/conversations.hpp>
#include <attune/data/conversations_read.inl.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// A rendered conversation and what of it is to be learned.
struct TrainText {
  std::string text;
  std::vector<TextSpan> spans;
};

/// A place of a span: the length of a text in code points.
inline std::int32_t span_place(std::string_view text) {
  return static_cast<std::int32_t>(count_code_points(text));
}

/// Turns conversations into text and spans.
class ConversationRenderer {
 public:
  ConversationRenderer(const TextEncoder& tokenizer, const ConversationOptions& options)
      : train_on_(options.train_on), eos_(options.add_eos_token ? tokenizer.special_token("eos_token") : "") {
    const std::string& source =
        options.chat_template.empty() ? tokenizer.chat_template() : options.chat_template;
    if (!source.empty()) template_.emplace(source);
    for (const char* name :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      const std::string token = tokenizer.special_token(name);
      if (!token.empty()) chat_.variables.emplace_back(name, token);
    }
    chat_.variables.insert(chat_.variables.end(), options.variables.begin(), options.variables.end());
  }

  TrainText render(const Conversation& conversation) const {
    TrainText result;
    if (!conversation.is_chat()) {
      result.text = conversation.prompt + conversation.completion + eos_;
      const std::int32_t begin = train_on_ == TrainOn::everything ? 0 : span_place(conversation.prompt);
      result.spans = {{begin, span_place(result.text)}};
      return result;
    }
    if (!template_)
      throw ConfigError(
          "a conversation needs a chat template; the tokenizer has none, so give ConversationOptions one");
    ChatOptions options = chat_;
    options.tools = conversation.tools;
    RenderedChat chat = template_->render(conversation.messages, options);
    if (train_on_ == TrainOn::everything)
      result.spans = {{0, span_place(chat.text)}};
    else
      result.spans = template_->marks_assistant() ? std::move(chat.assistant)
                                                  : find_turns(conversation, chat.text, options);
    if (train_on_ == TrainOn::completion && result.spans.size() > 1)
      result.spans.erase(result.spans.begin(), result.spans.end() - 1);
    result.text = std::move(chat.text);
    return result;
  }

 private:
  /// What each turn of the assistant adds: rendered without it, and with it and nothing behind.
  std::vector<TextSpan> find_turns(const Conversation& conversation, const std::string& whole,
                                   ChatOptions options) const {
    const std::vector<TemplateValue>& messages = conversation.messages.as_list();
    std::vector<TextSpan> spans;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const TemplateValue* role = messages[i].find("role");
      if (role == nullptr || !role->is_string() || role->as_string() != "assistant") continue;
      const auto first = [&](std::size_t count) {
        return TemplateValue::list({messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(count)});
      };
      options.add_generation_prompt = true;
      const std::string before = i == 0 ? std::string() : template_->render(first(i), options).text;
      options.add_generation_prompt = false;
      const std::string with =
          i + 1 == messages.size() ? whole : template_->render(first(i + 1), options).text;
      if (!with.starts_with(before) || !whole.starts_with(with))
        throw ConfigError(
            "message " + std::to_string(i) +
            " changes the text before it, so that the assistant's turn cannot be told from the rest; mark "
            "it with {% generation %} in the template, or train on everything");
      const std::size_t end = with.find_last_not_of(" \t\r\n") == std::string::npos
                                  ? before.size()
                                  : std::max(before.size(), with.find_last_not_of(" \t\r\n") + 1);
      spans.push_back({span_place(std::string_view(whole).substr(0, before.size())),
                       span_place(std::string_view(whole).substr(0, end))});
    }
    return spans;
  }

  TrainOn train_on_;
  std::string eos_;
  std::optional<ChatTemplate> template_;
  ChatOptions chat_;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE CausalLmDataset make_conversation_dataset(const TextEncoder& tokenizer,
                                                        std::span<const Conversation> conversations,
                                                        const ConversationOptions& options) {
  if (options.max_length < 0)
    throw ConfigError("ConversationOptions: max_length must not be negative, found " +
                      std::to_string(options.max_length));
  const detail::ConversationRenderer renderer(tokenizer, options);
  std::vector<TokenRow> rows(conversations.size());
  parallel_chunks(
      static_cast<std::int64_t>(conversations.size()), /*grain=*/8,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const auto at = static_cast<std::size_t>(i);
          detail::TrainText text;
          try {
            text = renderer.render(conversations[at]);
          } catch (const TemplateError& error) {
        const std::string place = error.file + ": line " + std::to_string(error.offset) + ": ";
        throw TemplateError("conversation " + std::to_string(i) + ": " + error.file, error.offset,
                            std::string(error.what()).substr(place.size()));
      } catch (const ConfigError& error) {
            throw ConfigError("conversation " + std::to_string(i) + ": " + error.what());
          }
          const Encoding encoding =
              tokenizer.encode(text.text, {.max_length = options.max_length, .add_special_tokens = false});
          const std::vector<std::uint8_t> learned = tokens_in_spans(encoding, text.spans);
          TokenRow& row = rows[at];
          row.ids = encoding.ids;
          for (std::size_t t = 0; t < row.ids.size(); ++t)
            row.labels.push_back(learned[t] != 0 ? row.ids[t] : ignore_index);
        }
      });
  std::erase_if(rows, [&](const TokenRow& row) {
    return row.ids.empty() || (options.skip_untrained && detail::trained_tokens(row) == 0);
  });
  if (rows.empty()) throw ConfigError("make_conversation_dataset: no conversation has a token to be learned");
  return CausalLmDataset(std::move(rows));
}

}  // namespace attune
