#include <attune/formats/checkpoint.hpp>
#include <attune/formats/gguf_checkpoint.hpp>
#include <attune/formats/gguf_config.hpp>
#include <attune/formats/gguf_convert.hpp>
#include <attune/formats/json.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "format_tools.hpp"

using namespace attune;
using namespace attune_test;

namespace {

const std::vector<std::string> models = {"llama", "qwen2", "qwen3", "gpt2"};
std::string model_file(const std::string& name) { return fixture("gguf_models/" + name); }

std::vector<float> values_of(const CheckpointReader& reader, const std::string& name) {
  const CheckpointTensor* tensor = reader.find(name);
  REQUIRE(tensor != nullptr);
  std::vector<float> values(static_cast<std::size_t>(tensor->shape.size()));
  reader.copy_as<float>(*tensor, values);
  return values;
}

/// Names, shapes and elements, bit for bit.
void check_same(const CheckpointReader& found, const CheckpointReader& expected) {
  CHECK(found.tensors().size() == expected.tensors().size());
  for (const CheckpointTensor& tensor : expected.tensors()) {
    CAPTURE(tensor.name);
    REQUIRE(found.find(tensor.name) != nullptr);
    CHECK(found.find(tensor.name)->shape == tensor.shape);
    CHECK(values_of(found, tensor.name) == values_of(expected, tensor.name));
  }
}

/// The config of a small model; `more` replaces fields.
JsonObject small_config(const std::string& name, const nlohmann::json& more = {}) {
  nlohmann::json config = gguf_to_config(GgufFile::open(model_file(name + ".gguf")));
  config.update(more.is_null() ? nlohmann::json::object() : more);
  return JsonObject(config, "config.json");
}

/// A GGUF with the metadata of a small model, changed, and its tensors.
std::string changed_copy(const TemporaryDirectory& directory, const std::string& name,
                         const std::function<void(GgufMetadata&)>& change) {
  const GgufFile file = GgufFile::open(model_file(name + ".gguf"));
  GgufMetadata metadata = file.metadata();
  change(metadata);
  std::vector<GgufTensorInfo> tensors;
  for (const GgufTensor& tensor : file.tensors())
    tensors.push_back({tensor.name, *tensor.type(), tensor.shape});
  const std::string path = directory.path("changed.gguf");
  save_gguf(path, metadata, tensors, [&](std::size_t i) { return file.bytes(file.tensors()[i]); });
  return path;
}

}  // namespace

TEST_CASE("a GGUF is the checkpoint that transformers reads in it") {
  for (const std::string& name : models) {
    CAPTURE(name);
    check_same(open_checkpoint(model_file(name + ".gguf")),
               CheckpointReader::open(model_file(name + ".safetensors")));
  }
}

TEST_CASE("a GGUF's config holds what transformers reads in it") {
  for (const std::string& name : models) {
    CAPTURE(name);
    const nlohmann::json config = read_model_config(model_file(name + ".gguf")).json();
    const nlohmann::json fields = read_json(model_file(name + ".json"));
    for (const auto& entry : fields.get_ref<const nlohmann::json::object_t&>()) {
      const std::string field = entry.first;
      const nlohmann::json& expected = entry.second;
      CAPTURE(field);
      REQUIRE(config.contains(field));
      if (expected.is_number_float())
        CHECK(config[field].get<float>() == expected.get<float>());
      else
        CHECK(config[field] == expected);
    }
  }
  CHECK(small_config("llama").json()["architectures"] == nlohmann::json({"LlamaForCausalLM"}));
  CHECK(small_config("gpt2").json()["architectures"] == nlohmann::json({"GPT2LMHeadModel"}));
  CHECK(small_config("llama").json()["rms_norm_eps"] == 1e-5);
}

