#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/ggml_type.hpp>
#include <attune/formats/safetensors.hpp>
#include <attune/formats/torch_file.hpp>

namespace attune {

/// One tensor of a checkpoint, whatever kind of file it lies in.
struct CheckpointTensor {
  std::string name;
  /// The name that safetensors files use: "F32", "F8_E4M3", ...; for blocks of a GGUF ggml's name: "Q4_K".
  std::string_view dtype_name;
  /// Of the elements that read() gives: f32 for a GGUF's blocks. Nothing for a type that attune cannot read;
  /// asking for its elements throws.
  std::optional<DType> dtype;
  Shape shape;
  std::uint32_t entry = 0;  // its place among the file's
  std::uint32_t file = 0;   // which of CheckpointReader::files(); the reader sets it
};

/// The blocks of a quantised matrix as ggml keeps them, row after row.
struct QuantizedMatrix {
  GgmlType type = GgmlType::q8_0;
  Shape shape;  ///< [rows, columns]
  TensorBytes blocks;
};

/// One weights file: its tensors, and how their elements are read. The functions own the open file.
struct CheckpointSource {
  std::vector<CheckpointTensor> tensors;
  std::function<TensorBytes(const CheckpointTensor&)> read;
  /// Only where a format has quantised matrices.
  std::function<std::optional<QuantizedMatrix>(const CheckpointTensor&)> read_quantized{};
  SafetensorsMetadata metadata{};
};

/// The weights of a Hugging Face model directory, in one file or in shards. open_checkpoint() of
/// formats/gguf_checkpoint.hpp opens GGUF files as well.
///
/// Looked for in this order: `model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin`,
/// `pytorch_model.bin.index.json`. An index names the shard of each tensor ("weight_map"); shards are files
/// of the same directory (symbolic links are followed), and tensors that the index does not name are passed
/// over.
class CheckpointReader {
 public:
  /// Opens a directory, or one weights or index file. Throws IoError when there are no weights (it lists what
  /// was looked for) or a file cannot be read, FormatError when one is broken.
  static CheckpointReader open(const std::string& path);
  /// Opens the named weights or index file of a directory, such as "adapter_model.safetensors".
  static CheckpointReader open(const std::string& directory, const std::string& file_name);
  /// A checkpoint of one file in a format of the caller's. `path` is what errors name.
  CheckpointReader(const std::string& path, CheckpointSource source);

  /// Sorted by name; names are unique.
  const std::vector<CheckpointTensor>& tensors() const { return tensors_; }
  /// nullptr when there is none of that name.
  const CheckpointTensor* find(std::string_view name) const;

  /// The row-major elements of one of tensors(); valid as long as this object. Throws FormatError for an
  /// unsupported element type. May be called from several threads.
  TensorBytes read(const CheckpointTensor& tensor) const;
  /// Throws ConfigError when there is none of that name.
  TensorBytes read(std::string_view name) const;

  /// The blocks of a quantised matrix of a GGUF file, rows in Hugging Face's order; nothing for anything
  /// else.
  std::optional<QuantizedMatrix> read_quantized(const CheckpointTensor& tensor) const;

  /// Reads and converts a floating-point tensor to `float`, `double` or `bfloat16` (see convert_elements).
  /// `to` has as many elements as the shape. Throws ConfigError for integers, ShapeError when the size
  /// differs.
  template <class T>
  void copy_as(const CheckpointTensor& tensor, std::span<T> to) const {
    const TensorBytes elements = read(tensor);
    convert_elements<T>(*tensor.dtype, elements.bytes, to,
                        files_[tensor.file] + ": tensor \"" + tensor.name + "\"");
  }

  /// The weights files, as paths.
  const std::vector<std::string>& files() const { return files_; }
  /// The metadata of a single safetensors file; otherwise empty.
  const SafetensorsMetadata& metadata() const { return metadata_; }

 private:
  CheckpointReader() = default;
  static CheckpointReader open_file(const std::string& path);
  void open_index(const std::string& path);
  void add_source(const std::string& path, CheckpointSource source);
  void sort_tensors();

  std::vector<std::string> files_;
  std::vector<CheckpointSource> sources_;
  std::vector<CheckpointTensor> tensors_;
  SafetensorsMetadata metadata_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/checkpoint.inl.hpp>
#endif
