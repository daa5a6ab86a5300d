#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/text/tokenizer.hpp>
#include <attune/text/tokenizer_build.inl.hpp>
#include <attune/text/tokenizer_read.inl.hpp>

namespace attune::detail {

/// A tokenizer.json from the fields of a GGUF file.
class TokenizerPartsReader {
 public:
  TokenizerPartsReader(TokenizerParts parts, const std::string& where) : parts_(std::move(parts)) {
    source_.where = where;
  }

  TokenizerSource read() {
    check_sizes();
    for (std::size_t id = 0; id < parts_.tokens.size(); ++id)
      source_.vocabulary.add(parts_.tokens[id], static_cast<std::int32_t>(id));
    source_.vocabulary.finish(source_.where);
    source_.components["model"] = {{"type", "BPE"}};
    if (parts_.model == "gpt2")
      describe_byte_level();
    else if (parts_.model == "llama")
      describe_sentence_piece();
    else
      refuse("model", "expected gpt2 or llama, found \"" + parts_.model + "\", which is not supported");
    describe_special_tokens();
    return std::move(source_);
  }

 private:
  using Json = nlohmann::json;
  enum TokenType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

  [[noreturn]] void refuse(const char* field, const std::string& what) const {
    throw ConfigError(source_.where + ": tokenizer.ggml." + field + ": " + what);
  }

  void check_sizes() const {
    const std::size_t count = parts_.tokens.size();
    std::size_t bytes = 0;
    for (std::size_t id = 0; id < count; ++id) {
      bytes += parts_.tokens[id].size();
      if (valid_utf8_prefix(parts_.tokens[id]) != parts_.tokens[id].size())
        refuse("tokens", "token " + std::to_string(id) + " is not valid UTF-8");
    }
    if (count == 0 || count > (std::size_t{1} << 24) || bytes > most_vocabulary_bytes)
      refuse("tokens", "expected between 1 and 2^24 tokens of at most " +
                           std::to_string(most_vocabulary_bytes) + " bytes together, found " +
                           std::to_string(count));
    if (!parts_.token_types.empty() && parts_.token_types.size() != count)
      refuse("token_type", "expected as many as tokens, which are " + std::to_string(count) + ", found " +
                               std::to_string(parts_.token_types.size()));
    for (const std::int32_t type : parts_.token_types)
      if (type < 0 || type > byte) refuse("token_type", "expected 0 to 6, found " + std::to_string(type));
    if (parts_.model == "llama" && parts_.scores.size() != count)
      refuse("scores", "expected as many as tokens, which are " + std::to_string(count) + ", found " +
                           std::to_string(parts_.scores.size()));
  }

  int type_of(std::size_t id) const { return parts_.token_types.empty() ? normal : parts_.token_types[id]; }

  static bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  }

