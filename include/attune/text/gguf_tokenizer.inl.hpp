#pragma once

#include <filesystem>
#include <limits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/text/gguf_tokenizer.hpp>
#include <attune/text/split_patterns.hpp>

namespace attune::detail {

/// Reads the files of a tokenizer for GGUF.
class GgufTokenizerWriter {
 public:
  GgufTokenizerWriter(const std::string& directory, std::int64_t vocab_size)
      : path_(directory + "/tokenizer.json"),
        tokenizer_(read_json(path_, {.max_values = 16'000'000})),
        vocab_size_(vocab_size) {
    if (!tokenizer_.is_object()) throw FormatError(path_, 0, "expected an object");
    const std::string config = directory + "/tokenizer_config.json";
    if (std::filesystem::exists(config)) config_ = read_json(config);
    const std::string chat = directory + "/chat_template.jinja";
    if (std::filesystem::exists(chat))
      chat_template_ = read_text_file(chat);
    else if (config_.contains("chat_template") && config_["chat_template"].is_string())
      chat_template_ = config_["chat_template"].get<std::string>();
  }

  GgufMetadata write() {
    read_vocabulary();
    read_added_tokens();
    pad();
    GgufMetadata metadata(path_);
    metadata.set("tokenizer.ggml.model", GgufValue::of_string("gpt2"));
    metadata.set("tokenizer.ggml.pre", GgufValue::of_string(pre_tokenizer_name()));
    metadata.set("tokenizer.ggml.tokens", GgufValue::of_array(GgufArray::of_strings(tokens_)));
    metadata.set("tokenizer.ggml.token_type", GgufValue::of_array(GgufArray::of_i32(types_)));
    metadata.set("tokenizer.ggml.merges", GgufValue::of_array(GgufArray::of_strings(merges())));
    for (const auto& [field, key] : {std::pair{"bos_token", "bos_token_id"},
                                     {"eos_token", "eos_token_id"},
                                     {"unk_token", "unknown_token_id"},
                                     {"pad_token", "padding_token_id"}})
      if (const std::int64_t id = special_id(field); id >= 0)
        metadata.set(std::string("tokenizer.ggml.") + key, GgufValue::of_u32(static_cast<std::uint32_t>(id)));
    metadata.set("tokenizer.ggml.add_bos_token",
                 GgufValue::of_bool(adds("bos_token", "add_bos_token", true)));
    metadata.set("tokenizer.ggml.add_eos_token",
                 GgufValue::of_bool(adds("eos_token", "add_eos_token", false)));
    metadata.set("tokenizer.ggml.add_space_prefix", GgufValue::of_bool(false));
    if (!chat_template_.empty())
      metadata.set("tokenizer.chat_template", GgufValue::of_string(chat_template_));
    return metadata;
  }

 private:
  using Json = nlohmann::json;
  enum TokenType : std::int32_t { normal = 1, control = 3, user_defined = 4, unused = 5 };

  [[noreturn]] void refuse(const std::string& what) const { throw ConfigError(path_ + ": " + what); }

  void set_token(std::int64_t id, const std::string& token, std::int32_t type) {
    if (id < 0 || id > (1 << 24)) refuse("token id " + std::to_string(id) + " is out of range");
    const auto at = static_cast<std::size_t>(id);
    if (at >= tokens_.size()) {
      tokens_.resize(at + 1);
      types_.resize(at + 1, 0);
    }
    tokens_[at] = token;
    types_[at] = type;
  }

  const Json& model() const {
    const auto model = tokenizer_.find("model");
    if (model == tokenizer_.end() || !model->is_object() ||
        model->value("type", std::string("BPE")) != "BPE" || !model->contains("vocab") ||
        !(*model)["vocab"].is_object() || !model->contains("merges") || !(*model)["merges"].is_array())
      refuse("model: only BPE with a vocabulary and merges can be written");
    if (model->contains("byte_fallback") && (*model)["byte_fallback"] == true)
      refuse("model: byte fallback cannot be written");
    return *model;
  }
  void read_vocabulary() {
    for (const auto& [token, id] : model()["vocab"].get_ref<const Json::object_t&>()) {
      if (!id.is_number_integer()) refuse("model: vocab: expected integers");
      set_token(id.get<std::int64_t>(), token, normal);
    }
  }
  void read_added_tokens() {
    if (!tokenizer_.contains("added_tokens") || !tokenizer_["added_tokens"].is_array()) return;
    for (const Json& token : tokenizer_["added_tokens"]) {
      if (!token.is_object() || !token.contains("id") || !token["id"].is_number_integer() ||
          !token.contains("content") || !token["content"].is_string())
        refuse("added_tokens: expected objects with an id and a content");
      set_token(token["id"].get<std::int64_t>(), token["content"].get<std::string>(),
                token.contains("special") && token["special"] == true ? control : user_defined);
    }
  }
  void pad() {
    if (static_cast<std::int64_t>(tokens_.size()) > vocab_size_)
      refuse("the tokenizer has " + std::to_string(tokens_.size()) + " tokens, the model only " +
             std::to_string(vocab_size_));
    tokens_.resize(static_cast<std::size_t>(vocab_size_));
    types_.resize(tokens_.size(), 0);
    for (std::size_t id = 0; id < tokens_.size(); ++id) {
      if (types_[id] != 0) continue;
      tokens_[id] = "[PAD" + std::to_string(id) + "]";
      types_[id] = unused;
    }
  }

  std::vector<std::string> merges() const {
    std::vector<std::string> result;
    for (const Json& merge : model()["merges"]) {
      if (merge.is_string())
        result.push_back(merge.get<std::string>());
      else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
        result.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
      else
        refuse("model: merges: expected pairs");
    }
    return result;
  }

