#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>
#include <attune/formats/zip.hpp>

namespace attune {

/// The row-major elements of a stored tensor: a view of the mapped file, or of a copy when the file holds
/// them in another order. `bytes` stays valid as long as both this object (moved or not) and the reader it
/// came from.
struct TensorBytes {
  std::span<const std::byte> bytes;
  std::vector<std::byte> copy;  // what `bytes` views, when they are not the file's own

  TensorBytes() = default;
  explicit TensorBytes(std::span<const std::byte> view) : bytes(view) {}
  explicit TensorBytes(std::vector<std::byte> elements) : bytes(elements), copy(std::move(elements)) {}
  TensorBytes(TensorBytes&&) = default;
  TensorBytes& operator=(TensorBytes&&) = default;
};

/// One tensor of a PyTorch checkpoint: a strided view, inside its storage as far as checked.
struct TorchEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  Shape strides;  // in elements
  /// Where the first element is, from the start of the file.
  std::uint64_t offset = 0;
  /// The size of the tensor, not of its storage.
  std::uint64_t bytes = 0;
  bool contiguous = true;
};

/// A checkpoint that torch.save wrote (PyTorch 1.6 or later): a zip archive with `data.pkl` and one record
/// per storage, mapped. The pickle is read as read_torch_pickle says; every view is checked against its
/// storage and every storage against its record. Older formats and TorchScript archives are refused by name.
class TorchFile {
 public:
  /// Throws IoError, or FormatError with the byte offset.
  static TorchFile open(const std::string& path);

  /// Sorted by name.
  const std::vector<TorchEntry>& entries() const { return entries_; }
  /// nullptr when there is none of that name.
  const TorchEntry* find(std::string_view name) const;
  TensorBytes read(const TorchEntry& entry) const;
  const std::string& path() const { return archive_.path(); }

 private:
  ZipFile archive_;
  std::vector<TorchEntry> entries_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/torch_file.inl.hpp>
#endif
