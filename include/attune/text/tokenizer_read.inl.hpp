#pragma once

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/text/gguf_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>
#include <attune/text/tokenizer_build.inl.hpp>

namespace attune::detail {

inline constexpr std::size_t most_vocabulary_bytes = ByteTrie::max_bytes;

/// The two tokens of a merge. Throws FormatError for one that the vocabulary lacks.
ATTUNE_INLINE BpeModel::Merge find_merge(const Vocabulary& vocabulary, std::string_view left,
                                         std::string_view right, const std::string& where,
                                         std::int64_t number) {
  const auto id = [&](std::string_view token) {
    const std::int32_t found = vocabulary.find(token);
    if (found < 0)
      throw FormatError(where, number, "the vocabulary lacks \"" + std::string(token) + "\" of this merge");
    return found;
  };
  return {id(left), id(right)};
}

/// The same for "left right".
ATTUNE_INLINE BpeModel::Merge find_merge(const Vocabulary& vocabulary, std::string_view line,
                                         const std::string& where, std::int64_t number) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
    throw FormatError(where, number, "expected two tokens with a space between them");
  return find_merge(vocabulary, line.substr(0, space), line.substr(space + 1), where, number);
}

/// {"token": id, ...}
ATTUNE_INLINE Vocabulary read_vocabulary_object(const nlohmann::json& object, const std::string& where) {
  if (!object.is_object()) throw ConfigError(where + ": vocab: expected an object");
  Vocabulary vocabulary;
  for (const auto& [token, id] : object.get_ref<const nlohmann::json::object_t&>()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= std::uint64_t{1} << 31)
      throw FormatError(where, -1, "vocab: the id of \"" + token + "\" must be a number below 2^31");
    vocabulary.add(token, id.get<std::int32_t>());
  }
  vocabulary.finish(where);
  return vocabulary;
}

/// [["token", score], ...]
ATTUNE_INLINE void read_scored_vocabulary(const nlohmann::json& array, TokenizerSource& source) {
  if (!array.is_array()) throw ConfigError(source.where + ": vocab: expected an array");
  for (const nlohmann::json& entry : array) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      throw FormatError(source.where, -1,
                        "vocab[" + std::to_string(source.scores.size()) + "]: expected a token and a score");
    source.vocabulary.add(entry[0].get_ref<const std::string&>(),
                          static_cast<std::int32_t>(source.scores.size()));
    source.scores.push_back(entry[1].get<double>());
  }
  source.vocabulary.finish(source.where);
}

ATTUNE_INLINE void read_merges(const nlohmann::json& array, TokenizerSource& source) {
  if (!array.is_array()) throw ConfigError(source.where + ": merges: expected an array");
  source.merges.reserve(array.size());
  for (const nlohmann::json& entry : array) {
    const auto number = static_cast<std::int64_t>(source.merges.size());
    const std::string where = source.where + ": merges";
    if (entry.is_string()) {
      source.merges.push_back(
          find_merge(source.vocabulary, entry.get_ref<const std::string&>(), where, number));
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      source.merges.push_back(find_merge(source.vocabulary, entry[0].get_ref<const std::string&>(),
                                         entry[1].get_ref<const std::string&>(), where, number));
    } else {
      throw FormatError(where, number, "expected two tokens");
    }
  }
}

/// Takes the model apart. The oldest files name no type; what they hold tells.
ATTUNE_INLINE void take_model(TokenizerSource& source) {
  const auto field = source.components.find("model");
  if (field == source.components.end() || !field->is_object())
    throw ConfigError(source.where + ": model: expected an object");
  nlohmann::json& model = *field;
  const auto take = [&](const char* key) {
    const auto entry = model.find(key);
    if (entry == model.end()) throw ConfigError(source.where + ": model: " + key + ": this field is missing");
    nlohmann::json value = std::move(*entry);
    model.erase(entry);
    return value;
  };
  if (!model.contains("type"))
    model["type"] = model.contains("merges") ? "BPE" : model.contains("unk_id") ? "Unigram" : "WordPiece";
  const nlohmann::json vocabulary = take("vocab");
  if (model["type"] == "Unigram")
    read_scored_vocabulary(vocabulary, source);
  else
    source.vocabulary = read_vocabulary_object(vocabulary, source.where);
  if (model["type"] == "BPE") read_merges(take("merges"), source);
}

/// merges.txt: a header line that begins with #version, then two tokens a line.
ATTUNE_INLINE void read_merge_lines(const std::string& path, TokenizerSource& source) {
  const std::string text = read_text_file(path, most_vocabulary_bytes);
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    begin = end + 1;
    ++number;
    if (line.substr(0, 8) == "#version" || (line.empty() && begin >= text.size())) continue;
    if (valid_utf8_prefix(line) != line.size())
      throw FormatError(path, number, "this line is not valid UTF-8");
    source.merges.push_back(find_merge(source.vocabulary, line, path, number));
  }
}