TEST_CASE("quantised matrices are given as blocks, rows in the order of the elements") {
  const CheckpointReader reader = open_checkpoint(model_file("llama.gguf"));
  int seen = 0;
  for (const CheckpointTensor& tensor : reader.tensors()) {
    CAPTURE(tensor.name);
    const auto matrix = reader.read_quantized(tensor);
    CHECK(matrix.has_value() == (tensor.dtype_name == "Q4_0" || tensor.dtype_name == "Q8_0"));
    CHECK(tensor.dtype == (tensor.dtype_name == "F16"    ? DType::f16
                           : tensor.dtype_name == "BF16" ? DType::bf16
                                                         : DType::f32));
    if (!matrix) continue;
    ++seen;
    std::vector<float> values(static_cast<std::size_t>(matrix->shape.size()));
    dequantize_blocks(matrix->type, matrix->blocks.bytes, values);
    CHECK(values == values_of(reader, tensor.name));
  }
  CHECK(seen == 3);
  const CheckpointReader gpt2 = open_checkpoint(model_file("gpt2.gguf"));
  CHECK_FALSE(gpt2.read_quantized(*gpt2.find("transformer.h.0.mlp.c_fc.weight")));
}

TEST_CASE("a checkpoint written as F32 GGUF comes back bit for bit, and its config too") {
  const TemporaryDirectory directory;
  for (const std::string& name : models) {
    CAPTURE(name);
    const CheckpointReader weights = CheckpointReader::open(model_file(name + ".safetensors"));
    const std::string path = directory.path(name + ".gguf");
    const JsonObject config = small_config(name);
    save_gguf_checkpoint(path, config, weights, GgufMetadata(), {.type = GgmlType::f32, .name = "small"});
    check_same(open_checkpoint(path), weights);
    const GgufFile file = GgufFile::open(path);
    CHECK(file.metadata().string("general.name") == "small");
    CHECK(file.metadata().integer("general.file_type") == 0);
    const nlohmann::json again = gguf_to_config(file);
    for (const auto& entry : config.json().get_ref<const nlohmann::json::object_t&>())
      if (!entry.first.ends_with("token_id")) CHECK_MESSAGE(again[entry.first] == entry.second, entry.first);
  }
}

TEST_CASE("the layout of a written GGUF is llama.cpp's") {
  const TemporaryDirectory directory;
  for (const std::string& name : models) {
    CAPTURE(name);
    const std::string path = directory.path(name + ".gguf");
    save_gguf_checkpoint(path, small_config(name), CheckpointReader::open(model_file(name + ".safetensors")),
                         GgufMetadata(), {.type = GgmlType::f32});
    const GgufFile original = GgufFile::open(model_file(name + ".gguf")), written = GgufFile::open(path);
    CHECK(original.tensors().size() == written.tensors().size());
    for (const GgufTensor& tensor : original.tensors()) {
      CAPTURE(tensor.name);
      const GgufTensor* other = written.find(tensor.name);
      REQUIRE(other != nullptr);
      CHECK(other->shape == tensor.shape);
      std::vector<float> expected(static_cast<std::size_t>(tensor.shape.size())), found(expected.size());
      dequantize_blocks(*tensor.type(), original.bytes(tensor), expected);
      dequantize_blocks(*other->type(), written.bytes(*other), found);
      CHECK(found == expected);
    }
    // What the generator says of the model is said again.
    for (const auto& entry : original.metadata().entries()) {
      const std::string key = entry.first;
      if (key.starts_with("tokenizer.") || key.starts_with("general.")) continue;
      CAPTURE(key);
      REQUIRE(written.metadata().has(key));
      CHECK(*written.metadata().find(key) == entry.second);
    }
  }
}

