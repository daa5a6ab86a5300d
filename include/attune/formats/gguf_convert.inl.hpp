#pragma once

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/core/sort.hpp>
#include <attune/formats/gguf_config.hpp>
#include <attune/formats/gguf_convert.hpp>

namespace attune::detail {

/// A tensor on its way into a GGUF file.
struct GgufSource {
  const CheckpointTensor* tensor = nullptr;  // nullptr: the rotary factors
  GgufTensorInfo info;
  GgufLayout layout = GgufLayout::same;
  std::int64_t heads = 1;
};

/// Copies of what the config says; old checkpoints hold them.
inline bool is_buffer_name(std::string_view name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rotary_emb.inv_freq");
}

/// Where a tensor stands among the others: those outside of layers first.
inline std::int64_t layer_order(std::string_view gguf_name) {
  if (!gguf_name.starts_with("blk.")) return -1;
  std::int64_t layer = 0;
  std::from_chars(gguf_name.data() + 4, gguf_name.data() + gguf_name.size(), layer);
  return layer;
}

inline GgmlType stored_type(const Shape& shape, GgmlType wanted) {
  if (shape.rank() < 2) return GgmlType::f32;
  return shape.back() % ggml_layout(wanted).block_elements == 0 ? wanted : GgmlType::f16;
}

inline std::vector<GgufSource> plan_gguf(const std::string& path, const JsonObject& config,
                                         const CheckpointReader& weights, const GgufMetadata& metadata,
                                         GgmlType type) {
  const std::string architecture = *metadata.string("general.architecture");
  const auto [heads, kv_heads] = gguf_heads(metadata, architecture);
  const bool tied = config.get("tie_word_embeddings", architecture == "gpt2");
  std::vector<GgufSource> sources;
  for (const CheckpointTensor& tensor : weights.tensors()) {
    if (is_buffer_name(tensor.name) || (tied && tensor.name == "lm_head.weight")) continue;
    const auto name = hf_to_gguf_name(architecture, tensor.name);
    if (!name || tensor.shape.rank() < 1 || tensor.shape.rank() > 2)
      throw ConfigError(path + ": the " + architecture + " architecture of GGUF has no place for tensor \"" +
                        tensor.name + "\" of shape " + tensor.shape.to_string());
    GgufSource source;
    source.tensor = &tensor;
    source.layout = gguf_layout_of(architecture, *name, tensor.shape.rank());
    source.heads = name->find("attn_q.") != std::string::npos ? heads : kv_heads;
    source.info = {*name, GgmlType::f32, tensor.shape};
    if (source.layout == GgufLayout::transposed) std::swap(source.info.shape[0], source.info.shape[1]);
    if (source.layout == GgufLayout::interleaved && tensor.shape[0] % (2 * source.heads) != 0)
      throw ConfigError(path + ": tensor \"" + tensor.name + "\" of shape " + tensor.shape.to_string() +
                        " is not " + std::to_string(source.heads) + " heads of an even size");
    source.info.type = stored_type(source.info.shape, type);
    sources.push_back(std::move(source));
  }
  sort_items(sources, [](const GgufSource& a, const GgufSource& b) {
    return layer_order(a.info.name) < layer_order(b.info.name);
  });
  return sources;
}

/// The elements of a tensor as float, in the order of the GGUF.
inline std::vector<float> gguf_elements(const CheckpointReader& weights, const GgufSource& source) {
  const auto count = static_cast<std::size_t>(source.info.shape.size());
  std::vector<float> values(count);
  weights.copy_as<float>(*source.tensor, values);
  if (source.layout == GgufLayout::same || count == 0) return values;
  std::vector<float> result(count);
  const Shape& shape = source.info.shape;
  const std::int64_t rows = shape[0], columns = shape.rank() == 1 ? 1 : shape[1];
  parallel_chunks(rows, /*grain=*/64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* to = result.data() + row * columns;
      if (source.layout == GgufLayout::interleaved)
        std::memcpy(to, values.data() + hf_row(row, rows, source.heads) * columns,
                    static_cast<std::size_t>(columns) * sizeof(float));
      else
        for (std::int64_t column = 0; column < columns; ++column)
          to[column] = values[static_cast<std::size_t>(column * rows + row)];
    }
  });
  return result;
}

/// Elements in the type to be stored, quantised on all threads.
inline std::vector<std::byte> gguf_blocks(const std::vector<float>& values, const GgufTensorInfo& info) {
  const GgmlLayout& layout = ggml_layout(info.type);
  const auto block = static_cast<std::size_t>(layout.block_elements);
  const auto bytes = static_cast<std::size_t>(layout.block_bytes);
  std::vector<std::byte> result(values.size() / block * bytes);
  try {
    parallel_chunks(static_cast<std::int64_t>(values.size() / block), /*grain=*/2048,
                    [&](std::int64_t begin, std::int64_t end) {
                      const auto first = static_cast<std::size_t>(begin);
                      const auto count = static_cast<std::size_t>(end - begin);
                      quantize_blocks(info.type, std::span(values).subspan(first * block, count * block),
                                      std::span(result).subspan(first * bytes, count * bytes));
                    });
  } catch (const ConfigError& error) {
    throw ConfigError("tensor \"" + info.name + "\": " + error.what());
  }
  return result;
}

/// llama.cpp's number for a file of that type ("general.file_type").
inline std::uint32_t gguf_file_type(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
      return 0;
    case GgmlType::f16:
      return 1;
    case GgmlType::q4_0:
      return 2;
    case GgmlType::q8_0:
      return 7;
    default:
      return 32;  // BF16
  }
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE void save_gguf_checkpoint(const std::string& path, const JsonObject& config,
                                        const CheckpointReader& weights, const GgufMetadata& more,
                                        const GgufSaveOptions& options) {
  if (!can_quantize(options.type))
    throw ConfigError(path + ": expected F32, F16, BF16, Q8_0 or Q4_0, found " +
                      std::string(ggml_layout(options.type).name));
  GgufMetadata metadata = config_to_gguf(config);
  if (!options.name.empty()) metadata.set("general.name", GgufValue::of_string(options.name));
  metadata.set("general.file_type", GgufValue::of_u32(detail::gguf_file_type(options.type)));
  if (is_quantized(options.type)) metadata.set("general.quantization_version", GgufValue::of_u32(2));
  for (const auto& [key, value] : more.entries()) metadata.set(key, value);

  std::vector<detail::GgufSource> sources = detail::plan_gguf(path, config, weights, metadata, options.type);
  const std::vector<float> factors = rope_factors_of(config);
  if (!factors.empty())
    sources.insert(
        sources.begin(),
        {nullptr, {"rope_freqs.weight", GgmlType::f32, {static_cast<std::int64_t>(factors.size())}}});
  std::vector<GgufTensorInfo> tensors;
  for (const detail::GgufSource& source : sources) tensors.push_back(source.info);
  std::vector<std::byte> blocks;
  save_gguf(path, metadata, tensors, [&](std::size_t i) -> std::span<const std::byte> {
    blocks = detail::gguf_blocks(
        sources[i].tensor == nullptr ? factors : detail::gguf_elements(weights, sources[i]), sources[i].info);
    return blocks;
  });
}

}  // namespace attune
