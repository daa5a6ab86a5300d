#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/formats/json.hpp>
#include <attune/text/tokenizer_state.hpp>

namespace attune::detail {

/// No tokenizer has more steps of one kind; pieces pass through all of them.
inline constexpr std::size_t most_tokenizer_steps = 64;

[[noreturn]] ATTUNE_INLINE void refuse_type(const JsonObject& object, const std::string& type) {
  object.refuse("type", "\"" + type + "\" is not supported");
}

/// Calls on_object(JsonObject) for each element of an array of objects.
template <class OnObject>
void for_each_object(const JsonObject& object, const char* key, const OnObject& on_object) {
  const auto field = object.json().find(key);
  if (field == object.json().end() || !field->is_array()) object.refuse(key, "expected an array");
  for (std::size_t at = 0; at < field->size(); ++at)
    on_object(JsonObject((*field)[at], object.where() + ": " + key + "[" + std::to_string(at) + "]"));
}

/// {"String": ...} or {"Regex": ...}: fills one of the two.
ATTUNE_INLINE void read_pattern(const JsonObject& object, std::string& literal, std::optional<Regex>& regex) {
  const JsonObject pattern = object.object("pattern");
  if (pattern.has("Regex")) {
    regex.emplace(pattern.get<std::string>("Regex"), pattern.where());
  } else {
    literal = pattern.get<std::string>("String");
    if (literal.empty()) pattern.refuse("String", "expected a text that is not empty");
  }
}

ATTUNE_INLINE void read_normalizer(const JsonObject& object, std::vector<NormalizerStep>& steps) {
  using Kind = NormalizerStep::Kind;
  const auto type = object.get<std::string>("type");
  if (type == "Sequence")
    return for_each_object(object, "normalizers",
                           [&](const JsonObject& part) { read_normalizer(part, steps); });
  NormalizerStep step;
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    step.form = type == "NFC"    ? NormalForm::nfc
                : type == "NFD"  ? NormalForm::nfd
                : type == "NFKC" ? NormalForm::nfkc
                                 : NormalForm::nfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::lowercase;
  } else if (type == "Strip") {
    step.kind = Kind::strip;
    step.strip_left = object.get("strip_left", true);
    step.strip_right = object.get("strip_right", true);
  } else if (type == "StripAccents") {
    step.kind = Kind::strip_accents;
  } else if (type == "Replace") {
    step.kind = Kind::replace;
    read_pattern(object, step.literal, step.regex);
    step.text = object.get<std::string>("content");
  } else if (type == "Prepend") {
    step.kind = Kind::prepend;
    step.text = object.get<std::string>("prepend");
  } else if (type == "BertNormalizer") {
    step.kind = Kind::bert;
    step.bert.clean_text = object.get("clean_text", true);
    step.bert.split_ideographs = object.get("handle_chinese_chars", true);
    step.bert.lower_case = object.get("lowercase", true);
    step.bert.strip_accents = object.find<bool>("strip_accents").value_or(step.bert.lower_case);
  } else if (type == "Precompiled") {
    step.kind = Kind::precompiled;
    step.precompiled = std::make_shared<const PrecompiledMap>(object.get<std::string>("precompiled_charsmap"),
                                                              object.where());
  } else {
    refuse_type(object, type);
  }
  steps.push_back(std::move(step));
  if (steps.size() > most_tokenizer_steps) object.refuse("type", "too many normalizers");
}

ATTUNE_INLINE SplitBehavior read_behavior(const JsonObject& object, const char* fallback) {
  const std::string name = fallback ? object.get("behavior", fallback) : object.get<std::string>("behavior");
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  object.refuse("behavior", "\"" + name + "\" is not supported");
}

ATTUNE_INLINE PreTokenizerStep read_metaspace(const JsonObject& object) {
  PreTokenizerStep step;
  step.space_becomes = object.get("replacement", "\xE2\x96\x81");
  if (count_code_points(step.space_becomes) != 1) object.refuse("replacement", "expected one character");
  step.prefix_text = step.space_becomes;
  const bool add_prefix_space = object.get("add_prefix_space", true);
  const std::string scheme = object.get("prepend_scheme", add_prefix_space ? "always" : "never");
  if (scheme == "always")
    step.prefix = PreTokenizerStep::Prefix::always;
  else if (scheme == "first")
    step.prefix = PreTokenizerStep::Prefix::first;
  else if (scheme != "never")
    object.refuse("prepend_scheme", "expected always, first or never, found \"" + scheme + "\"");
  if (object.get("split", true)) {
    step.finder = PreTokenizerStep::Finder::literal;
    step.literal = step.space_becomes;
    step.behavior = SplitBehavior::merged_with_next;
  }
  return step;
}

