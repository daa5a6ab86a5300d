#pragma once

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/formats/json.hpp>
#include <attune/text/tokenizer_components.inl.hpp>
#include <attune/text/tokenizer_state.hpp>

namespace attune::detail {

/// A token as a string, or as an object with flags.
ATTUNE_INLINE AddedToken parse_added_token(const nlohmann::json& json, const std::string& where,
                                           bool special) {
  if (json.is_string())
    return {.content = json.get<std::string>(), .normalized = !special, .special = special};
  const JsonObject object(json, where);
  AddedToken token{.content = object.get<std::string>("content"), .special = object.get("special", special)};
  token.single_word = object.get("single_word", false);
  token.lstrip = object.get("lstrip", false);
  token.rstrip = object.get("rstrip", false);
  token.normalized = object.get("normalized", !token.special);
  return token;
}

/// What all ways to a tokenizer lead to: a tokenizer.json whose vocabulary and merges are already apart, and
/// what transformers keeps beside it.
struct TokenizerSource {
  std::string where;
  nlohmann::json components = nlohmann::json::object();  ///< tokenizer.json without model.vocab, model.merges
  Vocabulary vocabulary;                                 ///< finished
  std::vector<double> scores;                            ///< Unigram: by id
  TokenizerState::Merges merges;
  nlohmann::json config = nlohmann::json::object();       ///< tokenizer_config.json
  nlohmann::json special_map = nlohmann::json::object();  ///< special_tokens_map.json
  std::string chat_template;                              ///< chat_template.jinja
};

class TokenizerBuilder {
 public:
  explicit TokenizerBuilder(TokenizerSource source)
      : source_(std::move(source)),
        tokenizer_(source_.components, source_.where),
        config_(source_.config, source_.where + ": tokenizer_config.json") {}

  std::shared_ptr<const TokenizerState> build() {
    PreTokenizer pre_tokenizer;
    if (tokenizer_.has("pre_tokenizer"))
      read_pre_tokenizer(tokenizer_.object("pre_tokenizer"), pre_tokenizer);
    TokenModel model = make_model(pre_tokenizer.byte_level);
    state_ = std::make_shared<TokenizerState>(std::move(source_.vocabulary), std::move(model), source_.where);
    state_->pre_tokenizer = std::move(pre_tokenizer);
    state_->merges = std::move(source_.merges);
    if (tokenizer_.has("normalizer"))
      read_normalizer(tokenizer_.object("normalizer"), state_->normalizer.steps);
    if (tokenizer_.has("decoder")) {
      state_->has_decoder = true;
      read_decoder(tokenizer_.object("decoder"), state_->decoder);
    }
    add_tokens();
    read_special_tokens();
    read_config();
    state_->finish(source_.where);
    if (tokenizer_.has("post_processor"))
      state_->post_processor =
          PostProcessorReader(tokenizer_.object("post_processor"), state_->vocab_size).take();
    source_.components.erase("added_tokens");
    state_->components = std::make_shared<const nlohmann::json>(std::move(source_.components));
    state_->config = std::make_shared<const nlohmann::json>(std::move(source_.config));
    return state_;
  }

 private:
  TokenModel make_model(bool byte_level) {
    const JsonObject model = tokenizer_.object("model");
    const auto type = model.get<std::string>("type");
    if (type == "BPE") return make_bpe(model, byte_level);
    if (type != "WordPiece" && type != "Unigram") refuse_type(model, type);
    if (byte_level) tokenizer_.refuse("pre_tokenizer", "ByteLevel with " + type + " is not supported");
    if (type == "WordPiece") {
      WordPieceModel::Options options;
      options.unk_token = model.get("unk_token", options.unk_token);
      options.continuing_subword_prefix =
          model.get("continuing_subword_prefix", options.continuing_subword_prefix);
      options.max_input_chars_per_word =
          model.get("max_input_chars_per_word", options.max_input_chars_per_word);
      if (options.max_input_chars_per_word < 0)
        model.refuse("max_input_chars_per_word", "expected a number that is not negative");
      return WordPieceModel(source_.vocabulary, std::move(options), model.where());
    }
    const auto unk = model.find<std::int64_t>("unk_id");
    if (unk && !(*unk >= 0 && *unk < source_.vocabulary.id_end()))
      model.refuse("unk_id", "expected an id of the vocabulary, found " + std::to_string(*unk));
    return UnigramModel(source_.vocabulary, std::move(source_.scores),
                        unk ? static_cast<std::int32_t>(*unk) : -1, model.get("byte_fallback", false),
                        model.where());
  }

