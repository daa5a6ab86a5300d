#pragma once

#include <array>
#include <filesystem>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/core/log.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/json_writer.hpp>
#include <attune/models/sentence_embedding_config.hpp>

namespace attune {

namespace detail {

/// Its path, when the file is there.
inline std::optional<std::string> sentence_file(const std::filesystem::path& directory,
                                                const std::string& name) {
  std::string path = (directory / name).string();
  return file_exists(path) ? std::optional(std::move(path)) : std::nullopt;
}

/// The pooling's file: one "pooling_mode" (a name or a list of them), or a switch for each mode.
inline Pooling read_pooling(const JsonObject& config) {
  constexpr std::array<std::pair<const char*, const char*>, 6> switches = {
      {{"pooling_mode_cls_token", "cls"},
       {"pooling_mode_max_tokens", "max"},
       {"pooling_mode_mean_tokens", "mean"},
       {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
       {"pooling_mode_weightedmean_tokens", "weightedmean"},
       {"pooling_mode_lasttoken", "lasttoken"}}};
  std::vector<std::string> modes;
  if (config.has("pooling_mode")) {
    if (config.json()["pooling_mode"].is_array())
      modes = config.get<std::vector<std::string>>("pooling_mode");
    else
      modes = {config.get<std::string>("pooling_mode")};
  } else {
    for (const auto& [name, mode] : switches)
      if (config.get(name, false)) modes.emplace_back(mode);
    if (modes.empty()) modes = {"mean"};
  }
  if (modes == std::vector<std::string>{"mean"}) return Pooling::mean;
  if (modes == std::vector<std::string>{"cls"}) return Pooling::cls;
  std::string found;
  for (const std::string& mode : modes) found += (found.empty() ? "" : " + ") + mode;
  config.refuse("pooling_mode", "expected mean or cls, found " + (found.empty() ? "none" : found));
}

/// Only transformer, pooling and normalisation, in this order, make what EncoderForSentenceEmbedding
/// computes.
inline Pooling read_sentence_modules(const std::string& directory, const std::string& file) {
  const nlohmann::json modules = read_json(file);
  if (!modules.is_array()) throw FormatError(file, -1, "expected an array of modules");
  Pooling pooling = Pooling::mean;
  bool normalizes = false;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const JsonObject module(modules[i], file + ": module " + std::to_string(i));
    const auto type = module.get<std::string>("type");
    const std::string name = type.substr(type.rfind('.') + 1);  // the packages before it differ by version
    const std::string path = module.get("path", "");
    if (name == "Transformer" && i == 0) {
      if (!path.empty())
        module.refuse("path",
                      "the transformer lies in the folder '" + path + "': give that as the directory");
    } else if (name == "Pooling" && i == 1) {
      if (path.find('/') != path.npos || path.find('\\') != path.npos || path.find("..") != path.npos)
        module.refuse("path", "expected the name of a folder, found '" + path + "'");
      if (const auto config = sentence_file(std::filesystem::path(directory) / path, "config.json"))
        pooling = read_pooling(JsonObject::read(*config));
    } else if (name == "Normalize" && i == 2) {
      normalizes = true;
    } else {
      module.refuse("type", "expected Transformer, Pooling and Normalize in this order, found " + name +
                                " (" + type + ")");
    }
  }
  if (!normalizes)
    log(LogLevel::info, file + ": names no Normalize; embeddings are scaled to length 1 all the same");
  return pooling;
}

inline std::int64_t checked_length(const JsonObject& config, const char* field, double length) {
  if (!(length >= 1)) config.refuse(field, "expected a positive number, found " + std::to_string(length));
  return length < 0x1p31 ? static_cast<std::int64_t>(length) : 0;  // 1e30 says "no limit"
}

}  // namespace detail

ATTUNE_INLINE SentenceEmbeddingConfig SentenceEmbeddingConfig::from_pretrained(const std::string& directory) {
  SentenceEmbeddingConfig result;
  if (const auto file = detail::sentence_file(directory, "modules.json"))
    result.pooling = detail::read_sentence_modules(directory, *file);
  if (const auto file = detail::sentence_file(directory, "sentence_bert_config.json")) {
    const JsonObject config = JsonObject::read(*file);
    if (const auto length = config.find<double>("max_seq_length"))
      result.max_seq_length = detail::checked_length(config, "max_seq_length", *length);
    if (config.get("do_lower_case", false))
      log(LogLevel::warning,
          *file + ": do_lower_case: texts must be lower-cased before they are tokenised, which is up to you");
  }
  if (result.max_seq_length == 0)
    if (const auto file = detail::sentence_file(directory, "tokenizer_config.json")) {
      const JsonObject config = JsonObject::read(*file);
      if (const auto length = config.find<double>("model_max_length"))
        result.max_seq_length = detail::checked_length(config, "model_max_length", *length);
    }
  if (const auto file = detail::sentence_file(directory, "config_sentence_transformers.json"))
    if (const auto prompt = JsonObject::read(*file).find<std::string>("default_prompt_name"))
      log(LogLevel::warning,
          *file + ": the prompt '" + *prompt + "' is to be put before texts, which is up to you");
  return result;
}

ATTUNE_INLINE void SentenceEmbeddingConfig::save(const std::string& directory,
                                                 std::int64_t embedding_dimension) const {
  const std::filesystem::path path(directory);
  make_directories((path / "1_Pooling").string());
  const auto write = [&](const char* name, detail::JsonWriter& json) {
    write_text_file((path / name).string(), json.take() + "\n");
  };

  detail::JsonWriter modules(2);
  modules.begin_array();
  constexpr std::array<std::pair<const char*, const char*>, 3> parts = {
      {{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Normalize", "2_Normalize"}}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    modules.begin_object();
    modules.integer("idx", static_cast<std::int64_t>(i));
    modules.string("name", std::to_string(i));
    modules.string("path", parts[i].second);
    modules.string("type", std::string("sentence_transformers.models.") + parts[i].first);
    modules.end_object();
  }
  modules.end_array();
  write("modules.json", modules);

  detail::JsonWriter pooled(2);
  pooled.begin_object();
  pooled.integer("word_embedding_dimension", embedding_dimension);
  pooled.boolean("pooling_mode_cls_token", pooling == Pooling::cls);
  pooled.boolean("pooling_mode_mean_tokens", pooling == Pooling::mean);
  pooled.boolean("pooling_mode_max_tokens", false);
  pooled.boolean("pooling_mode_mean_sqrt_len_tokens", false);
  pooled.end_object();
  write("1_Pooling/config.json", pooled);

  detail::JsonWriter transformer(2);
  transformer.begin_object();
  if (max_seq_length > 0)
    transformer.integer("max_seq_length", max_seq_length);
  else
    transformer.null("max_seq_length");
  transformer.boolean("do_lower_case", false);
  transformer.end_object();
  write("sentence_bert_config.json", transformer);

  detail::JsonWriter whole(2);
  whole.begin_object();
  whole.begin_object("prompts");
  whole.end_object();
  whole.null("default_prompt_name");
  whole.string("similarity_fn_name", "cosine");
  whole.end_object();
  write("config_sentence_transformers.json", whole);
}

}  // namespace attune
