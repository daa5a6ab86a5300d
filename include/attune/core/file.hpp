#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

/// A regular file mapped into memory for reading. Symbolic links are followed (hub caches consist of them);
/// anything but a regular file is refused. The bytes stay valid as long as this object, also when another
/// file is renamed over the name; a file that someone else cuts short while it is mapped must not be read
/// further (the system's rule).
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws IoError when the file is missing, unreadable or not a regular file.
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Whether something of that name is there. A symbolic link that leads nowhere counts, and so does what must
/// not be looked at: opening it says what is wrong.
bool file_exists(const std::string& path);

/// Makes a directory, and those above it, unless they are there. Throws IoError.
void make_directories(const std::string& path);

/// Reads a whole regular file. Throws IoError when it cannot be read, FormatError when it is longer than
/// `max_bytes`.
std::string read_text_file(const std::string& path, std::size_t max_bytes = std::size_t{1} << 30);

/// Writes a file that appears complete or not at all: the bytes go to a temporary name in the same directory
/// (`<path>.tmp.<process>.<number>`); commit() flushes them to the disk, renames over `path` and flushes the
/// directory. Without commit() the temporary file is removed and `path` is left as it was. A process that is
/// killed can leave the temporary file behind, never half of `path`.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  /// Nothing can be written afterwards.
  void commit();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string temporary_;  // empty once committed or moved from
  int descriptor_ = -1;
};

/// AtomicFile for a text that is at hand.
void write_text_file(const std::string& path, std::string_view text);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/core/file.inl.hpp>
#endif
