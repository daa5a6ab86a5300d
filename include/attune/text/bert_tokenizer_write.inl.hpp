#pragma once

#include <filesystem>
#include <limits>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>

namespace attune::detail {

using OrderedJson = nlohmann::ordered_json;

/// The token's flags, as both tokenizer.json and tokenizer_config.json spell them.
ATTUNE_INLINE OrderedJson added_token_json(const AddedToken& token) {
  return {{"content", token.content}, {"single_word", token.single_word}, {"lstrip", token.lstrip},
          {"rstrip", token.rstrip},   {"normalized", token.normalized},   {"special", token.special}};
}

ATTUNE_INLINE OrderedJson strip_accents_json(const BertTokenizerOptions& options) {
  return options.strip_accents ? OrderedJson(*options.strip_accents) : OrderedJson(nullptr);
}

/// [CLS] A [SEP] and [CLS] A [SEP] B [SEP].
ATTUNE_INLINE OrderedJson post_processor_json(const BertTokenizerState& state) {
  const auto special = [](const std::string& name, int type) {
    return OrderedJson{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return OrderedJson{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const std::string& cls = state.options.cls_token;
  const std::string& sep = state.options.sep_token;
  OrderedJson tokens = OrderedJson::object();
  for (const auto& [name, id] : {std::pair{&cls, state.cls_id}, std::pair{&sep, state.sep_id}})
    tokens[*name] = {
        {"id", *name}, {"ids", OrderedJson::array({id})}, {"tokens", OrderedJson::array({*name})}};
  OrderedJson json;
  json["type"] = "TemplateProcessing";
  json["single"] = OrderedJson::array({special(cls, 0), sequence("A", 0), special(sep, 0)});
  json["pair"] = OrderedJson::array(
      {special(cls, 0), sequence("A", 0), special(sep, 0), sequence("B", 1), special(sep, 1)});
  json["special_tokens"] = std::move(tokens);
  return json;
}

ATTUNE_INLINE OrderedJson tokenizer_json(const BertTokenizerState& state) {
  const BertTokenizerOptions& options = state.options;
  OrderedJson added = OrderedJson::array();
  for (const auto& [id, entry] : state.added) {
    OrderedJson token = {{"id", id}};
    token.update(added_token_json(entry.token));
    added.push_back(std::move(token));
  }
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = std::move(added);
  json["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", options.clean_text},
                        {"handle_chinese_chars", options.tokenize_chinese_chars},
                        {"strip_accents", strip_accents_json(options)},
                        {"lowercase", options.do_lower_case}};
  json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  json["post_processor"] = post_processor_json(state);
  json["decoder"] = {{"type", "WordPiece"}, {"prefix", options.continuing_subword_prefix}, {"cleanup", true}};
  json["model"] = {{"type", "WordPiece"},
                   {"unk_token", options.unk_token},
                   {"continuing_subword_prefix", options.continuing_subword_prefix},
                   {"max_input_chars_per_word", options.max_input_chars_per_word}};
  // An ordered object looks every key up in a list, which takes quadratic time: append to the list itself.
  auto& vocabulary = (json["model"]["vocab"] = OrderedJson::object()).get_ref<OrderedJson::object_t&>();
  for (const auto& [id, token] : state.vocabulary)
    static_cast<std::vector<std::pair<const std::string, OrderedJson>>&>(vocabulary).emplace_back(token, id);
  return json;
}

ATTUNE_INLINE OrderedJson tokenizer_config_json(const BertTokenizerState& state) {
  const BertTokenizerOptions& options = state.options;
  OrderedJson decoder = OrderedJson::object();
  for (const auto& [id, entry] : state.added) decoder[std::to_string(id)] = added_token_json(entry.token);
  // BertTokenizer cannot express these; the generic class takes tokenizer.json as it is.
  const bool plain = options.clean_text && options.continuing_subword_prefix == "##" &&
                     options.max_input_chars_per_word == BertTokenizerOptions{}.max_input_chars_per_word;
  OrderedJson json;
  json["added_tokens_decoder"] = std::move(decoder);
  json["clean_up_tokenization_spaces"] = options.clean_up_tokenization_spaces;
  json["cls_token"] = options.cls_token;
  json["do_lower_case"] = options.do_lower_case;
  json["mask_token"] = options.mask_token;
  if (options.model_max_length == std::numeric_limits<std::int64_t>::max())
    json["model_max_length"] = 1e30;  // transformers' word for "no limit"
  else
    json["model_max_length"] = options.model_max_length;
  json["pad_token"] = options.pad_token;
  json["sep_token"] = options.sep_token;
  json["strip_accents"] = strip_accents_json(options);
  json["tokenize_chinese_chars"] = options.tokenize_chinese_chars;
  json["tokenizer_class"] = plain ? "BertTokenizer" : "PreTrainedTokenizerFast";
  json["unk_token"] = options.unk_token;
  return json;
}

/// One token a line, the line number being its id. A line stays empty where no token has that id or where the
/// token cannot be a line of its own; tokenizer.json, which is preferred in reading, has them all.
ATTUNE_INLINE std::string vocabulary_lines(const BertTokenizerState& state) {
  constexpr std::int64_t most_gaps = 1 << 20;
  std::string lines;
  std::int64_t next = 0;
  for (const auto& [id, token] : state.vocabulary) {
    if (id - next > most_gaps) break;
    for (; next < id; ++next) lines += '\n';
    if (token.find_first_of("\r\n") == std::string::npos && trailing_space(token) == 0) lines += token;
    lines += '\n';
    next = std::int64_t{id} + 1;
  }
  return lines;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE void BertTokenizer::save_pretrained(const std::string& directory) const {
  const std::filesystem::path path(directory);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw IoError(directory, "cannot be made a directory: " + error.message());
  const auto path_of = [&](const char* name) { return (path / name).string(); };
  const auto dump = [](const detail::OrderedJson& json) { return json.dump(2) + "\n"; };
  const BertTokenizerOptions& options = state_->options;
  write_text_file(path_of("vocab.txt"), detail::vocabulary_lines(*state_));
  write_text_file(path_of("tokenizer.json"), dump(detail::tokenizer_json(*state_)));
  write_text_file(path_of("tokenizer_config.json"), dump(detail::tokenizer_config_json(*state_)));
  write_text_file(path_of("special_tokens_map.json"), dump({{"cls_token", options.cls_token},
                                                            {"mask_token", options.mask_token},
                                                            {"pad_token", options.pad_token},
                                                            {"sep_token", options.sep_token},
                                                            {"unk_token", options.unk_token}}));
}

}  // namespace attune
