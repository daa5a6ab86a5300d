#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/core/log.hpp>
#include <attune/formats/json.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>

namespace attune::detail {

/// Reads the tokenizer files of one directory. The order of precedence is that of transformers'
/// `BertTokenizerFast`.
class BertTokenizerReader {
 public:
  explicit BertTokenizerReader(const std::string& directory) : directory_(directory) {
    std::error_code error;
    if (!std::filesystem::is_directory(directory_, error))
      throw IoError(directory, "expected a directory with tokenizer files");
    tokenizer_ = read_object("tokenizer.json");
    config_ = read_object("tokenizer_config.json");
    special_map_ = read_object("special_tokens_map.json");
    old_added_tokens_ = read_object("added_tokens.json");
  }

  std::shared_ptr<const BertTokenizerState> read() {
    const bool generic = check_class();
    read_config();
    BertTokenizerState::Vocabulary vocabulary;
    std::string source = path("vocab.txt");
    if (tokenizer_) {
      source = tokenizer_->where();
      check_components();
      read_normalizer(generic);
      vocabulary = read_model(tokenizer_->object("model"));
    } else if (file_exists(source)) {
      vocabulary = read_vocabulary_lines(source);
    } else {
      throw IoError(directory_.string(), "expected tokenizer.json or vocab.txt, found neither");
    }
    read_added_tokens();
    read_special_tokens(generic);
    return std::make_shared<const BertTokenizerState>(std::move(vocabulary), std::move(options_), source);
  }

 private:
  using Json = nlohmann::json;

  std::string path(const char* name) const { return (directory_ / name).string(); }
  std::optional<JsonObject> read_object(const char* name) const {
    if (!file_exists(path(name))) return std::nullopt;
    return JsonObject::read(path(name));
  }

  /// Whether the class takes tokenizer.json as it is. Bert's own takes the normaliser from
  /// tokenizer_config.json.
  bool check_class() const {
    constexpr std::string_view bert_classes[] = {"Bert",       "DistilBert", "Electra",
                                                 "MobileBert", "ConvBert",   "LayoutLM",
                                                 "Lxmert",     "Funnel",     "SqueezeBert"};
    if (!config_ || !config_->has("tokenizer_class")) return false;
    const std::string name = config_->get<std::string>("tokenizer_class");
    if (name == "PreTrainedTokenizerFast" || name == "TokenizersBackend") return true;
    for (const std::string_view known : bert_classes)
      if (name == std::string(known) + "Tokenizer" || name == std::string(known) + "TokenizerFast")
        return false;
    config_->refuse("tokenizer_class",
                    "expected BertTokenizer or one that works alike, found \"" + name + "\"");
  }

  void read_config() {
    options_.model_max_length = std::numeric_limits<std::int64_t>::max();
    if (!config_) return;
    options_.do_lower_case = config_->get("do_lower_case", true);
    options_.strip_accents = config_->find<bool>("strip_accents");
    options_.tokenize_chinese_chars = config_->get("tokenize_chinese_chars", true);
    options_.clean_up_tokenization_spaces = config_->get("clean_up_tokenization_spaces", false);
    const auto length = config_->find<double>("model_max_length");
    if (length && !(*length >= 1))
      config_->refuse("model_max_length", "expected a positive number, found " + std::to_string(*length));
    if (length && *length < 0x1p62) options_.model_max_length = static_cast<std::int64_t>(*length);
  }

  /// Throws ConfigError unless the field is absent, null or an object of the given type.
  void expect_type(const char* field, std::initializer_list<std::string_view> types,
                   bool may_be_missing) const {
    if (!tokenizer_->has(field)) {
      if (!may_be_missing) tokenizer_->refuse(field, "this field is required and missing or null");
      return;
    }
    const std::string type = tokenizer_->object(field).get<std::string>("type");
    if (std::find(types.begin(), types.end(), type) == types.end())
      tokenizer_->refuse(field, "expected type \"" + std::string(*types.begin()) + "\", found \"" + type +
                                    "\", which is not supported");
  }

  void check_components() const {
    expect_type("normalizer", {"BertNormalizer"}, false);
    expect_type("pre_tokenizer", {"BertPreTokenizer"}, false);
    expect_type("post_processor", {"TemplateProcessing", "BertProcessing"}, true);
    expect_type("decoder", {"WordPiece"}, true);
  }