/// A regular expression that has a scanner of its own is left to it.
ATTUNE_INLINE PreTokenizerStep read_split(const JsonObject& object) {
  using Finder = PreTokenizerStep::Finder;
  PreTokenizerStep step;
  step.behavior = read_behavior(object, nullptr);
  step.invert = object.get("invert", false);
  const std::string regex = object.object("pattern").get("Regex", "");
  constexpr std::pair<std::string_view, SplitPattern> known[] = {{gpt2_split_regex, SplitPattern::gpt2},
                                                                 {llama3_split_regex, SplitPattern::llama3},
                                                                 {qwen2_split_regex, SplitPattern::qwen2}};
  for (const auto& [text, pattern] : known) {
    if (regex != text) continue;
    step.finder = Finder::pattern;
    step.pattern = pattern;
    return step;
  }
  read_pattern(object, step.literal, step.regex);
  step.finder = step.regex ? Finder::regex : Finder::literal;
  return step;
}

ATTUNE_INLINE void read_pre_tokenizer(const JsonObject& object, PreTokenizer& out) {
  using Finder = PreTokenizerStep::Finder;
  const auto type = object.get<std::string>("type");
  if (type == "Sequence")
    return for_each_object(object, "pretokenizers",
                           [&](const JsonObject& part) { read_pre_tokenizer(part, out); });
  if (out.byte_level) object.refuse("type", "\"" + type + "\" behind ByteLevel is not supported");
  const auto add = [&](Finder finder, SplitBehavior behavior) -> PreTokenizerStep& {
    PreTokenizerStep& step = out.steps.emplace_back();
    step.finder = finder;
    step.behavior = behavior;
    return step;
  };
  if (type == "ByteLevel") {
    out.byte_level = true;
    const bool prefix = object.get("add_prefix_space", true), split = object.get("use_regex", true);
    if (prefix || split) {
      PreTokenizerStep& step = add(split ? Finder::pattern : Finder::nothing, SplitBehavior::isolated);
      if (prefix) {
        step.prefix = PreTokenizerStep::Prefix::always;
        step.prefix_text = " ";
      }
    }
  } else if (type == "Split") {
    out.steps.push_back(read_split(object));
  } else if (type == "Metaspace") {
    out.steps.push_back(read_metaspace(object));
  } else if (type == "Whitespace") {
    add(Finder::words, SplitBehavior::removed).invert = true;
  } else if (type == "WhitespaceSplit") {
    add(Finder::space, SplitBehavior::removed);
  } else if (type == "BertPreTokenizer") {
    add(Finder::space, SplitBehavior::removed);
    add(Finder::punctuation, SplitBehavior::isolated);
  } else if (type == "Punctuation") {
    add(Finder::punctuation, read_behavior(object, "Isolated"));
  } else if (type == "Digits") {
    add(Finder::numeric,
        object.get("individual_digits", false) ? SplitBehavior::isolated : SplitBehavior::contiguous);
  } else if (type == "CharDelimiterSplit") {
    add(Finder::literal, SplitBehavior::removed).literal = object.get<std::string>("delimiter");
    if (out.steps.back().literal.empty()) object.refuse("delimiter", "expected a character");
  } else {
    refuse_type(object, type);
  }
  if (out.steps.size() > most_tokenizer_steps) object.refuse("type", "too many pre-tokenizers");
}

ATTUNE_INLINE void read_decoder(const JsonObject& object, std::vector<DecoderStep>& steps) {
  using Kind = DecoderStep::Kind;
  const auto type = object.get<std::string>("type");
  if (type == "Sequence")
    return for_each_object(object, "decoders", [&](const JsonObject& part) { read_decoder(part, steps); });
  DecoderStep step;
  const auto count = [&](const char* key) {
    const auto value = object.get<std::int64_t>(key);
    if (value < 0) object.refuse(key, "expected a number that is not negative");
    return static_cast<std::size_t>(value);
  };
  if (type == "ByteLevel") {
    step.kind = Kind::byte_level;
  } else if (type == "ByteFallback") {
    step.kind = Kind::byte_fallback;
  } else if (type == "Fuse") {
    step.kind = Kind::fuse;
  } else if (type == "Metaspace") {
    step.kind = Kind::metaspace;
    const PreTokenizerStep metaspace = read_metaspace(object);
    step.text = metaspace.space_becomes;
    step.drop_first = metaspace.prefix != PreTokenizerStep::Prefix::never;
  } else if (type == "Replace") {
    step.kind = Kind::replace;
    read_pattern(object, step.text, step.regex);
    step.becomes = object.get<std::string>("content");
  } else if (type == "Strip") {
    step.kind = Kind::strip;
    step.text = object.get<std::string>("content");
    if (count_code_points(step.text) != 1) object.refuse("content", "expected one character");
    step.start = count("start");
    step.stop = count("stop");
  } else if (type == "WordPiece") {
    step.kind = Kind::word_piece;
    step.text = object.get("prefix", "##");
    step.clean_up = object.get("cleanup", true);
  } else if (type == "BPEDecoder") {
    step.kind = Kind::bpe;
    step.text = object.get("suffix", "</w>");
  } else {
    refuse_type(object, type);
  }
  steps.push_back(std::move(step));
  if (steps.size() > most_tokenizer_steps) object.refuse("type", "too many decoders");
}