  void describe_byte_level() {
    if (parts_.merges.empty()) refuse("merges", "this model needs them, found none");
    for (const std::string& merge : parts_.merges)
      source_.merges.push_back(find_merge(source_.vocabulary, merge,
                                          source_.where + ": tokenizer.ggml.merges",
                                          static_cast<std::int64_t>(source_.merges.size())));
    // The groups are llama.cpp's.
    const std::string& pre = parts_.pre;
    Json& out = source_.components;
    if (is_one_of(pre, {"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de",
                        "roberta-bpe", "mpt", "olmo", "jais"})) {
      out["pre_tokenizer"] = byte_level_component(false, true, true);
    } else if (is_one_of(pre, {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone",
                               "minerva-7b"})) {
      out["pre_tokenizer"] =
          sequence_component("pretokenizers", Json::array({{{"type", "Digits"}, {"individual_digits", true}},
                                                           byte_level_component(false, true, true)}));
    } else if (is_one_of(pre, {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral"})) {
      out["pre_tokenizer"] = sequence_component(
          "pretokenizers",
          Json::array({split_component(llama3_split_regex), byte_level_component(false, true, false)}));
      out["model"]["ignore_merges"] = true;
      add_bos_by_default_ = true;
    } else if (is_one_of(pre, {"qwen2", "deepseek-r1-qwen", "megrez"})) {
      out["pre_tokenizer"] = sequence_component(
          "pretokenizers",
          Json::array({split_component(qwen2_split_regex), byte_level_component(false, true, false)}));
    } else {
      refuse("pre", "\"" + pre + "\" is not supported");
    }
    out["decoder"] = byte_level_component(false, true, true);
  }

  /// SentencePiece's BPE joins the pair whose piece has the best score: merges follow from scores.
  void describe_sentence_piece() {
    struct Entry {
      float score;
      std::int32_t left, right;
      std::size_t left_size, right_size;
    };
    std::vector<Entry> entries;
    const Vocabulary& vocabulary = source_.vocabulary;
    for (std::size_t id = 0; id < parts_.tokens.size(); ++id) {
      const std::string_view token = parts_.tokens[id];
      constexpr std::size_t longest_piece = 512;  // bytes; every cut of a piece is looked up
      if (!is_one_of_types(id, {normal, user_defined, unused}) || token.size() > longest_piece) continue;
      for (std::size_t cut = 1; cut < token.size(); ++cut) {
        if ((static_cast<unsigned char>(token[cut]) & 0xC0) == 0x80) continue;
        const std::int32_t left = vocabulary.find(token.substr(0, cut));
        const std::int32_t right = vocabulary.find(token.substr(cut));
        if (left < 0 || right < 0) continue;
        entries.push_back({parts_.scores[id], left, right,
                           static_cast<std::size_t>(count_code_points(token.substr(0, cut))),
                           static_cast<std::size_t>(count_code_points(token.substr(cut)))});
      }
    }
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tuple(-a.score, -static_cast<double>(a.left_size), -static_cast<double>(a.right_size)) <
             std::tuple(-b.score, -static_cast<double>(b.left_size), -static_cast<double>(b.right_size));
    });
    for (const Entry& entry : entries) source_.merges.emplace_back(entry.left, entry.right);
    add_bos_by_default_ = true;
    Json& out = source_.components;
    out["model"]["byte_fallback"] = true;
    out["model"]["fuse_unk"] = true;
    if (const auto unk = token_text("unknown_token_id", parts_.unk_token_id); !unk.empty())
      out["model"]["unk_token"] = unk;
    const bool prefix = parts_.add_space_prefix.value_or(true);
    const std::string mark = "\xE2\x96\x81";
    const auto replace = [](const std::string& from, const std::string& to) {
      return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
    };
    Json normalizers = Json::array();
    if (prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", mark}});
    normalizers.push_back(replace(" ", mark));
    out["normalizer"] = sequence_component("normalizers", std::move(normalizers));
    Json decoders = Json::array({replace(mark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
    if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    out["decoder"] = sequence_component("decoders", std::move(decoders));
  }

  bool is_one_of_types(std::size_t id, std::initializer_list<int> types) const {
    return std::find(types.begin(), types.end(), type_of(id)) != types.end();
  }

  std::string token_text(const char* field, std::optional<std::int64_t> id) const {
    if (!id) return {};
    if (*id < 0 || *id >= static_cast<std::int64_t>(parts_.tokens.size()))
      refuse(field, "expected an id of the vocabulary, found " + std::to_string(*id));
    return parts_.tokens[static_cast<std::size_t>(*id)];
  }

  void describe_special_tokens() {
    Json added = Json::array();
    for (std::size_t id = 0; id < parts_.tokens.size(); ++id) {
      const bool special = is_one_of_types(id, {unknown, control});
      if (!special && type_of(id) != user_defined) continue;
      added.push_back({{"id", id},
                       {"content", parts_.tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", special}});
    }
    source_.components["added_tokens"] = std::move(added);
    Json& config = source_.config;
    config["tokenizer_class"] = "PreTrainedTokenizerFast";
    const auto name = [&](const char* key, const char* field, std::optional<std::int64_t> id) {
      if (const std::string token = token_text(field, id); !token.empty()) config[key] = token;
    };
    name("bos_token", "bos_token_id", parts_.bos_token_id);
    name("eos_token", "eos_token_id", parts_.eos_token_id);
    name("unk_token", "unknown_token_id", parts_.unk_token_id);
    name("sep_token", "seperator_token_id", parts_.sep_token_id);
    name("pad_token", "padding_token_id", parts_.pad_token_id);
    name("cls_token", "cls_token_id", parts_.cls_token_id);
    name("mask_token", "mask_token_id", parts_.mask_token_id);
    if (!parts_.chat_template.empty()) config["chat_template"] = parts_.chat_template;
    if (parts_.model_max_length > 0) config["model_max_length"] = parts_.model_max_length;
    const bool bos = parts_.add_bos_token.value_or(add_bos_by_default_) && parts_.bos_token_id;
    const bool eos = parts_.add_eos_token.value_or(false) && parts_.eos_token_id;
    if (bos || eos) describe_template(bos, eos);
  }

  void describe_template(bool bos, bool eos) {
    const std::string first = bos ? token_text("bos_token_id", parts_.bos_token_id) : "";
    const std::string last = eos ? token_text("eos_token_id", parts_.eos_token_id) : "";
    Json single = Json::array(), pair = Json::array(), special = Json::object();
    const auto add = [](Json& row, const char* kind, const std::string& id, int type) {
      row.push_back({{kind, {{"id", id}, {"type_id", type}}}});
    };
    for (const int type : {0, 1}) {
      for (Json* row : {&single, &pair}) {
        if (row == &single && type == 1) continue;
        if (bos) add(*row, "SpecialToken", first, type);
        add(*row, "Sequence", type == 0 ? "A" : "B", type);
        if (eos) add(*row, "SpecialToken", last, type);
      }
    }
    const auto define = [&](const std::string& token, std::int64_t id) {
      special[token] = {{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
    };
    if (bos) define(first, *parts_.bos_token_id);
    if (eos) define(last, *parts_.eos_token_id);
    source_.components["post_processor"] = {{"type", "TemplateProcessing"},
                                            {"single", std::move(single)},
                                            {"pair", std::move(pair)},
                                            {"special_tokens", std::move(special)}};
  }

  TokenizerParts parts_;
  TokenizerSource source_;
  bool add_bos_by_default_ = false;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE Tokenizer Tokenizer::from_parts(TokenizerParts parts, const std::string& where) {
  return Tokenizer(
      detail::TokenizerBuilder(detail::TokenizerPartsReader(std::move(parts), where).read()).build());
}

}  // namespace attune
