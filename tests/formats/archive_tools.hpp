#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "format_tools.hpp"

// Makers of small zip archives and pickles, right and wrong.

namespace attune_test {

/// A zip archive of stored entries and where its parts begin, for tests that break them.
struct Zip {
  std::string bytes;
  std::vector<std::size_t> locals, centrals;
  std::size_t end64 = 0, locator = 0, end = 0;

  template <class T>
  Zip patched(std::size_t at, T value) const {
    Zip copy = *this;
    std::memcpy(copy.bytes.data() + at, &value, sizeof(T));
    return copy;
  }
};

using ZipContent = std::vector<std::pair<std::string, std::string>>;

inline Zip make_zip(const ZipContent& content, bool zip64 = false) {
  const auto u16 = [](std::size_t value) { return bytes_of(static_cast<std::uint16_t>(value)); };
  const auto u32 = [](std::size_t value) { return bytes_of(static_cast<std::uint32_t>(value)); };
  const auto u64 = [](std::size_t value) { return bytes_of(static_cast<std::uint64_t>(value)); };
  Zip zip;
  for (const auto& [name, data] : content) {
    zip.locals.push_back(zip.bytes.size());
    zip.bytes += "PK\3\4" + u16(20) + u16(0) + u16(0) + u32(0) + u32(0) + u32(data.size()) +
                 u32(data.size()) + u16(name.size()) + u16(0) + name + data;
  }
  const std::size_t directory = zip.bytes.size();
  for (std::size_t i = 0; i < content.size(); ++i) {
    const auto& [name, data] = content[i];
    const std::string extra =
        zip64 ? u16(1) + u16(24) + u64(data.size()) + u64(data.size()) + u64(zip.locals[i]) : std::string();
    const std::size_t saturated = 0xffffffffu;
    zip.centrals.push_back(zip.bytes.size());
    zip.bytes += "PK\1\2" + u16(20) + u16(20) + u16(0) + u16(0) + u32(0) + u32(0) +
                 u32(zip64 ? saturated : data.size()) + u32(zip64 ? saturated : data.size()) +
                 u16(name.size()) + u16(extra.size()) + u16(0) + u16(0) + u16(0) + u32(0) +
                 u32(zip64 ? saturated : zip.locals[i]) + name + extra;
  }
  const std::size_t size = zip.bytes.size() - directory;
  if (zip64) {
    zip.end64 = zip.bytes.size();
    zip.bytes += "PK\6\6" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(content.size()) +
                 u64(content.size()) + u64(size) + u64(directory);
    zip.locator = zip.bytes.size();
    zip.bytes += "PK\6\7" + u32(0) + u64(zip.end64) + u32(1);
  }
  zip.end = zip.bytes.size();
  zip.bytes += "PK\5\6" + u16(0) + u16(0) + u16(content.size()) + u16(content.size()) + u32(size) +
               u32(directory) + u16(0);
  return zip;
}

namespace pickle {

inline std::string text(const std::string& value) {
  return std::string("X").append(bytes_of(static_cast<std::uint32_t>(value.size()))).append(value);
}
inline std::string integer(std::int64_t value) { return std::string("\x8a\x08") + bytes_of(value); }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string tuple(const std::string& values) { return "(" + values + "t"; }
inline std::string tuple(const std::vector<std::int64_t>& values) {
  std::string items;
  for (const std::int64_t value : values) items += integer(value);
  return tuple(items);
}
inline std::string storage(std::int64_t elements, const std::string& key = "0",
                           const std::string& type = "FloatStorage") {
  return tuple(text("storage") + global("torch", type) + text(key) + text("cpu") + integer(elements)) + "Q";
}
inline const std::string hooks = global("collections", "OrderedDict") + ")R";
inline std::string tensor(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& shape,
                          const std::vector<std::int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple(of + integer(offset) + tuple(shape) + tuple(strides) + "\x89" + hooks) + "R";
}
inline std::string program(const std::string& body) { return "\x80\x02" + body + "."; }
inline std::string dict(const std::string& items) { return "}(" + items + "u"; }
/// A checkpoint with one tensor "a".
inline std::string with_tensor(const std::string& value) { return program(dict(text("a") + value)); }

}  // namespace pickle

/// What torch.save writes around a pickle, with one storage of 16 bytes named "0".
inline std::string torch_archive(const std::string& program) {
  return make_zip({{"x/data.pkl", program}, {"x/byteorder", "little"}, {"x/data/0", std::string(16, '\0')}},
                  true)
      .bytes;
}

}  // namespace attune_test
