#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/formats/gguf_checkpoint.hpp>

namespace attune::detail {

struct GgufNamePair {
  std::string_view gguf, hf;
};

// Names without ".weight" and ".bias"; those of a layer without "blk.N." and "model.layers.N.".
inline constexpr std::array<GgufNamePair, 3> llama_names = {{
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
}};
inline constexpr std::array<GgufNamePair, 11> llama_layer_names = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};
inline constexpr std::array<GgufNamePair, 4> gpt2_names = {{
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
}};
inline constexpr std::array<GgufNamePair, 6> gpt2_layer_names = {{
    {"attn_norm", "ln_1"},
    {"attn_qkv", "attn.c_attn"},
    {"attn_output", "attn.c_proj"},
    {"ffn_norm", "ln_2"},
    {"ffn_up", "mlp.c_fc"},
    {"ffn_down", "mlp.c_proj"},
}};

/// The names of an architecture.
struct GgufNames {
  std::span<const GgufNamePair> globals, layer;
  std::string_view hf_layers;  // "model.layers."
};

inline GgufNames gguf_names(std::string_view architecture) {
  if (architecture == "gpt2") return {gpt2_names, gpt2_layer_names, "transformer.h."};
  return {llama_names, llama_layer_names, "model.layers."};
}

/// A tensor's name in parts: [layer] part .weight|.bias
struct TensorNameParts {
  std::string_view layer;  // its digits, or empty
  std::string_view part, suffix;
};

inline std::optional<TensorNameParts> split_tensor_name(std::string_view name, std::string_view layers) {
  TensorNameParts parts;
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  parts.suffix = name.substr(dot);
  if (parts.suffix != ".weight" && parts.suffix != ".bias") return std::nullopt;
  parts.part = name.substr(0, dot);
  if (!parts.part.starts_with(layers)) return parts;
  parts.part.remove_prefix(layers.size());
  const std::size_t end = parts.part.find('.');
  parts.layer = parts.part.substr(0, end);
  if (end == std::string_view::npos || parts.layer.empty() ||
      !std::all_of(parts.layer.begin(), parts.layer.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  parts.part.remove_prefix(end + 1);
  return parts;
}

ATTUNE_INLINE bool is_known_gguf_architecture(std::string_view architecture) {
  return architecture == "llama" || architecture == "qwen2" || architecture == "qwen3" ||
         architecture == "gpt2";
}

ATTUNE_INLINE std::optional<std::string> gguf_to_hf_name(std::string_view architecture,
                                                         std::string_view name) {
  const auto parts = split_tensor_name(name, "blk.");
  if (!parts) return std::nullopt;
  const GgufNames names = gguf_names(architecture);
  for (const GgufNamePair& pair : parts->layer.empty() ? names.globals : names.layer) {
    if (pair.gguf != parts->part) continue;
    std::string result;
    if (!parts->layer.empty()) result = std::string(names.hf_layers) + std::string(parts->layer) + ".";
    return result + std::string(pair.hf) + std::string(parts->suffix);
  }
  return std::nullopt;
}

ATTUNE_INLINE std::optional<std::string> hf_to_gguf_name(std::string_view architecture,
                                                         std::string_view name) {
  const GgufNames names = gguf_names(architecture);
  const std::string base(names.hf_layers.substr(0, names.hf_layers.find('.') + 1));
  std::string full(name);
  if (!name.starts_with(base) && !name.starts_with("lm_head.")) full = base + full;
  const auto parts = split_tensor_name(full, names.hf_layers);
  if (!parts) return std::nullopt;
  for (const GgufNamePair& pair : parts->layer.empty() ? names.globals : names.layer) {
    if (pair.hf != parts->part) continue;
    std::string result;
    if (!parts->layer.empty()) result = "blk." + std::string(parts->layer) + ".";
    return result + std::string(pair.gguf) + std::string(parts->suffix);
  }
  return std::nullopt;
}

ATTUNE_INLINE GgufLayout gguf_layout_of(std::string_view architecture, std::string_view gguf_name, int rank) {
  const auto parts = split_tensor_name(gguf_name, "blk.");
  if (!parts || parts->layer.empty()) return GgufLayout::same;
  const std::string_view part = parts->part;
  if (architecture == "llama" && (part == "attn_q" || part == "attn_k")) return GgufLayout::interleaved;
  if (architecture == "gpt2" && rank == 2 &&
      (part == "attn_qkv" || part == "attn_output" || part == "ffn_up" || part == "ffn_down"))
    return GgufLayout::transposed;
  return GgufLayout::same;
}

/// The numbers of query and key heads.
inline std::pair<std::int64_t, std::int64_t> gguf_heads(const GgufMetadata& metadata,
                                                        const std::string& architecture) {
  const std::string key = architecture + ".attention.head_count";
  const auto heads = metadata.integer(key);
  if (!heads) metadata.throw_missing(key);
  const auto kv_heads = metadata.integer(key + "_kv").value_or(*heads);
  for (const std::int64_t count : {*heads, kv_heads})
    if (count < 1 || count > 65536)
      metadata.refuse(key, "expected 1 to 65536 heads, found " + std::to_string(count));
  return {*heads, kv_heads};
}

/// The elements of one row, in the GGUF's order of rows, as the file's plain type or as float.
inline void read_gguf_rows(GgmlType type, std::span<const std::byte> bytes, std::int64_t columns,
                           std::int64_t row, std::byte* to) {
  const GgmlLayout& layout = ggml_layout(type);
  const auto row_bytes = static_cast<std::size_t>(columns / layout.block_elements) *
                         static_cast<std::size_t>(layout.block_bytes);
  const auto from = bytes.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes);
  if (!is_quantized(type))
    std::memcpy(to, from.data(), row_bytes);
  else
    dequantize_blocks(type, from, std::span(reinterpret_cast<float*>(to), static_cast<std::size_t>(columns)));
}

/// Calls copy(gguf_row, hf_row) for every row, on all threads.
template <class Copy>
void for_each_gguf_row(const GgufCheckpointEntry& entry, std::int64_t rows, const Copy& copy) {
  parallel_chunks(rows, /*grain=*/64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      copy(row, entry.layout == GgufLayout::interleaved ? hf_row(row, rows, entry.heads) : row);
  });
}

