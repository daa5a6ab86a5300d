#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/dtype.hpp>
#include <attune/core/file.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>

namespace attune {

/// One tensor of a safetensors file.
struct SafetensorsEntry {
  std::string name;
  /// The format's name of the element type: "F32", "BF16", "F8_E4M3", ...
  std::string_view dtype_name;
  /// Nothing for the types that the format knows and attune does not (8-bit and smaller floats, U16, U32,
  /// U64, C64).
  std::optional<DType> dtype;
  Shape shape;
  /// Where the elements begin, from the start of the file, and how many bytes they are. Not necessarily
  /// aligned.
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// A safetensors file, mapped and checked as the format asks: the header is at most 100 MB and inside the
/// file, names are unique, sizes do not overflow and agree with types and shapes, and the tensors cover the
/// data without hole or overlap. Elements are row-major and little-endian.
class SafetensorsFile {
 public:
  /// Throws IoError, or FormatError with the byte offset.
  static SafetensorsFile open(const std::string& path);

  /// In the order of their data.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  /// nullptr when there is none of that name.
  const SafetensorsEntry* find(std::string_view name) const;
  /// The texts of the "__metadata__" object.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The elements of one of entries(); valid as long as this object. Throws FormatError for an unsupported
  /// type.
  std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::vector<SafetensorsEntry> entries_;
  std::vector<std::uint32_t> by_name_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to be written. `bytes` are its row-major elements; leave it empty when a function gives them.
struct SafetensorsTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes = {};
};

using SafetensorsMetadata = std::map<std::string, std::string>;
/// Without "format" some versions of transformers refuse a file.
inline const SafetensorsMetadata safetensors_pytorch_metadata = {{"format", "pt"}};

/// Writes a file atomically (see AtomicFile), laid out as the reference implementation does: the header
/// padded with spaces to a multiple of 8, then the tensors by descending element type, then by name. Throws
/// ConfigError for a name that occurs twice or a tensor whose bytes do not fit its shape, IoError when it
/// cannot be written.
void save_safetensors(const std::string& path, const std::vector<SafetensorsTensor>& tensors,
                      const SafetensorsMetadata& metadata = safetensors_pytorch_metadata);

/// The same for tensors that are not all in memory at once: `read(i)` is called once for each tensors[i], in
/// the order of the file; the bytes it returns must stay valid until the next call.
void save_safetensors(const std::string& path, const std::vector<SafetensorsTensor>& tensors,
                      const std::function<std::span<const std::byte>(std::size_t)>& read,
                      const SafetensorsMetadata& metadata = safetensors_pytorch_metadata);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/safetensors.inl.hpp>
#endif
