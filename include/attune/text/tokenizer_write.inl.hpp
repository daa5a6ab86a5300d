#pragma once

#include <filesystem>
#include <string>
#include <variant>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/json_writer.hpp>
#include <attune/text/tokenizer.hpp>
#include <attune/text/tokenizer_state.hpp>

namespace attune::detail {

ATTUNE_INLINE nlohmann::json added_token_json(const AddedToken& token) {
  return {{"content", token.content}, {"single_word", token.single_word}, {"lstrip", token.lstrip},
          {"rstrip", token.rstrip},   {"normalized", token.normalized},   {"special", token.special}};
}

/// tokenizer.json in the order of fields that tokenizers writes; the vocabulary and the merges one a line.
ATTUNE_INLINE std::string tokenizer_text(const TokenizerState& state) {
  const nlohmann::json& components = *state.components;
  std::string text = "{";
  const auto field = [&](const char* name, const std::string& value) {
    text += text.size() > 1 ? ",\n" : "\n";
    text += quote_json(name) + ": " + value;
  };
  const auto component = [&](const char* name) {
    const auto found = components.find(name);
    field(name, found == components.end() ? "null" : dump_json(*found));
  };
  field("version", "\"1.0\"");
  component("truncation");
  component("padding");
  nlohmann::json added = nlohmann::json::array();
  for (const auto& [id, token] : state.added) {
    added.push_back(added_token_json(token));
    added.back()["id"] = id;
  }
  field("added_tokens", dump_json(added));
  for (const char* name : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) component(name);
  std::string model = dump_json(components.at("model"), {.indent = -1});
  model.pop_back();  // the bracket that closes it
  const auto open = [&](const char* name, char bracket) {
    if (model.back() != '{') model += ',';
    model += "\n" + quote_json(name) + ": " + bracket;
  };
  bool first = true;
  const auto next_line = [&] {
    model += first ? "\n" : ",\n";
    first = false;
  };
  const auto* const unigram = std::get_if<UnigramModel>(&state.model);
  open("vocab", unigram ? '[' : '{');
  for (std::int32_t id = 0; id < state.vocabulary.id_end(); ++id) {
    if (!state.vocabulary.has(id)) continue;
    const std::string token = quote_json(state.vocabulary.token(id));
    if (!unigram && state.vocabulary.find(state.vocabulary.token(id)) != id) continue;
    next_line();
    if (unigram)
      model += "[" + token + ", " + dump_json(unigram->scores()[static_cast<std::size_t>(id)]) + "]";
    else
      model += token + ": " + std::to_string(id);
  }
  model += unigram ? "\n]" : "\n}";
  if (std::holds_alternative<BpeModel>(state.model)) {
    open("merges", '[');
    first = true;
    for (const auto& [left, right] : state.merges) {
      next_line();
      model += "[" + quote_json(state.vocabulary.token(left)) + ", " +
               quote_json(state.vocabulary.token(right)) + "]";
    }
    model += "\n]";
  }
  field("model", model + "\n}");
  return text + "\n}\n";
}

ATTUNE_INLINE nlohmann::json tokenizer_config(const TokenizerState& state) {
  nlohmann::json config = *state.config;
  for (const auto& [name, token] : state.special_tokens)
    if (!config.contains(name)) config[name] = token;
  if (!config.contains("tokenizer_class")) config["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (!state.chat_template.empty() && !config.contains("chat_template"))
    config["chat_template"] = state.chat_template;
  return config;
}

ATTUNE_INLINE nlohmann::json special_tokens_map(const TokenizerState& state) {
  nlohmann::json map = nlohmann::json::object();
  for (const auto& [name, token] : state.special_tokens) map[name] = token;
  return map;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE void Tokenizer::save_pretrained(const std::string& directory) const {
  const std::filesystem::path path(directory);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw IoError(directory, "cannot be made a directory: " + error.message());
  const auto path_of = [&](const char* name) { return (path / name).string(); };
  write_text_file(path_of("tokenizer.json"), detail::tokenizer_text(*state_));
  write_json(path_of("tokenizer_config.json"), detail::tokenizer_config(*state_));
  write_json(path_of("special_tokens_map.json"), detail::special_tokens_map(*state_));
}

}  // namespace attune