TEST_CASE("quantised weights keep vectors as F32 and rows that are no whole blocks as F16") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("q.gguf");
  const CheckpointReader weights = CheckpointReader::open(model_file("llama.safetensors"));
  save_gguf_checkpoint(path, small_config("llama"), weights, GgufMetadata(), {.type = GgmlType::q4_0});
  const GgufFile file = GgufFile::open(path);
  CHECK(file.metadata().integer("general.quantization_version") == 2);
  for (const GgufTensor& tensor : file.tensors())
    CHECK(tensor.type() == (tensor.shape.rank() == 1 ? GgmlType::f32 : GgmlType::q4_0));
  const CheckpointReader again = open_checkpoint(path);
  for (const CheckpointTensor& tensor : weights.tensors()) {
    const std::vector<float> expected = values_of(weights, tensor.name),
                             found = values_of(again, tensor.name);
    for (std::size_t i = 0; i < expected.size(); ++i) REQUIRE(std::fabs(found[i] - expected[i]) < 0.06f);
  }

  const std::vector<float> row(8 * 48, 0.5f);
  const std::string odd = directory.path("odd.safetensors");
  save_safetensors(
      odd, {{"model.layers.0.mlp.down_proj.weight", DType::f32, {8, 48}, std::as_bytes(std::span(row))}});
  save_gguf_checkpoint(path, small_config("llama"), CheckpointReader::open(odd), GgufMetadata(),
                       {.type = GgmlType::q8_0});
  CHECK(GgufFile::open(path).find("blk.0.ffn_down.weight")->type() == GgmlType::f16);
}

TEST_CASE("rotary scalings go to GGUF and back") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("rope.gguf");
  const CheckpointReader weights = CheckpointReader::open(model_file("llama.safetensors"));
  const nlohmann::json llama3 = {{"rope_type", "llama3"},
                                 {"factor", 32.0},
                                 {"low_freq_factor", 1.0},
                                 {"high_freq_factor", 4.0},
                                 {"original_max_position_embeddings", 8192}};
  for (const nlohmann::json& scaling : {nlohmann::json{{"rope_type", "linear"}, {"factor", 2.5}}, llama3}) {
    const JsonObject config = small_config("llama", {{"rope_scaling", scaling}, {"rope_theta", 500000.0}});
    save_gguf_checkpoint(path, config, weights);
    const nlohmann::json again = gguf_to_config(GgufFile::open(path));
    CHECK(again["rope_scaling"] == scaling);
    CHECK(again["rope_theta"] == 500000.0);
  }
  // transformers 5 keeps everything in rope_parameters.
  nlohmann::json parameters = llama3;
  parameters["rope_theta"] = 500000.0;
  const auto factors =
      rope_factors_of(small_config("llama", {{"rope_scaling", nullptr}, {"rope_parameters", parameters}}));
  REQUIRE(factors.size() == 4);
  CHECK(factors[0] == 1.0f);
  CHECK(factors[3] == 32.0f);
  CHECK(factors[2] > 1.0f);
  CHECK(factors[2] < 32.0f);
  CHECK(error_of([&] {
          config_to_gguf(small_config("llama", {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2}}}}));
        }).ends_with("GGUF holds default, linear and llama3 here, found yarn"));
}

TEST_CASE("windows and several end-of-text ids") {
  const GgufMetadata metadata =
      config_to_gguf(small_config("llama", {{"model_type", "mistral"}, {"sliding_window", 7}}));
  CHECK(metadata.string("general.architecture") == "llama");
  CHECK(metadata.integer("llama.attention.sliding_window") == 7);
  const TemporaryDirectory directory;
  const nlohmann::json mistral =
      gguf_to_config(GgufFile::open(changed_copy(directory, "llama", [](GgufMetadata& m) {
        m.set("llama.attention.sliding_window", GgufValue::of_u32(7));
        m.set("tokenizer.ggml.eot_token_id", GgufValue::of_u32(5));
      })));
  CHECK(mistral["model_type"] == "mistral");
  CHECK(mistral["sliding_window"] == 7);
  CHECK(mistral["eos_token_id"] == nlohmann::json({2, 5}));
}