/// {"type": "Split", ...} for a pattern with a scanner of its own.
ATTUNE_INLINE nlohmann::json split_component(std::string_view regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", std::string(regex)}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

ATTUNE_INLINE nlohmann::json byte_level_component(bool add_prefix_space, bool trim_offsets, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", trim_offsets},
          {"use_regex", use_regex}};
}

ATTUNE_INLINE nlohmann::json sequence_component(const char* key, nlohmann::json parts) {
  return {{"type", "Sequence"}, {key, std::move(parts)}};
}

/// The pipelines of the classes that have vocab.json and merges.txt.
ATTUNE_INLINE void describe_legacy_bpe(TokenizerSource& source) {
  const JsonObject config(source.config, source.where + ": tokenizer_config.json");
  std::string name = config.get("tokenizer_class", "GPT2Tokenizer");
  if (name.size() > 4 && name.compare(name.size() - 4, 4, "Fast") == 0) name.resize(name.size() - 4);
  const bool add_prefix_space = config.get("add_prefix_space", false);
  const auto byte_level = [&](bool use_regex) {
    return byte_level_component(add_prefix_space, true, use_regex);
  };
  nlohmann::json& out = source.components;
  const auto set_default = [&](const char* key, const char* token) {
    if (!config.json().contains(key) && !source.special_map.contains(key) &&
        source.vocabulary.find(token) >= 0)
      source.config[key] = token;
  };
  out["decoder"] = byte_level(true);
  out["pre_tokenizer"] = byte_level(true);
  out["post_processor"] = byte_level_component(true, false, true);
  if (name == "RobertaTokenizer") {
    constexpr std::pair<const char*, const char*> tokens[] = {
        {"bos_token", "<s>"},   {"eos_token", "</s>"}, {"unk_token", "<unk>"},  {"sep_token", "</s>"},
        {"pad_token", "<pad>"}, {"cls_token", "<s>"},  {"mask_token", "<mask>"}};
    for (const auto& [key, token] : tokens) set_default(key, token);
    const auto piece = [&](const char* token) {
      const std::int32_t id = source.vocabulary.find(token);
      if (id < 0)
        throw ConfigError(source.where + ": the vocabulary lacks \"" + token + "\", which " + name +
                          " puts around texts");
      return nlohmann::json::array({token, id});
    };
    out["post_processor"] = {{"type", "RobertaProcessing"},
                             {"sep", piece("</s>")},
                             {"cls", piece("<s>")},
                             {"trim_offsets", true},
                             {"add_prefix_space", add_prefix_space}};
  } else if (name == "Qwen2Tokenizer") {
    out["normalizer"] = {{"type", "NFC"}};
    out["pre_tokenizer"] = sequence_component(
        "pretokenizers", nlohmann::json::array({split_component(qwen2_split_regex), byte_level(false)}));
  } else if (name != "GPT2Tokenizer" && name != "PreTrainedTokenizer" && name != "TokenizersBackend") {
    config.refuse("tokenizer_class",
                  "expected GPT2Tokenizer, RobertaTokenizer or Qwen2Tokenizer beside "
                  "vocab.json and merges.txt, found \"" +
                      name + "\", which is not supported");
  }
  if (name != "RobertaTokenizer")
    for (const char* key : {"bos_token", "eos_token", "unk_token"}) set_default(key, "<|endoftext|>");
  out["model"] = {{"type", "BPE"}};
}

/// Gathers the files of a directory.
ATTUNE_INLINE TokenizerSource read_tokenizer_directory(const std::string& directory) {
  const std::filesystem::path folder(directory);
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error))
    throw IoError(directory, "expected a directory with tokenizer files");
  const auto path = [&](const char* name) { return (folder / name).string(); };
  const auto exists = [&](const char* name) { return std::filesystem::exists(folder / name, error); };
  const auto read_object = [&](const char* name) {
    return exists(name) ? nlohmann::json(JsonObject::read(path(name)).json()) : nlohmann::json::object();
  };
  TokenizerSource source;
  source.where = directory;
  source.config = read_object("tokenizer_config.json");
  source.special_map = read_object("special_tokens_map.json");
  if (exists("chat_template.jinja"))
    source.chat_template = read_text_file(path("chat_template.jinja"), std::size_t{1} << 20);
  if (exists("tokenizer.json")) {
    source.where = path("tokenizer.json");
    source.components = read_json(source.where);
    if (!source.components.is_object()) throw FormatError(source.where, 0, "expected an object");
    take_model(source);
  } else if (exists("vocab.json") && exists("merges.txt")) {
    source.where = path("vocab.json");
    source.vocabulary = read_vocabulary_object(read_json(source.where), source.where);
    read_merge_lines(path("merges.txt"), source);
    describe_legacy_bpe(source);
  } else {
    throw IoError(directory, "expected tokenizer.json, or vocab.json and merges.txt, found neither");
  }
  return source;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE Tokenizer Tokenizer::from_pretrained(const std::string& directory) {
  if (is_gguf_path(directory)) return from_parts(read_tokenizer_parts(GgufFile::open(directory)), directory);
  return Tokenizer(detail::TokenizerBuilder(detail::read_tokenizer_directory(directory)).build());
}

}  // namespace attune
