#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/file.hpp>
#include <attune/core/inline.hpp>

namespace attune {

struct ZipEntry {
  std::string name;
  /// Where the content begins, from the start of the file, and how many bytes it is.
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// A zip archive of stored (not compressed) entries, mapped: what PyTorch writes. The central directory is
/// checked against the file and the local headers; compressed, encrypted, overlapping or duplicate entries
/// and archives of several disks are refused by name. Checksums are not compared, since PyTorch can be told
/// not to write them.
class ZipFile {
 public:
  /// Throws IoError, or FormatError with the byte offset.
  static ZipFile open(const std::string& path);
  static ZipFile open(MappedFile file);

  /// Sorted by name.
  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// nullptr when there is none of that name.
  const ZipEntry* find(std::string_view name) const;
  /// The content of one of entries(); valid as long as this object.
  std::span<const std::byte> bytes(const ZipEntry& entry) const {
    return file_.bytes().subspan(entry.offset, entry.bytes);
  }
  const MappedFile& file() const { return file_; }
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::vector<ZipEntry> entries_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/zip.inl.hpp>
#endif
