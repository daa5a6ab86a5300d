#pragma once

#include <filesystem>
#include <limits>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/formats/json_writer.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>

namespace attune::detail {

/// The token's flags, as both tokenizer.json and tokenizer_config.json spell them.
ATTUNE_INLINE void write_added_token(JsonWriter& json, const AddedToken& token) {
  json.string("content", token.content);
  json.boolean("single_word", token.single_word);
  json.boolean("lstrip", token.lstrip);
  json.boolean("rstrip", token.rstrip);
  json.boolean("normalized", token.normalized);
  json.boolean("special", token.special);
}

ATTUNE_INLINE void write_strip_accents(JsonWriter& json, const BertTokenizerOptions& options) {
  if (options.strip_accents)
    json.boolean("strip_accents", *options.strip_accents);
  else
    json.null("strip_accents");
}

/// [CLS] A [SEP] and [CLS] A [SEP] B [SEP].
ATTUNE_INLINE void write_post_processor(JsonWriter& json, const BertTokenizerState& state) {
  const std::string& cls = state.options.cls_token;
  const std::string& sep = state.options.sep_token;
  const auto piece = [&](const char* kind, const std::string& name, int type) {
    json.begin_object();
    json.begin_object(kind);
    json.string("id", name);
    json.integer("type_id", std::int64_t{type});
    json.end_object();
    json.end_object();
  };
  const auto first_row = [&] {
    piece("SpecialToken", cls, 0);
    piece("Sequence", "A", 0);
    piece("SpecialToken", sep, 0);
  };
  const auto special = [&](const std::string& name, int id) {
    json.begin_object(name);
    json.string("id", name);
    json.begin_array("ids");
    json.integer({}, std::int64_t{id});
    json.end_array();
    json.begin_array("tokens");
    json.string({}, name);
    json.end_array();
    json.end_object();
  };
  json.begin_object("post_processor");
  json.string("type", "TemplateProcessing");
  json.begin_array("single");
  first_row();
  json.end_array();
  json.begin_array("pair");
  first_row();
  piece("Sequence", "B", 1);
  piece("SpecialToken", sep, 1);
  json.end_array();
  json.begin_object("special_tokens");
  if (cls != sep) special(cls, state.cls_id);
  special(sep, state.sep_id);
  json.end_object();
  json.end_object();
}

ATTUNE_INLINE std::string tokenizer_json(const BertTokenizerState& state) {
  const BertTokenizerOptions& options = state.options;
  JsonWriter json(2);
  json.begin_object();
  json.string("version", "1.0");
  json.null("truncation");
  json.null("padding");
  json.begin_array("added_tokens");
  for (const auto& [id, entry] : state.added) {
    json.begin_object();
    json.integer("id", std::int64_t{id});
    write_added_token(json, entry.token);
    json.end_object();
  }
  json.end_array();
  json.begin_object("normalizer");
  json.string("type", "BertNormalizer");
  json.boolean("clean_text", options.clean_text);
  json.boolean("handle_chinese_chars", options.tokenize_chinese_chars);
  write_strip_accents(json, options);
  json.boolean("lowercase", options.do_lower_case);
  json.end_object();
  json.begin_object("pre_tokenizer");
  json.string("type", "BertPreTokenizer");
  json.end_object();
  write_post_processor(json, state);
  json.begin_object("decoder");
  json.string("type", "WordPiece");
  json.string("prefix", options.continuing_subword_prefix);
  json.boolean("cleanup", true);
  json.end_object();
  json.begin_object("model");
  json.string("type", "WordPiece");
  json.string("unk_token", options.unk_token);
  json.string("continuing_subword_prefix", options.continuing_subword_prefix);
  json.integer("max_input_chars_per_word", std::int64_t{options.max_input_chars_per_word});
  json.begin_object("vocab");
  for (const auto& [id, token] : state.vocabulary) json.integer(token, std::int64_t{id});
  json.end_object();
  json.end_object();
  json.end_object();
  return json.take() + "\n";
}

ATTUNE_INLINE std::string tokenizer_config_json(const BertTokenizerState& state) {
  const BertTokenizerOptions& options = state.options;
  // BertTokenizer cannot express these; the generic class takes tokenizer.json as it is.
  const bool plain = options.clean_text && options.continuing_subword_prefix == "##" &&
                     options.max_input_chars_per_word == BertTokenizerOptions{}.max_input_chars_per_word;
  JsonWriter json(2);
  json.begin_object();
  json.begin_object("added_tokens_decoder");
  for (const auto& [id, entry] : state.added) {
    json.begin_object(std::to_string(id));
    write_added_token(json, entry.token);
    json.end_object();
  }
  json.end_object();
  json.boolean("clean_up_tokenization_spaces", options.clean_up_tokenization_spaces);
  json.string("cls_token", options.cls_token);
  json.boolean("do_lower_case", options.do_lower_case);
  json.string("mask_token", options.mask_token);
  if (options.model_max_length == std::numeric_limits<std::int64_t>::max())
    json.number("model_max_length", 1e30);  // transformers' word for "no limit"
  else
    json.integer("model_max_length", std::int64_t{options.model_max_length});
  json.string("pad_token", options.pad_token);
  json.string("sep_token", options.sep_token);
  write_strip_accents(json, options);
  json.boolean("tokenize_chinese_chars", options.tokenize_chinese_chars);
  json.string("tokenizer_class", plain ? "BertTokenizer" : "PreTrainedTokenizerFast");
  json.string("unk_token", options.unk_token);
  json.end_object();
  return json.take() + "\n";
}

ATTUNE_INLINE std::string special_tokens_map_json(const BertTokenizerOptions& options) {
  JsonWriter json(2);
  json.begin_object();
  json.string("cls_token", options.cls_token);
  json.string("mask_token", options.mask_token);
  json.string("pad_token", options.pad_token);
  json.string("sep_token", options.sep_token);
  json.string("unk_token", options.unk_token);
  json.end_object();
  return json.take() + "\n";
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
  make_directories(directory);
  const auto path_of = [&](const char* name) { return (std::filesystem::path(directory) / name).string(); };
  write_text_file(path_of("vocab.txt"), detail::vocabulary_lines(*state_));
  write_text_file(path_of("tokenizer.json"), detail::tokenizer_json(*state_));
  write_text_file(path_of("tokenizer_config.json"), detail::tokenizer_config_json(*state_));
  write_text_file(path_of("special_tokens_map.json"), detail::special_tokens_map_json(state_->options));
}

}  // namespace attune
