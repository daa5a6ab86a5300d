#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <attune/core/file.hpp>

namespace attune::detail {

[[noreturn]] ATTUNE_INLINE void throw_io_error(const std::string& path, const std::string& action, int code) {
  throw IoError(path, "cannot " + action + ": " + std::generic_category().message(code));
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

/// Opens a regular file for reading and tells its size. O_NONBLOCK keeps a FIFO from blocking before it is
/// refused.
ATTUNE_INLINE int open_regular_file(const std::string& path, std::size_t& size) {
  if (path.find('\0') != std::string::npos)
    throw IoError(path.c_str(), "cannot open: the name contains a zero byte");
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) throw_io_error(path, "open", errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_io_error(path, "read the size", errno);
  if (S_ISDIR(status.st_mode)) throw IoError(path, "expected a regular file, found a directory");
  if (!S_ISREG(status.st_mode))
    throw IoError(path, "expected a regular file, found a device, pipe or socket");
  size = static_cast<std::size_t>(status.st_size);
  return file.release();
}

ATTUNE_INLINE std::string parent_directory(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE MappedFile::MappedFile(const std::string& path) : path_(path) {
  std::size_t size = 0;
  const detail::Descriptor file(detail::open_regular_file(path, size));
  if (size == 0) return;  // an empty mapping is an error to the system
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) detail::throw_io_error(path, "map into memory", errno);
  data_ = static_cast<const std::byte*>(address);
  size_ = size;
}

ATTUNE_INLINE MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

ATTUNE_INLINE MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

ATTUNE_INLINE MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

ATTUNE_INLINE bool file_exists(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

ATTUNE_INLINE void make_directories(const std::string& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure) throw IoError(path, "cannot be made a directory: " + failure.message());
}

ATTUNE_INLINE std::string read_text_file(const std::string& path, std::size_t max_bytes) {
  std::size_t size = 0;
  const detail::Descriptor file(detail::open_regular_file(path, size));
  if (size > max_bytes)
    throw FormatError(
        path, -1, "expected at most " + std::to_string(max_bytes) + " bytes, found " + std::to_string(size));
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file.get(), text.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) detail::throw_io_error(path, "read", errno);
    if (count == 0) throw IoError(path, "the file became shorter while it was read");
    done += static_cast<std::size_t>(count);
  }
  return text;
}

ATTUNE_INLINE AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  if (path.find('\0') != std::string::npos)
    throw IoError(path.c_str(), "cannot create: the name contains a zero byte");
  static std::atomic<unsigned> counter{0};
  const std::string stem = path + ".tmp." + std::to_string(::getpid()) + ".";
  do {
    temporary_ = stem + std::to_string(counter.fetch_add(1));
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && (errno == EEXIST || errno == EINTR));
  if (descriptor_ < 0) detail::throw_io_error(temporary_, "create", errno);
}

ATTUNE_INLINE AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

ATTUNE_INLINE AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

ATTUNE_INLINE void AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0) throw IoError(path_, "cannot write: the file is already committed");
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) detail::throw_io_error(temporary_, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

ATTUNE_INLINE void AtomicFile::commit() {
  if (descriptor_ < 0) throw IoError(path_, "cannot commit: the file is already committed");
  if (::fsync(descriptor_) != 0) detail::throw_io_error(temporary_, "flush to disk", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) detail::throw_io_error(temporary_, "close", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    detail::throw_io_error(path_, "rename " + temporary_ + " to it", errno);
  temporary_.clear();
  const std::string parent = detail::parent_directory(path_);
  const detail::Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) detail::throw_io_error(parent, "open", errno);
  // Some file systems cannot flush a directory and say EINVAL; there the rename is as durable as it gets.
  if (::fsync(directory.get()) != 0 && errno != EINVAL)
    detail::throw_io_error(parent, "flush to disk", errno);
}

ATTUNE_INLINE void write_text_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace attune
