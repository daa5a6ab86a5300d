// Turns a GGUF file into a Hugging Face model directory, or a directory into a GGUF file, tokenizer included.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <attune/formats/gguf_checkpoint.hpp>
#include <attune/formats/gguf_config.hpp>
#include <attune/formats/gguf_convert.hpp>
#include <attune/text/gguf_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>

namespace {

using attune::DType;

template <class T>
void convert(const attune::CheckpointReader& reader, const attune::CheckpointTensor& tensor,
             std::vector<std::byte>& bytes) {
  const auto count = static_cast<std::size_t>(tensor.shape.size());
  bytes.resize(count * sizeof(T));
  reader.copy_as<T>(tensor, std::span(reinterpret_cast<T*>(bytes.data()), count));
}

void write_directory(const std::string& model, const std::string& output, DType dtype) {
  const auto reader = attune::open_checkpoint(model);
  nlohmann::json config = attune::read_model_config(model).json();
  config["torch_dtype"] = dtype == DType::bf16 ? "bfloat16" : "float32";
  std::filesystem::create_directories(output);

  std::vector<const attune::CheckpointTensor*> sources;
  std::vector<attune::SafetensorsTensor> tensors;
  for (const attune::CheckpointTensor& tensor : reader.tensors()) {
    if (tensor.name == "rope_freqs.weight") continue;  // is said in the config
    sources.push_back(&tensor);
    tensors.push_back({tensor.name, dtype, tensor.shape});
  }
  std::vector<std::byte> bytes;
  attune::save_safetensors(output + "/model.safetensors", tensors,
                           [&](std::size_t i) -> std::span<const std::byte> {
                             if (dtype == DType::bf16)
                               convert<attune::bfloat16>(reader, *sources[i], bytes);
                             else
                               convert<float>(reader, *sources[i], bytes);
                             return bytes;
                           });
  attune::write_json(output + "/config.json", config);
  attune::Tokenizer::from_pretrained(model).save_pretrained(output);
  std::printf("%zu tensors in %s\n", tensors.size(), output.c_str());
}

void write_gguf(const std::string& model, const std::string& output, attune::GgmlType type) {
  const auto reader = attune::open_checkpoint(model);
  const attune::JsonObject config = attune::read_model_config(model);
  attune::GgufMetadata tokenizer;
  if (attune::is_gguf_path(model)) {
    const auto source = attune::GgufFile::open(model);
    for (const auto& entry : source.metadata().entries())
      if (entry.first.starts_with("tokenizer.")) tokenizer.set(entry.first, entry.second);
  } else {
    tokenizer = attune::tokenizer_to_gguf(model, config.get<std::int64_t>("vocab_size"));
  }
  const std::string name = std::filesystem::path(model).lexically_normal().stem().string();
  attune::save_gguf_checkpoint(output, config, reader, tokenizer, {.type = type, .name = name});
  std::printf("%zu tensors in %s\n", attune::GgufFile::open(output).tensors().size(), output.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Converts a model between GGUF and the directory that transformers reads.");
  std::string model, output, to, type;
  app.add_option("--model", model, "Model directory or GGUF file")->required();
  app.add_option("--to", to, "hf or gguf")->required()->check(CLI::IsMember({"hf", "gguf"}));
  app.add_option("--output", output, "Directory (hf) or file (gguf) to write")->required();
  app.add_option("--type", type, "hf: F32 (default) or BF16; gguf: F32, F16 (default), BF16, Q8_0 or Q4_0");
  CLI11_PARSE(app, argc, argv);
  try {
    const auto wanted = attune::find_ggml_type(type.empty() ? (to == "hf" ? "F32" : "F16") : type);
    if (!wanted) throw attune::ConfigError("--type: '" + type + "' is not known");
    if (to == "gguf") {
      write_gguf(model, output, *wanted);
    } else if (*wanted == attune::GgmlType::f32 || *wanted == attune::GgmlType::bf16) {
      write_directory(model, output, *wanted == attune::GgmlType::bf16 ? DType::bf16 : DType::f32);
    } else {
      throw attune::ConfigError("--type: hf is written as F32 or BF16");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "convert: %s\n", error.what());
    return 1;
  }
  return 0;
}