  void read_normalizer(bool generic) {
    const JsonObject normalizer = tokenizer_->object("normalizer");
    options_.clean_text = normalizer.get("clean_text", true);
    const bool lower_case = normalizer.get("lowercase", true);
    const bool split_ideographs = normalizer.get("handle_chinese_chars", true);
    const auto strip_accents = normalizer.find<bool>("strip_accents");
    if (generic) {
      options_.do_lower_case = lower_case;
      options_.tokenize_chinese_chars = split_ideographs;
      options_.strip_accents = strip_accents;
    } else if (lower_case != options_.do_lower_case || split_ideographs != options_.tokenize_chinese_chars ||
               strip_accents != options_.strip_accents) {
      log(LogLevel::warning,
          normalizer.where() +
              ": differs from tokenizer_config.json (or its defaults), which counts, as in "
              "BertTokenizerFast");
    }
  }

  BertTokenizerState::Vocabulary read_model(const JsonObject& model) {
    // The oldest files name no type; what they hold tells.
    const std::string type = model.get("type", model.has("merges") ? "BPE" : "WordPiece");
    if (type != "WordPiece")
      model.refuse("type", "expected \"WordPiece\", found \"" + type + "\", which is not supported");
    options_.unk_token = model.get("unk_token", options_.unk_token);
    options_.continuing_subword_prefix =
        model.get("continuing_subword_prefix", options_.continuing_subword_prefix);
    options_.max_input_chars_per_word =
        model.get("max_input_chars_per_word", options_.max_input_chars_per_word);
    BertTokenizerState::Vocabulary vocabulary;
    const JsonObject entries = model.object("vocab");
    vocabulary.reserve(entries.json().size());
    for (const auto& [token, id] : entries.json().get_ref<const Json::object_t&>()) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= std::uint64_t{1} << 31)
        throw FormatError(tokenizer_->where(), -1,
                          "model: vocab: the id of \"" + token + "\" must be a number below 2^31");
      vocabulary.emplace_back(id.get<std::int32_t>(), token);
    }
    return vocabulary;
  }

  /// A token a line; white space at its end does not count, a line's number is the token's id.
  static BertTokenizerState::Vocabulary read_vocabulary_lines(const std::string& file) {
    const std::string text = read_text_file(file, static_cast<std::size_t>(ByteTrie::max_bytes));
    BertTokenizerState::Vocabulary vocabulary;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view line = std::string_view(text).substr(begin, end - begin);
      const auto number = static_cast<std::int32_t>(vocabulary.size());
      if (valid_utf8_prefix(line) != line.size())
        throw FormatError(file, number + 1, "this line is not valid UTF-8");
      line.remove_suffix(trailing_space(line));
      vocabulary.emplace_back(number, line);
      begin = end + 1;
    }
    return vocabulary;
  }

  /// A token as a string, or as an object with flags.
  static AddedToken read_token(const Json& json, const std::string& where, bool special) {
    if (json.is_string())
      return {.content = json.get<std::string>(), .normalized = !special, .special = special};
    const JsonObject object(json, where);
    AddedToken token{.content = object.get<std::string>("content"),
                     .special = object.get("special", special)};
    token.single_word = object.get("single_word", false);
    token.lstrip = object.get("lstrip", false);
    token.rstrip = object.get("rstrip", false);
    token.normalized = object.get("normalized", !token.special);
    return token;
  }

  /// Tokens with an id in some file, by that id. What they get is the vocabulary's id or the next free one.
  void read_added_tokens() {
    std::map<std::int64_t, AddedToken> listed;
    if (config_ && config_->has("added_tokens_decoder")) {
      const JsonObject decoder = config_->object("added_tokens_decoder");
      for (const auto& [id, token] : decoder.json().get_ref<const Json::object_t&>()) {
        if (id.empty() || id.size() > 10 || id.find_first_not_of("0123456789") != std::string::npos)
          decoder.refuse(id, "expected a token id");
        listed[std::stoll(id)] = read_token(token, decoder.where() + ": " + id, false);
      }
    } else {
      if (old_added_tokens_)
        for (const auto& [token, id] : old_added_tokens_->json().get_ref<const Json::object_t&>())
          listed[old_added_tokens_->get<std::int64_t>(token)] = {.content = token};
      if (tokenizer_ && tokenizer_->has("added_tokens")) {
        const Json& tokens = tokenizer_->json()["added_tokens"];
        if (!tokens.is_array()) tokenizer_->refuse("added_tokens", "expected an array");
        for (const Json& token : tokens) {
          const std::string where = tokenizer_->where() + ": added_tokens";
          listed[JsonObject(token, where).get<std::int64_t>("id")] = read_token(token, where, false);
        }
      }
    }
    for (auto& [id, token] : listed) options_.added_tokens.push_back(std::move(token));
  }

  /// The field from special_tokens_map.json, which only counts without added_tokens_decoder, or
  /// tokenizer_config.json.
  std::pair<const Json*, std::string> special_field(const std::string& key) const {
    if (special_map_ && special_map_->has(key) && !(config_ && config_->has("added_tokens_decoder")))
      return {&special_map_->json()[key], special_map_->where() + ": " + key};
    if (config_ && config_->json().contains(key))
      return {&config_->json()[key], config_->where() + ": " + key};
    return {nullptr, ""};
  }

  void add_special(AddedToken token) {
    token.special = true;
    for (AddedToken& known : options_.added_tokens)
      if (known.content == token.content) {
        known.special = true;
        return;
      }
    options_.added_tokens.push_back(std::move(token));
  }

  void read_special_tokens(bool generic) {
    const std::array<std::pair<const char*, std::string*>, 7> names{{{"bos_token", nullptr},
                                                                     {"eos_token", nullptr},
                                                                     {"unk_token", &options_.unk_token},
                                                                     {"sep_token", &options_.sep_token},
                                                                     {"pad_token", &options_.pad_token},
                                                                     {"cls_token", &options_.cls_token},
                                                                     {"mask_token", &options_.mask_token}}};
    for (const auto& [key, name] : names) {
      const auto [json, where] = special_field(key);
      AddedToken token{.content = name ? *name : "", .normalized = false};
      if (json && !json->is_null()) token = read_token(*json, where, true);
      if (json && json->is_null() && name && !generic)
        throw ConfigError(where + ": a BERT tokenizer needs this token, found null");
      if (name) *name = token.content;
      if (!token.content.empty()) add_special(std::move(token));
    }
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      const auto [json, where] = special_field(key);
      if (!json || json->is_null()) continue;
      if (!json->is_structured()) throw ConfigError(where + ": expected an array or an object of tokens");
      for (const Json& token : *json) add_special(read_token(token, where, true));
    }
    if (tokenizer_ && tokenizer_->has("post_processor")) check_post_processor();
  }

  void check_post_processor() const {
    const JsonObject processor = tokenizer_->object("post_processor");
    std::string found;
    if (processor.get<std::string>("type") == "BertProcessing") {
      const auto name = [&](const char* key) {
        const Json& pair = processor.json().contains(key) ? processor.json()[key] : Json();
        return pair.is_array() && pair.size() == 2 && pair[0].is_string() ? pair[0].get<std::string>() : "?";
      };
      found = name("cls") + ":0 A:0 " + name("sep") + ":0 B:1 " + name("sep") + ":1 ";
    } else {
      found = template_text(processor, "pair");
    }
    const std::string expected =
        options_.cls_token + ":0 A:0 " + options_.sep_token + ":0 B:1 " + options_.sep_token + ":1 ";
    if (found != expected)
      throw ConfigError(processor.where() + ": expected the template \"" + expected + "\", found \"" + found +
                        "\"");
  }

  /// "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1 "
  static std::string template_text(const JsonObject& processor, const char* key) {
    std::string text;
    const Json& pieces = processor.json().contains(key) ? processor.json()[key] : Json();
    if (!pieces.is_array()) processor.refuse(key, "expected an array");
    for (const Json& piece : pieces) {
      if (!piece.is_object() || piece.size() != 1) processor.refuse(key, "expected objects of one field");
      const JsonObject body(piece.begin().value(), processor.where() + ": " + key);
      text += body.get<std::string>("id") + ":" + std::to_string(body.get<std::int64_t>("type_id")) + " ";
    }
    return text;
  }

  std::filesystem::path directory_;
  std::optional<JsonObject> tokenizer_, config_, special_map_, old_added_tokens_;
  BertTokenizerOptions options_;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE BertTokenizer BertTokenizer::from_pretrained(const std::string& directory) {
  return BertTokenizer(detail::BertTokenizerReader(directory).read());
}

}  // namespace attune
