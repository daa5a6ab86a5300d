// Adapter directories that are broken or lie: a typed error each that names what is wrong, and nothing is
// written.
#include "models/small_models.hpp"

#include <doctest/doctest.h>
#include <attune/peft/adapter_file.hpp>
#include <attune/peft/lora_config.hpp>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

using namespace attune;

namespace {

enum class Kind { io, format, config };

/// What a call throws; "nothing" or another exception fails.
template <class F>
void check_refused(Kind kind, const std::string& part, const F& f) {
  std::string thrown = "nothing", message;
  try {
    f();
  } catch (const IoError& error) {
    thrown = "io", message = error.what();
  } catch (const FormatError& error) {
    thrown = "format", message = error.what();
  } catch (const ConfigError& error) {
    thrown = "config", message = error.what();
  } catch (const std::exception& error) {
    thrown = error.what();
  }
  CHECK(thrown == (kind == Kind::io ? "io" : kind == Kind::format ? "format" : "config"));
  CHECK_MESSAGE(message.find(part) != std::string::npos, message);
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

struct BrokenConfig {
  std::string text;
  Kind kind;
  std::string part;  ///< of the message
};

/// A config with one field changed.
BrokenConfig field(const std::string& name, const std::string& value, const std::string& part,
                   Kind kind = Kind::config) {
  const std::string target = name == "target_modules" ? "" : R"("target_modules": ["q_proj"], )";
  return {"{" + target + "\"" + name + "\": " + value + "}", kind, part};
}

/// A safetensors file by hand.
std::string file_of(const std::string& header, const std::string& data) {
  std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  std::uint64_t begin, std::uint64_t end) {
  return "\"" + name + "\": {\"dtype\": \"" + dtype + "\", \"shape\": " + shape + ", \"data_offsets\": [" +
         std::to_string(begin) + ", " + std::to_string(end) + "]}";
}

}  // namespace

TEST_CASE("adapters: broken configs are refused by name") {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/adapter_config.json";
  const auto read = [&] { return LoraConfig::from_pretrained(directory.path()); };
  check_refused(Kind::io, "adapter_config.json", read);

  const std::string nested(100000, '[');
  const std::vector<BrokenConfig> cases = {
      {"", Kind::format, "adapter_config.json"},
      {"{", Kind::format, "adapter_config.json"},
      {R"({"r": 8, "target_modules": ["q_proj")", Kind::format, "adapter_config.json"},
      {R"(["q_proj"])", Kind::format, "object"},
      {R"({"r": )" + nested, Kind::format, "adapter_config.json"},
      {R"({"r": 8, "r": 4, "target_modules": ["q_proj"]})", Kind::format, "r"},
      {"{\"target_modules\": [\"\xff\xfe\"]}", Kind::format, "adapter_config.json"},
      {"{\"target_modules\": [\"q_proj\"], \"lora_alpha\": NaN}", Kind::format, "adapter_config.json"},
      {"{}", Kind::config, "target_modules"},
      field("peft_type", R"("IA3")", "peft_type: expected LORA, found IA3"),
      field("peft_type", "7", "peft_type"),
      field("r", R"("8")", "r: expected an integer"),
      field("r", "2.5", "r: expected an integer"),
      field("r", "0", "r: expected 1 to 65536"),
      field("r", "-4", "r: expected 1 to 65536"),
      field("r", "1000000000000", "r: expected 1 to 65536"),
      field("lora_alpha", R"("16")", "lora_alpha"),
      field("lora_alpha", "1e999", "adapter_config.json", Kind::format),
      field("lora_dropout", "1.5", "lora_dropout: expected a probability below 1"),
      field("lora_dropout", "-0.1", "lora_dropout"),
      field("lora_dropout", "[]", "lora_dropout"),
      field("target_modules", "null", "target_modules"),
      field("target_modules", "[]", "target_modules"),
      field("target_modules", "3", "target_modules"),
      field("target_modules", "[1, 2]", "target_modules"),
      field("target_modules", R"("(q|v_proj")", "target_modules: '(q|v_proj' is no regular expression"),
      field("target_modules", R"("[a-")", "target_modules"),
      field("target_modules", R"("(q)\\1")", "target_modules"),
      field("target_modules", R"("(?<=q)_proj")", "target_modules"),
      field("target_modules", R"("((a{200}){200}){200}")", "too large"),
      field("target_modules", R"("a{99999999999999999999999}")", "too large"),
      field("target_modules", "\"" + std::string(5000, 'q') + "\"", "too large"),
      field("exclude_modules", R"("*")", "exclude_modules"),
      field("modules_to_save", R"("score")", "modules_to_save: expected a list"),
      field("rank_pattern", R"(["q_proj"])", "rank_pattern"),
      field("rank_pattern", R"({"q_proj": "4"})", "q_proj"),
      field("rank_pattern", R"({"q_proj": 0})", "rank_pattern: expected 1 to 65536"),
      field("rank_pattern", R"({"q_(": 4})", "rank_pattern"),
      field("alpha_pattern", R"({"q_proj": "4"})", "q_proj"),
      field("alpha_pattern", R"x({"q_proj)": 4})x", "alpha_pattern"),
      field("use_rslora", R"("yes")", "use_rslora"),
      field("use_dora", "1", "use_dora"),
      field("bias", R"("lora_only")", "bias: expected none"),
      field("bias", "false", "bias"),
      field("init_lora_weights", R"("pissa")", "init_lora_weights"),
      field("layers_to_transform", "[0]", "layers_to_transform: is not supported"),
      field("layer_replication", "[[0, 4]]", "layer_replication"),
      field("use_qalora", "true", "use_qalora"),
      field("task_type", "[]", "task_type"),
  };
  CHECK(cases.size() >= 40);
  for (const BrokenConfig& broken : cases) {
    const std::string text = broken.text.substr(0, 80);
    CAPTURE(text);
    write(path, broken.text);
    check_refused(broken.kind, broken.part, read);
  }

  // What backtracking would never finish with.
  write(path, field("target_modules", R"("((a|a)*)*b")", "").text);
  CHECK_FALSE(read().targets(std::string(60, 'a')));
}

TEST_CASE("adapters: broken weights are refused by name, and nothing is written") {
  const testing::TemporaryDirectory directory;
  const std::string path = directory.path() + "/adapter_model.safetensors";
  const std::string a = "base_model.model.q_proj.lora_A.weight", b = "base_model.model.q_proj.lora_B.weight";
  int written = 0;
  const auto target = [&](const std::string& name, const Shape& shape) {
    return detail::LoadTarget{name, shape, Init::zeros, [&](std::span<const float>) { ++written; }, {}};
  };
  const std::vector<detail::LoadTarget> targets{target(a, {2, 3}), target(b, {4, 2})};
  const auto read = [&] { detail::load_adapter_file(targets, path); };
  check_refused(Kind::io, "adapter_model.safetensors", read);

  const std::string good_a = entry(a, "F32", "[2, 3]", 0, 24), good_b = entry(b, "F32", "[4, 2]", 24, 56);
  const std::string data(56, '\0');
  const std::string huge = std::string("\xff\xff\xff\xff\xff\xff\xff\x0f", 8);
  struct BrokenFile {
    std::string bytes;
    Kind kind;
    std::string part;
  };
  const auto with = [&](const std::string& first, const std::string& second, Kind kind,
                        const std::string& part) {
    return BrokenFile{file_of("{" + first + ", " + second + "}", data), kind, part};
  };
  const std::vector<BrokenFile> cases = {
      {"", Kind::format, "adapter_model.safetensors"},
      {"PK\x03\x04", Kind::format, "adapter_model.safetensors"},
      {huge + "{}", Kind::format, "adapter_model.safetensors"},
      {file_of("{", ""), Kind::format, "adapter_model.safetensors"},
      {file_of("[]", ""), Kind::format, "adapter_model.safetensors"},
      {file_of("{}", ""), Kind::config, "there is no tensor " + a},
      {file_of("{" + good_a + "}", data.substr(0, 24)), Kind::config, "there is no tensor " + b},
      {file_of("{" + good_a + ", " + good_b + "}", data.substr(0, 40)), Kind::format,
       "adapter_model.safetensors"},
      {file_of("{" + good_a + ", " + good_b + "}", data + "more"), Kind::format, "adapter_model.safetensors"},
      with(good_a, entry(b, "F32", "[4, 2]", 0, 32), Kind::format, "adapter_model.safetensors"),
      with(good_a, entry(b, "F32", "[2, 4]", 24, 56), Kind::config, b + ": expected [4, 2]"),
      with(good_a, entry(b, "F32", "[8]", 24, 56), Kind::config, b + ": expected [4, 2]"),
      with(good_a, entry(b, "F32", "[-4, -2]", 24, 56), Kind::format, "adapter_model.safetensors"),
      with(good_a, entry(b, "F32", "[4294967296, 4294967296, 8]", 24, 56), Kind::format,
           "adapter_model.safetensors"),
      with(good_a, entry(b, "F32", "[4, 2]", 24, 48), Kind::format, "adapter_model.safetensors"),
      with(good_a, entry(b, "I32", "[4, 2]", 24, 56), Kind::config, b + ": expected floating-point numbers"),
      with(good_a, entry(b, "NF4", "[4, 2]", 24, 56), Kind::format, "adapter_model.safetensors"),
      with(good_a, entry("base_model.model.v_proj.lora_B.weight", "F32", "[4, 2]", 24, 56), Kind::config,
           "there is no tensor " + b),
      with(good_a, good_a, Kind::format, "adapter_model.safetensors"),
      {file_of(
           "{" + good_a + ", " + good_b + ", " + entry("base_model.model.extra", "F32", "[1]", 56, 60) + "}",
           data + "abcd"),
       Kind::config, "the model has no place for base_model.model.extra"},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    write(path, cases[i].bytes);
    check_refused(cases[i].kind, cases[i].part, read);
  }
  CHECK(written == 0);
  write(path, file_of("{" + good_a + ", " + good_b + "}", data));
  read();
  CHECK(written == 2);
}