TEST_CASE("a GGUF that is no known model is refused by what is wrong") {
  const TemporaryDirectory directory;
  const auto config_error = [&](const std::string& name, const std::function<void(GgufMetadata&)>& change) {
    const std::string path = changed_copy(directory, name, change);
    return error_of([&] { read_model_config(path); });
  };
  const auto set = [](const std::string& key, GgufValue value) {
    return [key, value](GgufMetadata& metadata) { metadata.set(key, value); };
  };
  const auto ends = [](const std::string& error, const std::string& end) {
    INFO(error);
    CHECK(error.starts_with("ConfigError: "));
    CHECK(error.ends_with(end));
  };
  ends(config_error("llama", set("general.architecture", GgufValue::of_string("mamba"))),
       "general.architecture: expected llama, qwen2, qwen3 or gpt2, found 'mamba'");
  ends(config_error("llama", set("llama.expert_count", GgufValue::of_u32(8))),
       "llama.expert_count: mixtures of experts are not supported");
  ends(config_error("qwen3", set("qwen3.rope.dimension_count", GgufValue::of_u32(4))),
       "qwen3.rope.dimension_count: only whole heads of 8 are supported, found 4");
  ends(config_error("llama", set("llama.rope.scaling.type", GgufValue::of_string("yarn"))),
       "llama.rope.scaling.type: expected none or linear, found 'yarn'");
  ends(config_error("llama", set("llama.attention.head_count", GgufValue::of_string("4"))),
       "llama.attention.head_count: expected an integer, found string");
  ends(config_error("llama", set("llama.attention.head_count", GgufValue::of_u32(0))),
       "expected at least 1, found 0");
  ends(config_error("qwen3", set("qwen3.attention.value_length", GgufValue::of_u32(4))),
       "qwen3.attention.value_length: keys and values of two sizes are not supported");
  const std::string heads =
      changed_copy(directory, "llama", set("llama.attention.head_count", GgufValue::of_u32(5)));
  CHECK(error_of([&] { open_checkpoint(heads); }).find("is not 5 heads of an even size") !=
        std::string::npos);
  const std::string none =
      changed_copy(directory, "llama", set("llama.attention.head_count", GgufValue::of_u32(0)));
  CHECK(error_of([&] { open_checkpoint(none); }).ends_with("expected 1 to 65536 heads, found 0"));
}

TEST_CASE("what GGUF has no place for is refused by name") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("x.gguf"), file = directory.path("x.safetensors");
  const std::vector<float> values(8 * 32, 1.0f);
  const auto error = [&](const std::string& name, const Shape& shape, const nlohmann::json& more = {}) {
    save_safetensors(file,
                     {{name, DType::f32, shape,
                       std::as_bytes(std::span(values).first(static_cast<std::size_t>(shape.size())))}});
    return error_of(
        [&] { save_gguf_checkpoint(path, small_config("llama", more), CheckpointReader::open(file)); });
  };
  CHECK(error("score.weight", {8, 32})
            .ends_with("of GGUF has no place for tensor \"score.weight\" of shape [8, 32]"));
  CHECK(error("model.layers.0.mlp.up_proj.weight", {2, 4, 32}).find("has no place for") != std::string::npos);
  CHECK(error("model.layers.0.self_attn.q_proj.weight", {4, 8})
            .ends_with("[4, 8] is not 4 heads of an even size"));
  CHECK(error("model.norm.weight", {32}, {{"model_type", "bert"}})
            .ends_with("model_type: expected llama, mistral, qwen2, qwen3 or gpt2, found 'bert'"));
  CHECK(error("model.norm.weight", {32}, {{"hidden_act", "gelu"}})
            .ends_with("hidden_act: GGUF holds silu models only"));
  CHECK(error("model.norm.weight", {32}) == "none");
  CHECK(error_of([&] {
          save_gguf_checkpoint(path, small_config("llama"), CheckpointReader::open(file), GgufMetadata(),
                               {.type = GgmlType::q6_k});
        }).ends_with("expected F32, F16, BF16, Q8_0 or Q4_0, found Q6_K"));
}
