#pragma once

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>

#include <unistd.h>

namespace attune_test {

inline std::string fixture(const std::string& name) {
  return std::string(ATTUNE_SOURCE_DIR) + "/tests/formats/data/" + name;
}

/// A directory that goes away with this object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    static std::atomic<int> counter{0};
    // In memory where there is such a place: the mutation tests write tens of thousands of small files.
    const std::filesystem::path memory = "/dev/shm";
    path_ = (std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path()) /
            ("attune_formats_" + std::to_string(::getpid()) + "_" + std::to_string(counter++));
    std::filesystem::create_directories(path_);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path(const std::string& name = "") const {
    return name.empty() ? path_.string() : (path_ / name).string();
  }
  /// Overwrites in place: the mutation tests write tens of thousands of files and need no durability.
  std::string write(const std::string& name, std::string_view bytes) const {
    const std::string file = path(name);
    std::FILE* out = std::fopen(file.c_str(), "wb");
    if (out == nullptr) throw attune::IoError(file, "cannot create");
    const bool complete = std::fwrite(bytes.data(), 1, bytes.size(), out) == bytes.size();
    if (std::fclose(out) != 0 || !complete) throw attune::IoError(file, "cannot write");
    return file;
  }

 private:
  std::filesystem::path path_;
};

/// While one lives, this thread may allocate at most `cap` bytes in total (freed or not): more throws
/// std::bad_alloc, which is no attune::Error. See allocation_test.cpp.
class AllocationCap {
 public:
  explicit AllocationCap(std::size_t cap);
  AllocationCap(const AllocationCap&) = delete;
  AllocationCap& operator=(const AllocationCap&) = delete;
  ~AllocationCap();
  std::size_t used() const;
};

/// "FormatError: <message>", "IoError: ...", or "none" when nothing is thrown. What is not an attune::Error
/// is passed on.
template <class F>
std::string error_of(const F& function) {
  try {
    function();
  } catch (const attune::FormatError& error) {
    return std::string("FormatError: ") + error.what();
  } catch (const attune::IoError& error) {
    return std::string("IoError: ") + error.what();
  } catch (const attune::ConfigError& error) {
    return std::string("ConfigError: ") + error.what();
  } catch (const attune::ShapeError& error) {
    return std::string("ShapeError: ") + error.what();
  } catch (const attune::Error& error) {
    return std::string("Error: ") + error.what();
  }
  return "none";
}

/// Little-endian bytes of a number.
template <class T>
std::string bytes_of(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// A safetensors file of this header and so many zero bytes of data.
inline std::string safetensors_bytes(const std::string& header, std::size_t data = 0) {
  return bytes_of<std::uint64_t>(header.size()) + header + std::string(data, '\0');
}

}  // namespace attune_test
