#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/text/chat_template_value.hpp>
#include <attune/text/encoding.hpp>

namespace attune {

/// A chat template that is malformed, uses what is not supported, computes nonsense, takes too long, or calls
/// raise_exception. `offset` is the line of the template.
class TemplateError : public FormatError {
 public:
  TemplateError(const std::string& name, std::int64_t line, const std::string& what)
      : FormatError(name, -1, "line " + std::to_string(line) + ": " + what) {
    offset = line;
  }
};

/// What rendering may use at most; templates come from strangers.
struct ChatTemplateLimits {
  std::size_t max_output = std::size_t{64} << 20;  ///< bytes
  /// Steps: one for each part of an expression or statement that is evaluated four for an element
  /// of a list, and one for each 16 bytes of text that are made or searched.
  std::int64_t max_steps = 10'000'000;
};

struct ChatMessage {
  std::string role;
  std::string content;
};

struct ChatOptions {
  /// Ends with the beginning of an assistant's turn, for generation.
  bool add_generation_prompt = false;
  /// JSON schemas and documents, as transformers gives them; none when undefined.
  TemplateValue tools = nullptr;
  TemplateValue documents = nullptr;
  /// More variables by name: "bos_token", "eos_token", "enable_thinking", ...
  std::vector<std::pair<std::string, TemplateValue>> variables = {};
  /// What strftime_now() tells, in local time; the present when unset.
  std::optional<std::chrono::system_clock::time_point> now = {};
  ChatTemplateLimits limits = {};
};

/// A conversation as text.
struct RenderedChat {
  std::string text;
  /// What stands in the template's {% generation %} blocks, the assistant's turns: in code points, as offsets
  /// of an Encoding are.
  std::vector<TextSpan> assistant;
};

/// A chat template: the part of Jinja that published templates use, with the settings of transformers
/// (trim_blocks, lstrip_blocks, {% generation %}, {% break %} and {% continue %}, raise_exception,
/// strftime_now and a tojson that escapes nothing). What is not supported is refused by name when the
/// template is read: include, extends, block, call, recursive loops, the filters and tests that are missing.
/// Letters outside ASCII keep their case. A value that is cheap to copy; may be used from many threads.
/// Source: transformers/utils/chat_template_utils.py, jinja2 3.1
class ChatTemplate {
 public:
  /// `name` begins every message. Throws TemplateError.
  explicit ChatTemplate(std::string_view source, std::string name = "chat_template");

  /// `messages` is a list of objects with "role" and "content"; the reasoning of a message is there under the
  /// names "reasoning_content" and "thinking" whichever it came with. Throws TemplateError; ConfigError when
  /// `messages` are something else.
  RenderedChat render(const TemplateValue& messages, const ChatOptions& options = {}) const;
  RenderedChat render(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;
  /// Whether the template marks the assistant's turns with {% generation %}.
  bool marks_assistant() const;

 private:
  struct Parsed;
  std::shared_ptr<const Parsed> parsed_;
};

/// 1 for each token of which a part lies in one of the spans, otherwise 0.
std::vector<std::uint8_t> tokens_in_spans(const Encoding& encoding, std::span<const TextSpan> spans);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/chat_template.inl.hpp>
#endif