  BpeModel make_bpe(const JsonObject& model, bool byte_level) {
    BpeOptions options;
    if (model.get("dropout", 0.0) != 0)
      model.refuse("dropout", "ids would be random; only null or 0 is supported");
    options.byte_level = byte_level;
    options.byte_fallback = model.get("byte_fallback", false);
    options.ignore_merges = model.get("ignore_merges", false);
    options.fuse_unk = model.get("fuse_unk", false);
    options.continuing_subword_prefix = model.get("continuing_subword_prefix", "");
    options.end_of_word_suffix = model.get("end_of_word_suffix", "");
    if (const std::string unk = model.get("unk_token", ""); !unk.empty()) {
      options.unk_id = source_.vocabulary.find(unk);
      if (options.unk_id < 0) model.refuse("unk_token", "the vocabulary lacks \"" + unk + "\"");
    }
    return BpeModel(source_.vocabulary, source_.merges, std::move(options), model.where());
  }

  bool is_added(const std::string& content) const {
    const auto id = state_->id_of(content);
    return id && state_->added.count(*id) != 0;
  }

  void add_tokens() {
    if (tokenizer_.has("added_tokens"))
      for_each_object(tokenizer_, "added_tokens", [&](const JsonObject& token) {
        state_->add_token(parse_added_token(token.json(), token.where(), false));
      });
    if (!config_.has("added_tokens_decoder")) return;
    const JsonObject decoder = config_.object("added_tokens_decoder");
    std::map<std::int64_t, AddedToken> listed;
    for (const auto& [id, token] : decoder.json().get_ref<const nlohmann::json::object_t&>()) {
      if (id.empty() || id.size() > 10 || id.find_first_not_of("0123456789") != std::string::npos)
        decoder.refuse(id, "expected a token id");
      listed[std::stoll(id)] = parse_added_token(token, decoder.where() + ": " + id, false);
    }
    for (const auto& [id, token] : listed)
      if (!is_added(token.content)) state_->add_token(token);
  }

  void add_special(const AddedToken& token) {
    if (!token.content.empty() && !is_added(token.content)) state_->add_token(token);
  }

  void read_special_tokens() {
    const JsonObject map(source_.special_map, source_.where + ": special_tokens_map.json");
    const auto find = [&](const char* key) -> std::pair<const nlohmann::json*, std::string> {
      for (const JsonObject* object : std::initializer_list<const JsonObject*>{&config_, &map})
        if (object->has(key)) return {&object->json()[key], object->where() + ": " + key};
      return {nullptr, ""};
    };
    for (const char* key :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      const auto [json, where] = find(key);
      if (!json) continue;
      AddedToken token = parse_added_token(*json, where, true);
      token.special = true;
      state_->special_tokens[key] = token.content;
      add_special(token);
    }
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      const auto [json, where] = find(key);
      if (!json) continue;
      if (!json->is_structured()) throw ConfigError(where + ": expected an array or an object of tokens");
      for (const nlohmann::json& entry : *json) {
        AddedToken token = parse_added_token(entry, where, true);
        token.special = true;
        add_special(token);
      }
    }
  }

  void read_config() {
    state_->clean_up_tokenization_spaces = config_.get("clean_up_tokenization_spaces", false);
    state_->model_max_length = std::numeric_limits<std::int64_t>::max();
    const auto length = config_.find<double>("model_max_length");
    if (length && !(*length >= 1))
      config_.refuse("model_max_length", "expected a positive number, found " + std::to_string(*length));
    if (length && *length < 0x1p62) state_->model_max_length = static_cast<std::int64_t>(*length);
    state_->chat_template = source_.chat_template;
    const auto field = config_.json().find("chat_template");
    if (!state_->chat_template.empty() || field == config_.json().end() || field->is_null()) return;
    if (!field->is_array()) {
      state_->chat_template = config_.get<std::string>("chat_template");
      return;
    }
    // Several, each under a name.
    for_each_object(config_, "chat_template", [&](const JsonObject& entry) {
      if (state_->chat_template.empty() || entry.get<std::string>("name") == "default")
        state_->chat_template = entry.get<std::string>("template");
    });
  }

  TokenizerSource source_;
  JsonObject tokenizer_;
  JsonObject config_;
  std::shared_ptr<TokenizerState> state_;
};

}  // namespace attune::detail