/// Reads post-processors. At most one of them may add tokens.
class PostProcessorReader {
 public:
  PostProcessorReader(const JsonObject& object, std::int64_t vocab_size) : vocab_size_(vocab_size) {
    read(object);
  }
  PostProcessor take() { return std::move(processor_); }

 private:
  using Kind = TemplatePiece::Kind;

  void read(const JsonObject& object) {
    const auto type = object.get<std::string>("type");
    if (type == "Sequence")
      return for_each_object(object, "processors", [&](const JsonObject& part) { read(part); });
    if (type == "ByteLevel") {
      read_trimming(object);
      return;
    }
    if (std::exchange(has_template_, true))
      object.refuse("type", "\"" + type + "\" behind another that adds tokens is not supported");
    if (type == "TemplateProcessing") {
      processor_.single = read_template(object, "single", false);
      processor_.pair = read_template(object, "pair", true);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      const bool roberta = type == "RobertaProcessing";
      const TemplatePiece cls{Kind::special, {read_pair(object, "cls")}, 0};
      const TemplatePiece sep{Kind::special, {read_pair(object, "sep")}, 0};
      const std::int32_t second = roberta ? 0 : 1;
      processor_.single = {cls, {Kind::first, {}, 0}, sep};
      processor_.pair = processor_.single;
      if (roberta) processor_.pair.push_back(sep);
      processor_.pair.push_back({Kind::second, {}, second});
      processor_.pair.push_back({Kind::special, sep.ids, second});
      if (roberta) read_trimming(object);
    } else {
      refuse_type(object, type);
    }
  }

  void read_trimming(const JsonObject& object) {
    if (!object.get("trim_offsets", true)) return;
    processor_.trim_offsets = true;
    processor_.add_prefix_space = object.get("add_prefix_space", true);
  }

  std::int32_t checked_id(const JsonObject& object, const char* key, const nlohmann::json& id) const {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= vocab_size_)
      object.refuse(key, "expected ids of the vocabulary, which are below " + std::to_string(vocab_size_) +
                             ", found " + (id.is_number() ? id.dump() : std::string("something else")));
    return id.get<std::int32_t>();
  }

  /// ["</s>", 2]
  std::int32_t read_pair(const JsonObject& object, const char* key) const {
    const auto field = object.json().find(key);
    if (field == object.json().end() || !field->is_array() || field->size() != 2)
      object.refuse(key, "expected a token and its id");
    return checked_id(object, key, (*field)[1]);
  }

  std::vector<TemplatePiece> read_template(const JsonObject& object, const char* key, bool pair) const {
    std::vector<TemplatePiece> pieces;
    int texts[2] = {0, 0};
    std::size_t special = 0;
    for_each_object(object, key, [&](const JsonObject& piece) {
      TemplatePiece out;
      const bool is_text = piece.has("Sequence");
      const JsonObject body = piece.object(is_text ? "Sequence" : "SpecialToken");
      const auto type_id = body.get<std::int64_t>("type_id");
      if (type_id < 0 || type_id > std::numeric_limits<std::int32_t>::max())
        body.refuse("type_id", "expected a number that is not negative");
      out.type_id = static_cast<std::int32_t>(type_id);
      const auto id = body.get<std::string>("id");
      if (is_text) {
        if (id != "A" && !(id == "B" && pair)) body.refuse("id", "expected A, or B in a pair");
        out.kind = id == "A" ? Kind::first : Kind::second;
        ++texts[id == "A" ? 0 : 1];
      } else {
        out.kind = Kind::special;
        const JsonObject token = object.object("special_tokens").object(id);
        const auto ids = token.json().find("ids");
        if (ids == token.json().end() || !ids->is_array()) token.refuse("ids", "expected an array");
        for (const nlohmann::json& value : *ids) out.ids.push_back(checked_id(token, "ids", value));
        special += out.ids.size();
      }
      pieces.push_back(std::move(out));
    });
    if (texts[0] != 1 || texts[1] != (pair ? 1 : 0))
      object.refuse(key, pair ? "expected A and B once each" : "expected A once");
    constexpr std::size_t most_special = 1024;
    if (special > most_special || pieces.size() > most_special) object.refuse(key, "too many special tokens");
    return pieces;
  }

  PostProcessor processor_;
  std::int64_t vocab_size_;
  bool has_template_ = false;
};

}  // namespace attune::detail