inline std::vector<std::byte> transpose_bytes(const std::vector<std::byte>& from, std::int64_t rows,
                                              std::int64_t columns, std::size_t size) {
  std::vector<std::byte> to(from.size());
  parallel_chunks(columns, /*grain=*/64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t column = begin; column < end; ++column)
      for (std::int64_t row = 0; row < rows; ++row)
        std::memcpy(to.data() + static_cast<std::size_t>(column * rows + row) * size,
                    from.data() + static_cast<std::size_t>(row * columns + column) * size, size);
  });
  return to;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE GgufCheckpoint GgufCheckpoint::open(const std::string& path) {
  GgufCheckpoint result;
  result.file_ = GgufFile::open(path);
  const GgufMetadata& metadata = result.file_.metadata();
  const std::string architecture = metadata.string("general.architecture").value_or("");
  if (!detail::is_known_gguf_architecture(architecture))
    metadata.refuse("general.architecture",
                    "expected llama, qwen2, qwen3 or gpt2, found '" + architecture + "'");
  const auto [heads, kv_heads] = detail::gguf_heads(metadata, architecture);
  for (std::uint32_t i = 0; i < result.file_.tensors().size(); ++i) {
    const GgufTensor& tensor = result.file_.tensors()[i];
    GgufCheckpointEntry entry;
    entry.name = detail::gguf_to_hf_name(architecture, tensor.name).value_or(tensor.name);
    entry.shape = tensor.shape;
    entry.tensor = i;
    entry.layout = detail::gguf_layout_of(architecture, tensor.name, tensor.shape.rank());
    entry.readable = tensor.type().has_value();
    if (entry.readable) entry.dtype = plain_dtype(*tensor.type()).value_or(DType::f32);
    if (entry.layout == GgufLayout::transposed) std::swap(entry.shape[0], entry.shape[1]);
    if (entry.layout == GgufLayout::interleaved) {
      entry.heads = tensor.name.find("attn_q.") != std::string::npos ? heads : kv_heads;
      const bool quantized_vector =
          tensor.shape.rank() == 1 && entry.readable && is_quantized(*tensor.type());
      if (tensor.shape.rank() < 1 || tensor.shape.rank() > 2 || quantized_vector ||
          tensor.shape[0] % (2 * entry.heads) != 0)
        throw FormatError(path, static_cast<std::int64_t>(tensor.offset),
                          "tensor \"" + tensor.name + "\", " + std::string(tensor.type_name()) +
                              " of shape " + tensor.shape.to_string() + ", is not " +
                              std::to_string(entry.heads) + " heads of an even size");
    }
    result.entries_.push_back(std::move(entry));
  }
  std::sort(result.entries_.begin(), result.entries_.end(),
            [](const GgufCheckpointEntry& a, const GgufCheckpointEntry& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(
      result.entries_.begin(), result.entries_.end(),
      [](const GgufCheckpointEntry& a, const GgufCheckpointEntry& b) { return a.name == b.name; });
  if (twice != result.entries_.end())
    throw FormatError(path, -1, "two tensors stand for \"" + twice->name + "\"");
  return result;
}

ATTUNE_INLINE TensorBytes GgufCheckpoint::read(const GgufCheckpointEntry& entry) const {
  const GgufTensor& tensor = file_.tensors()[entry.tensor];
  const std::span<const std::byte> bytes = file_.bytes(tensor);
  const GgmlType type = *tensor.type();
  if (entry.layout == GgufLayout::same && !is_quantized(type)) return TensorBytes(bytes);
  const std::int64_t columns =
      tensor.shape.rank() == 1 && entry.layout == GgufLayout::interleaved ? 1 : tensor.shape.back();
  const std::int64_t rows = columns == 0 ? 0 : tensor.shape.size() / columns;
  const std::size_t size = size_of(entry.dtype);
  std::vector<std::byte> elements(static_cast<std::size_t>(tensor.shape.size()) * size);
  const auto row_size = static_cast<std::size_t>(columns) * size;
  detail::for_each_gguf_row(entry, rows, [&](std::int64_t from, std::int64_t to) {
    detail::read_gguf_rows(type, bytes, columns, from,
                           elements.data() + static_cast<std::size_t>(to) * row_size);
  });
  if (entry.layout == GgufLayout::transposed)
    elements = detail::transpose_bytes(elements, rows, columns, size);
  return TensorBytes(std::move(elements));
}

ATTUNE_INLINE std::optional<QuantizedMatrix> GgufCheckpoint::read_quantized(
    const GgufCheckpointEntry& entry) const {
  const GgufTensor& tensor = file_.tensors()[entry.tensor];
  if (!tensor.type() || !is_quantized(*tensor.type()) || tensor.shape.rank() != 2 ||
      entry.layout == GgufLayout::transposed)
    return std::nullopt;
  const std::span<const std::byte> bytes = file_.bytes(tensor);
  QuantizedMatrix matrix{*tensor.type(), tensor.shape, TensorBytes(bytes)};
  if (entry.layout == GgufLayout::same) return matrix;
  const std::int64_t rows = tensor.shape[0];
  const std::size_t row_bytes = rows == 0 ? 0 : bytes.size() / static_cast<std::size_t>(rows);
  std::vector<std::byte> blocks(bytes.size());
  detail::for_each_gguf_row(entry, rows, [&](std::int64_t from, std::int64_t to) {
    std::memcpy(blocks.data() + static_cast<std::size_t>(to) * row_bytes,
                bytes.data() + static_cast<std::size_t>(from) * row_bytes, row_bytes);
  });
  matrix.blocks = TensorBytes(std::move(blocks));
  return matrix;
}

ATTUNE_INLINE CheckpointReader open_checkpoint(const std::string& path) {
  if (!is_gguf_path(path)) return CheckpointReader::open(path);
  const auto file = std::make_shared<const GgufCheckpoint>(GgufCheckpoint::open(path));
  CheckpointSource source;
  for (const GgufCheckpointEntry& entry : file->entries())
    source.tensors.push_back({entry.name, file->file().tensors()[entry.tensor].type_name(),
                              entry.readable ? std::optional(entry.dtype) : std::nullopt, entry.shape,
                              static_cast<std::uint32_t>(source.tensors.size())});
  source.read = [file](const CheckpointTensor& tensor) { return file->read(file->entries()[tensor.entry]); };
  source.read_quantized = [file](const CheckpointTensor& tensor) {
    return file->read_quantized(file->entries()[tensor.entry]);
  };
  return CheckpointReader(path, std::move(source));
}

}  // namespace attune