  /// llama.cpp's name for how texts are split.
  std::string pre_tokenizer_name() const {
    const Json pre = tokenizer_.contains("pre_tokenizer") ? tokenizer_["pre_tokenizer"] : Json();
    const auto is_type = [](const Json& part, const char* type) {
      return part.is_object() && part.contains("type") && part["type"] == type;
    };
    const auto byte_level = [&](const Json& part, bool regex) {
      return is_type(part, "ByteLevel") &&
             (!part.contains("use_regex") || part["use_regex"] == true) == regex &&
             !(part.contains("add_prefix_space") && part["add_prefix_space"] == true);
    };
    if (byte_level(pre, true)) return "gpt-2";
    if (is_type(pre, "Sequence") && pre.contains("pretokenizers") && pre["pretokenizers"].is_array() &&
        pre["pretokenizers"].size() == 2) {
      const Json& first = pre["pretokenizers"][0];
      const Json& second = pre["pretokenizers"][1];
      if (is_type(first, "Digits") && first.contains("individual_digits") &&
          first["individual_digits"] == true && byte_level(second, true))
        return "smollm";
      if (is_type(first, "Split") && byte_level(second, false) && first.contains("pattern") &&
          first["pattern"].is_object() && first["pattern"].contains("Regex")) {
        if (first["pattern"]["Regex"] == std::string(llama3_split_regex)) return "llama-bpe";
        if (first["pattern"]["Regex"] == std::string(qwen2_split_regex)) return "qwen2";
      }
    }
    refuse(
        "pre_tokenizer: llama.cpp has no name for it that attune knows (gpt-2, smollm, llama-bpe or qwen2)");
  }

  /// The id of a special token named in tokenizer_config.json, or -1.
  std::int64_t special_id(const char* field) const {
    if (!config_.is_object() || !config_.contains(field)) return -1;
    const Json& value = config_[field];
    const Json& content = value.is_object() && value.contains("content") ? value["content"] : value;
    if (!content.is_string()) return -1;
    const auto place = std::find(tokens_.begin(), tokens_.end(), content.get<std::string>());
    return place == tokens_.end() ? -1 : place - tokens_.begin();
  }

  /// Whether a text gets the token at its begin or end: as the configuration says, else as the post-processor
  /// does.
  bool adds(const char* token, const char* field, bool front) const {
    if (config_.is_object() && config_.contains(field) && config_[field].is_boolean())
      return config_[field].get<bool>();
    if (special_id(token) < 0) return false;
    const Json post = tokenizer_.contains("post_processor") ? tokenizer_["post_processor"] : Json();
    const Json processors =
        post.is_object() && post.contains("processors") ? post["processors"] : Json::array({post});
    for (const Json& processor : processors) {
      if (!processor.is_object() || !processor.contains("single") || !processor["single"].is_array() ||
          processor["single"].empty())
        continue;
      const Json& piece = front ? processor["single"].front() : processor["single"].back();
      if (piece.is_object() && piece.contains("SpecialToken")) return true;
    }
    return false;
  }

  std::string path_;
  Json tokenizer_, config_;
  std::string chat_template_;
  std::int64_t vocab_size_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> types_;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE TokenizerParts read_tokenizer_parts(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  const std::string ggml = "tokenizer.ggml.";
  TokenizerParts parts;
  const auto model = metadata.string(ggml + "model");
  if (!model) metadata.throw_missing(ggml + "model");
  parts.model = *model;
  parts.pre = metadata.string(ggml + "pre").value_or(parts.model == "gpt2" ? "gpt-2" : "default");
  parts.tokens = metadata.strings(ggml + "tokens");
  for (const double score : metadata.numbers(ggml + "scores"))
    parts.scores.push_back(static_cast<float>(score));
  for (const std::int64_t type : metadata.integers(ggml + "token_type")) {
    if (type < 0 || type > 6)
      metadata.refuse(ggml + "token_type", "expected 0 to 6, found " + std::to_string(type));
    parts.token_types.push_back(static_cast<std::int32_t>(type));
  }
  parts.merges = metadata.strings(ggml + "merges");
  parts.bos_token_id = metadata.integer(ggml + "bos_token_id");
  parts.eos_token_id = metadata.integer(ggml + "eos_token_id");
  parts.unk_token_id = metadata.integer(ggml + "unknown_token_id");
  parts.sep_token_id = metadata.integer(ggml + "seperator_token_id");  // ggml's spelling
  parts.pad_token_id = metadata.integer(ggml + "padding_token_id");
  parts.cls_token_id = metadata.integer(ggml + "cls_token_id");
  parts.mask_token_id = metadata.integer(ggml + "mask_token_id");
  parts.add_bos_token = metadata.boolean(ggml + "add_bos_token");
  parts.add_eos_token = metadata.boolean(ggml + "add_eos_token");
  parts.add_space_prefix = metadata.boolean(ggml + "add_space_prefix");
  parts.chat_template = metadata.string("tokenizer.chat_template").value_or("");
  const std::string architecture = metadata.string("general.architecture").value_or("");
  parts.model_max_length = metadata.integer(architecture + ".context_length").value_or(0);
  return parts;
}

ATTUNE_INLINE GgufMetadata tokenizer_to_gguf(const std::string& directory, std::int64_t vocab_size) {
  if (vocab_size < 1 || vocab_size > (1 << 24))
    throw ConfigError(directory + ": vocab_size: expected 1 to 16777216, found " +
                      std::to_string(vocab_size));
  return detail::GgufTokenizerWriter(directory, vocab_size).write();
}

}  // namespace attune
