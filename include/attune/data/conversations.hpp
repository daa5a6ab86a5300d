#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/data/causal_lm.hpp>
#include <attune/data/table.hpp>
#include <attune/data/text_encoder.hpp>
#include <attune/text/chat_template.hpp>

namespace attune {

/// How a file holds conversations.
enum class ConversationFormat {
  automatic,   ///< by the keys of each row, or the columns of a .csv file
  messages,    ///< {"messages": [{"role", "content"}, ...], "tools": [...]}
  sharegpt,    ///< {"conversations": [{"from", "value"}, ...], "system", "tools"}
  alpaca,      ///< {"instruction", "input", "output", "system", "history": [[question, answer], ...]}
  completion,  ///< {"prompt", "completion"}: two texts, or two lists of messages
  text,        ///< {"text"}: all of it is to be learned
  dify  ///< Dify's exports of annotations (CSV "Question,Answer" or "问题,答案"; JSON lines as messages) and
        ///< of segments (CSV "content" or "分段内容", with or without answers)
};

/// One row of a file: messages, or a prompt (which may be empty) and a completion as plain text.
struct Conversation {
  TemplateValue messages = nullptr;  ///< a list of {"role", "content"} and what else the file says, or none
  TemplateValue tools = nullptr;
  std::string prompt = {};
  std::string completion = {};
  bool is_chat() const { return messages.is_list(); }
};

struct ConversationReadOptions {
  ConversationFormat format = ConversationFormat::automatic;
  BadRows bad_rows = BadRows::error;
};

/// Reads a JSON array of objects, JSON lines, or (for Dify) a CSV file; a byte order mark is allowed. The '
/// that Dify's server puts before a = + - or @ at the beginning of a cell is taken away again, and empty
/// system messages are left out. Throws IoError, and FormatError naming the line (or the element of an array)
/// for what does not fit unless bad rows are skipped, and when no row is left.
std::vector<Conversation> read_conversations(const std::string& file,
                                             const ConversationReadOptions& options = {});
/// The same for text in memory; `name` stands for the file, its extension included.
std::vector<Conversation> parse_conversations(const std::string& content, const std::string& name,
                                              const ConversationReadOptions& options = {});

/// Which tokens of a conversation are to be learned.
enum class TrainOn {
  assistant,   ///< every turn of the assistant
  completion,  ///< the assistant's last turn
  everything
};

struct ConversationOptions {
  /// The most tokens of a row; the rest is cut off. 0 for no limit.
  std::int64_t max_length = 2048;
  TrainOn train_on = TrainOn::assistant;
  /// Jinja source; empty: the tokenizer's own.
  std::string chat_template = {};
  /// More variables of the template, such as {"enable_thinking", false}.
  std::vector<std::pair<std::string, TemplateValue>> variables = {};
  /// Puts the tokenizer's eos_token behind completions that are plain text.
  bool add_eos_token = true;
  /// Leaves out rows in which no token is to be learned; otherwise they are kept, and a batch of nothing else
  /// is an error.
  bool skip_untrained = false;
};

/// Turns conversations into tokens by the chat template, as transformers' apply_chat_template does: no
/// special tokens but those that the template writes. The assistant's turns are what stands in {% generation
/// %} blocks; for a template without them, what each turn adds to the text before it, the white space at its
/// end left out. Plain text is tokenised as it is. Throws ConfigError (naming the row) when there is no
/// template, TemplateError, and ConfigError when a turn changes the text before it so that it cannot be
/// found.
CausalLmDataset make_conversation_dataset(const TextEncoder& tokenizer,
                                          std::span<const Conversation> conversations,
                                          const ConversationOptions& options = {});

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/conversations.inl.hpp>
#endif
