#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/core/sort.hpp>
#include <attune/formats/zip.hpp>

// Signatures, layouts and field names follow PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3.

namespace attune::detail {

class ZipReader {
 public:
  explicit ZipReader(const MappedFile& file) : path_(file.path()), all_(file.bytes()) {}

  std::vector<ZipEntry> read() {
    find_directory();
    std::vector<ZipEntry> entries;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;  // of each entry with its local header
    std::uint64_t at = directory_;
    for (std::uint64_t i = 0; i < count_; ++i) {
      std::uint64_t local = 0;
      ZipEntry entry = read_entry(at, local);
      extents.emplace_back(local, entry.offset + entry.bytes);
      if (!entry.name.ends_with('/')) entries.push_back(std::move(entry));
    }
    if (at != directory_end_) fail(at, "the central directory is longer than its entries");
    sort_items(extents, std::less<>());
    for (std::size_t i = 1; i < extents.size(); ++i)
      if (extents[i].first < extents[i - 1].second) fail(extents[i].first, "entries overlap");
    sort_items(entries, [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(entries.begin(), entries.end(),
                           [](const ZipEntry& a, const ZipEntry& b) { return a.name == b.name; });
    if (twice != entries.end()) fail(twice->offset, "duplicate entry \"" + twice->name + "\"");
    return entries;
  }

 private:
  static constexpr std::uint64_t end_size = 22, locator_size = 20, end64_size = 56, central_size = 46,
                                 local_size = 30;

  [[noreturn]] void fail(std::uint64_t at, const std::string& what) const {
    throw FormatError(path_, static_cast<std::int64_t>(at), "zip archive: " + what);
  }

  /// A little-endian field; the caller has checked that it is inside the file.
  template <class T>
  T load(std::uint64_t at) const {
    T value;
    std::memcpy(&value, all_.data() + at, sizeof(T));
    return value;
  }
  bool signed_as(std::uint64_t at, std::uint32_t signature) const {
    return load<std::uint32_t>(at) == signature;
  }

  /// Finds the end record: it closes the file, but for a comment whose length it tells.
  std::uint64_t find_end() const {
    if (all_.size() < end_size) fail(0, "too short: " + std::to_string(all_.size()) + " bytes");
    const std::uint64_t last = all_.size() - end_size;
    const std::uint64_t longest_comment = 0xffff;
    for (std::uint64_t comment = 0; comment <= longest_comment && comment <= last; ++comment) {
      const std::uint64_t at = last - comment;
      if (signed_as(at, 0x06054b50) && load<std::uint16_t>(at + 20) == comment) return at;
    }
    fail(last, "no end of central directory (a truncated file?)");
  }

  void find_directory() {
    const std::uint64_t end = find_end();
    if (load<std::uint16_t>(end + 4) != 0 || load<std::uint16_t>(end + 6) != 0)
      fail(end, "spans several disks");
    count_ = load<std::uint16_t>(end + 10);
    std::uint64_t size = load<std::uint32_t>(end + 12);
    directory_ = load<std::uint32_t>(end + 16);
    std::uint64_t limit = end;
    if (end >= locator_size && signed_as(end - locator_size, 0x07064b50)) {
      const std::uint64_t locator = end - locator_size;
      const std::uint64_t end64 = load<std::uint64_t>(locator + 8);
      if (locator < end64_size || end64 > locator - end64_size || !signed_as(end64, 0x06064b50))
        fail(locator, "the zip64 end of central directory is not where it should be");
      if (load<std::uint32_t>(end64 + 16) != 0 || load<std::uint32_t>(end64 + 20) != 0)
        fail(end64, "spans several disks");
      count_ = load<std::uint64_t>(end64 + 32);
      size = load<std::uint64_t>(end64 + 40);
      directory_ = load<std::uint64_t>(end64 + 48);
      limit = end64;
    }
    if (directory_ > limit || size > limit - directory_)
      fail(end, "the central directory is outside the file");
    if (count_ > size / central_size)
      fail(end, std::to_string(count_) + " entries do not fit in the central directory");
    directory_end_ = directory_ + size;
  }

  /// Reads the central header at `at`, moves `at` behind it and tells where the local header is.
  ZipEntry read_entry(std::uint64_t& at, std::uint64_t& local) const {
    if (directory_end_ - at < central_size || !signed_as(at, 0x02014b50))
      fail(at, "broken central directory");
    const auto flags = load<std::uint16_t>(at + 8);
    const auto method = load<std::uint16_t>(at + 10);
    std::uint64_t packed = load<std::uint32_t>(at + 20);
    std::uint64_t size = load<std::uint32_t>(at + 24);
    const std::uint64_t name_size = load<std::uint16_t>(at + 28);
    const std::uint64_t extra_size = load<std::uint16_t>(at + 30);
    const std::uint64_t comment_size = load<std::uint16_t>(at + 32);
    const auto disk = load<std::uint16_t>(at + 34);
    local = load<std::uint32_t>(at + 42);
    if (directory_end_ - at - central_size < name_size + extra_size + comment_size)
      fail(at, "an entry leaves the central directory");
    ZipEntry entry;
    entry.name = text(at + central_size, name_size);
    read_zip64(at + central_size + name_size, extra_size, size, packed, local);
    if (disk != 0) fail(at, "\"" + entry.name + "\" is on another disk");
    if ((flags & 0x2041u) != 0) fail(at, "\"" + entry.name + "\" is encrypted");
    if (method != 0) fail(at, "\"" + entry.name + "\" is compressed (method " + std::to_string(method) + ")");
    if (packed != size) fail(at, "\"" + entry.name + "\" has two sizes");
    entry.bytes = size;
    entry.offset = content_offset(entry, local);
    at += central_size + name_size + extra_size + comment_size;
    return entry;
  }

  /// The zip64 extra field holds, in this order, those of the three values that are saturated in the header.
  void read_zip64(std::uint64_t at, std::uint64_t size, std::uint64_t& bytes, std::uint64_t& packed,
                  std::uint64_t& local) const {
    const std::uint64_t end = at + size;
    while (end - at >= 4) {
      const auto kind = load<std::uint16_t>(at);
      const std::uint64_t length = load<std::uint16_t>(at + 2);
      at += 4;
      if (length > end - at) fail(at, "an extra field leaves its entry");
      if (kind == 1) {
        std::uint64_t field = at;
        for (std::uint64_t* value : {&bytes, &packed, &local}) {
          if (*value != 0xffffffffu) continue;
          if (at + length - field < 8) fail(at, "a zip64 field is missing");
          *value = load<std::uint64_t>(field);
          field += 8;
        }
      }
      at += length;
    }
  }

  std::uint64_t content_offset(const ZipEntry& entry, std::uint64_t local) const {
    if (local > directory_ || directory_ - local < local_size || !signed_as(local, 0x04034b50))
      fail(local, "\"" + entry.name + "\": no local header");
    const std::uint64_t name_size = load<std::uint16_t>(local + 26);
    const std::uint64_t head = local_size + name_size + load<std::uint16_t>(local + 28);
    if (directory_ - local < head || directory_ - local - head < entry.bytes)
      fail(local, "\"" + entry.name + "\" leaves the file");
    if (text(local + local_size, name_size) != entry.name)
      fail(local, "\"" + entry.name + "\" has another name in its local header");
    return local + head;
  }

  std::string text(std::uint64_t at, std::uint64_t size) const {
    return {reinterpret_cast<const char*>(all_.data()) + at, size};
  }

  const std::string& path_;
  std::span<const std::byte> all_;
  std::uint64_t directory_ = 0;
  std::uint64_t directory_end_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE ZipFile ZipFile::open(MappedFile file) {
  ZipFile result;
  result.file_ = std::move(file);
  result.entries_ = detail::ZipReader(result.file_).read();
  return result;
}

ATTUNE_INLINE ZipFile ZipFile::open(const std::string& path) { return open(MappedFile(path)); }

ATTUNE_INLINE const ZipEntry* ZipFile::find(std::string_view name) const {
  const auto place =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const ZipEntry& entry, std::string_view n) { return entry.name < n; });
  return place == entries_.end() || place->name != name ? nullptr : &*place;
}

}  // namespace attune
