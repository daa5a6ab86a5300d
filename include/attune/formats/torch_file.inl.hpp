#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include <attune/core/error.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/pickle.hpp>
#include <attune/formats/torch_file.hpp>

namespace attune::detail {

/// Finds "<root>/data.pkl" and returns "<root>/".
inline std::string torch_archive_root(const ZipFile& archive) {
  constexpr std::string_view pickle = "/data.pkl";
  const ZipEntry* found = nullptr;
  for (const ZipEntry& entry : archive.entries())
    if (entry.name.ends_with(pickle) && entry.name.find('/') == entry.name.size() - pickle.size()) {
      if (found != nullptr) throw FormatError(archive.path(), -1, "holds two data.pkl");
      found = &entry;
    }
  if (found == nullptr) throw FormatError(archive.path(), -1, "holds no data.pkl: not a PyTorch checkpoint");
  return found->name.substr(0, found->name.size() - pickle.size() + 1);
}

/// Checks a view against its storage and the storage against its record.
inline TorchEntry locate_torch_tensor(const ZipFile& archive, const std::string& root,
                                      const PickledTensor& tensor) {
  const auto fail = [&](const std::string& what) {
    throw FormatError(archive.path(), -1, "tensor \"" + tensor.name + "\": " + what);
  };
  const ZipEntry* record = archive.find(root + "data/" + tensor.storage);
  if (record == nullptr) fail("its storage \"" + tensor.storage + "\" is not in the archive");
  const std::uint64_t size = size_of(tensor.dtype);
  if (tensor.storage_elements < 0 ||
      static_cast<std::uint64_t>(tensor.storage_elements) > record->bytes / size)
    fail("a storage of " + std::to_string(tensor.storage_elements) + " elements of " +
         std::string(name_of(tensor.dtype)) + " in a record of " + std::to_string(record->bytes) + " bytes");
  if (tensor.strides.rank() != tensor.shape.rank())
    fail("shape " + tensor.shape.to_string() + " with strides " + tensor.strides.to_string());
  const std::optional<std::int64_t> count = checked_element_count(tensor.shape);
  if (!count) fail("bad shape " + tensor.shape.to_string());
  // A view that repeats elements could grow far beyond its file.
  if (*count > tensor.storage_elements)
    fail("shape " + tensor.shape.to_string() + " has more elements than its storage of " +
         std::to_string(tensor.storage_elements));
  std::int64_t last = tensor.storage_offset;  // of the elements that the view reaches
  bool inside = last >= 0 && last <= tensor.storage_elements;
  for (int dim = 0; dim < tensor.shape.rank() && inside && *count > 0; ++dim) {
    const std::int64_t steps = tensor.shape[dim] - 1;
    const std::int64_t stride = tensor.strides[dim];
    inside = stride >= 0;
    if (!inside || steps <= 0 || stride == 0) continue;
    inside = stride <= (tensor.storage_elements - last) / steps;
    if (inside) last += stride * steps;
  }
  if (!inside || (*count > 0 && last >= tensor.storage_elements))
    fail("offset " + std::to_string(tensor.storage_offset) + " and strides " + tensor.strides.to_string() +
         " leave " + "its storage of " + std::to_string(tensor.storage_elements) + " elements");

  TorchEntry entry;
  entry.name = tensor.name;
  entry.dtype = tensor.dtype;
  entry.shape = tensor.shape;
  entry.strides = tensor.strides;
  entry.offset = record->offset + static_cast<std::uint64_t>(tensor.storage_offset) * size;
  entry.bytes = static_cast<std::uint64_t>(*count) * size;
  const Shape row_major = tensor.shape.contiguous_strides();
  for (int dim = 0; dim < tensor.shape.rank(); ++dim) {
    if (tensor.shape[dim] <= 1)
      entry.strides[dim] = row_major[dim];  // never stepped over, and unchecked
    else if (*count > 0 && tensor.strides[dim] != row_major[dim])
      entry.contiguous = false;
  }
  return entry;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE TorchFile TorchFile::open(const std::string& path) {
  MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  const auto begins_with = [&](std::string_view text) {
    return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
  };
  if (begins_with("\x80"))
    throw FormatError(
        path, 0,
        "a PyTorch checkpoint from before version 1.6, which is not supported: load it in Python "
        "and save it with safetensors or with today's torch.save");
  if (!begins_with("PK"))
    throw FormatError(path, 0, "not a PyTorch checkpoint: it does not begin as a zip archive");

  TorchFile result;
  result.archive_ = ZipFile::open(std::move(file));
  const ZipFile& archive = result.archive_;
  const std::string root = detail::torch_archive_root(archive);
  if (archive.find(root + "constants.pkl") != nullptr)
    throw FormatError(path, -1, "a TorchScript archive, expected a checkpoint of torch.save");
  if (const ZipEntry* order = archive.find(root + "byteorder")) {
    const std::span<const std::byte> text = archive.bytes(*order);
    if (std::string_view(reinterpret_cast<const char*>(text.data()), text.size()) != "little")
      throw FormatError(path, static_cast<std::int64_t>(order->offset), "byteorder: expected \"little\"");
  }
  const ZipEntry& pickle = *archive.find(root + "data.pkl");
  for (const PickledTensor& tensor :
       read_torch_pickle(archive.bytes(pickle), path, static_cast<std::int64_t>(pickle.offset)))
    result.entries_.push_back(detail::locate_torch_tensor(archive, root, tensor));
  return result;
}

ATTUNE_INLINE const TorchEntry* TorchFile::find(std::string_view name) const {
  const auto place =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const TorchEntry& entry, std::string_view n) { return entry.name < n; });
  return place == entries_.end() || place->name != name ? nullptr : &*place;
}

ATTUNE_INLINE TensorBytes TorchFile::read(const TorchEntry& entry) const {
  const std::span<const std::byte> all = archive_.file().bytes();
  if (entry.contiguous) return TensorBytes(all.subspan(entry.offset, entry.bytes));
  std::vector<std::byte> copy(entry.bytes);
  const std::size_t size = size_of(entry.dtype);
  std::array<std::int64_t, Shape::max_rank> index{};
  std::int64_t at = 0;  // in elements, from the first
  for (std::size_t done = 0; done < copy.size(); done += size) {
    std::memcpy(copy.data() + done, all.data() + entry.offset + static_cast<std::size_t>(at) * size, size);
    for (int dim = entry.shape.rank() - 1; dim >= 0; --dim) {
      const auto d = static_cast<std::size_t>(dim);
      at += entry.strides[dim];
      if (++index[d] < entry.shape[dim]) break;
      at -= entry.strides[dim] * entry.shape[dim];
      index[d] = 0;
    }
  }
  return TensorBytes(std::move(copy));
}

}  // namespace attune
