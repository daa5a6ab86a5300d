#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/formats/gguf.hpp>

namespace attune {

/// What happens between a tensor of a GGUF file and the same tensor of Hugging Face's checkpoint.
enum class GgufLayout : std::uint8_t {
  same,
  /// Within each head, rows i and i + D/2 of Hugging Face stand side by side (query and key weights and
  /// biases of the llama architecture, whose rotary embedding turns neighbours).
  interleaved,
  /// Hugging Face's Conv1D holds [in, out] (the matrices of GPT-2).
  transposed
};

/// One tensor under its Hugging Face name.
struct GgufCheckpointEntry {
  std::string name;
  DType dtype = DType::f32;  ///< f32 for quantised tensors
  Shape shape;               ///< Hugging Face's
  GgufLayout layout = GgufLayout::same;
  std::int64_t heads = 1;    ///< of an interleaved one
  std::uint32_t tensor = 0;  ///< its place in GgufFile::tensors()
  bool readable = true;      ///< false for element types that attune cannot read
};

/// A GGUF file as a Hugging Face checkpoint: tensors under their Hugging Face names, with rows and columns as
/// transformers has them. Architectures llama, qwen2, qwen3 and gpt2; tensors with no counterpart keep their
/// GGUF names.
class GgufCheckpoint {
 public:
  /// Throws IoError, FormatError, or ConfigError for another architecture or metadata that do not fit.
  static GgufCheckpoint open(const std::string& path);

  /// Sorted by name.
  const std::vector<GgufCheckpointEntry>& entries() const { return entries_; }
  const GgufFile& file() const { return file_; }
  /// The row-major elements of one of entries(), quantised ones as float, on all threads.
  TensorBytes read(const GgufCheckpointEntry& entry) const;
  /// The blocks of a quantised matrix, rows in Hugging Face's order. Nothing for plain types and transposed
  /// matrices.
  std::optional<QuantizedMatrix> read_quantized(const GgufCheckpointEntry& entry) const;

 private:
  GgufFile file_;
  std::vector<GgufCheckpointEntry> entries_;
};

/// Opens what CheckpointReader::open() does, or a GGUF file under the names and in the layout of Hugging
/// Face.
CheckpointReader open_checkpoint(const std::string& path);

namespace detail {

/// The Hugging Face name of a GGUF tensor, or nothing.
std::optional<std::string> gguf_to_hf_name(std::string_view architecture, std::string_view name);
/// The GGUF name of a Hugging Face tensor (with or without the base model's prefix), or nothing.
std::optional<std::string> hf_to_gguf_name(std::string_view architecture, std::string_view name);
/// How a GGUF tensor of that name is laid out.
GgufLayout gguf_layout_of(std::string_view architecture, std::string_view gguf_name, int rank);
/// Whether the names and metadata of the architecture are known.
bool is_known_gguf_architecture(std::string_view architecture);
/// Row of Hugging Face's tensor for a row of the GGUF tensor, `rows` in `heads` heads.
inline std::int64_t hf_row(std::int64_t gguf_row, std::int64_t rows, std::int64_t heads) {
  const std::int64_t size = rows / heads, half = size / 2;
  const std::int64_t within = gguf_row % size;
  return gguf_row - within + within % 2 * half + within / 2;
}

}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/gguf_checkpoint.inl.hpp>
#endif
