#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <attune/core/file.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>
#include <attune/formats/ggml_blocks.hpp>

namespace attune {

/// The types of metadata values, under GGUF's numbers.
enum class GgufType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12
};

/// "uint32", "string", ... as the format names them.
std::string_view name_of(GgufType type);

/// Elements of one type. Unsigned integers and booleans are kept as std::uint64_t, signed ones as
/// std::int64_t, both floating-point types as double.
struct GgufArray {
  GgufType type = GgufType::u32;  ///< of the elements
  std::variant<std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
               std::vector<std::string>, std::vector<GgufArray>>
      values{};

  std::size_t size() const {
    return std::visit([](const auto& elements) { return elements.size(); }, values);
  }
  static GgufArray of_strings(std::vector<std::string> elements);
  static GgufArray of_i32(const std::vector<std::int32_t>& elements);
  static GgufArray of_f32(const std::vector<float>& elements);
  friend bool operator==(const GgufArray&, const GgufArray&) = default;
};

/// One metadata value.
struct GgufValue {
  GgufType type = GgufType::u32;
  std::variant<std::uint64_t, std::int64_t, double, std::string, GgufArray> value{};

  static GgufValue of_u32(std::uint32_t number);
  static GgufValue of_i32(std::int32_t number);
  static GgufValue of_u64(std::uint64_t number);
  static GgufValue of_f32(float number);
  static GgufValue of_bool(bool truth);
  static GgufValue of_string(std::string text);
  static GgufValue of_array(GgufArray elements);
  friend bool operator==(const GgufValue&, const GgufValue&) = default;
};

/// Keys and values in the order of the file. The typed getters throw ConfigError, naming the file, the key
/// and what was found, when a value is of another kind; integers of any width and sign are one kind, and so
/// are both floating-point types (which an integer may stand for).
class GgufMetadata {
 public:
  /// `where` begins every message.
  explicit GgufMetadata(std::string where = "GGUF metadata") : where_(std::move(where)) {}

  const std::vector<std::pair<std::string, GgufValue>>& entries() const { return entries_; }
  /// nullptr when there is none of that key.
  const GgufValue* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// Adds a value, or puts it in the place of an older one.
  void set(const std::string& key, GgufValue value);

  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  /// Arrays, empty when there is none.
  std::vector<std::string> strings(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  /// "FILE: KEY: WHAT", as a ConfigError.
  [[noreturn]] void refuse(std::string_view key, const std::string& what) const;
  [[noreturn]] void throw_missing(std::string_view key) const;
  const std::string& where() const { return where_; }

 private:
  friend class GgufFile;  // knows that its keys are unique

  std::string where_;
  std::vector<std::pair<std::string, GgufValue>> entries_;
};

/// Whether a path names a GGUF file, by its extension.
inline bool is_gguf_path(std::string_view path) { return path.ends_with(".gguf"); }

/// One tensor of a GGUF file.
struct GgufTensor {
  std::string name;
  std::uint32_t type_number = 0;  ///< ggml's, see GgmlLayout
  Shape shape;                    ///< outermost first: the reverse of the file's order
  std::uint64_t offset = 0;       ///< of its bytes, from the start of the file
  std::uint64_t bytes = 0;

  /// Nothing for a type whose elements attune cannot read.
  std::optional<GgmlType> type() const;
  std::string_view type_name() const;
};

/// A GGUF file (version 2 or 3, little-endian), mapped and checked: every count and length fits in the file
/// before anything is reserved for it, keys and names are unique, arrays nest at most 8 deep, tensors are
/// aligned, inside the file and do not overlap.
/// Source: ggml/docs/gguf.md
class GgufFile {
 public:
  /// Throws IoError, or FormatError with the byte offset.
  static GgufFile open(const std::string& path);

  std::uint32_t version() const { return version_; }
  std::uint32_t alignment() const { return alignment_; }
  const GgufMetadata& metadata() const { return metadata_; }
  /// In the file's order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// nullptr when there is none of that name.
  const GgufTensor* find(std::string_view name) const;
  /// The bytes of one of tensors(), as the file holds them; valid as long as this object. Throws FormatError
  /// for a type whose elements attune cannot read.
  std::span<const std::byte> bytes(const GgufTensor& tensor) const;
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::vector<std::uint32_t> by_name_;
  std::uint32_t version_ = 0;
  std::uint32_t alignment_ = 32;
};

/// A tensor to be written. Its rows (the last extent) must be whole blocks.
struct GgufTensorInfo {
  std::string name;
  GgmlType type = GgmlType::f32;
  Shape shape;  ///< outermost first, at most 4 extents
};

/// Writes version 3 atomically (see AtomicFile), laid out as gguf-py does: "general.architecture" comes first
/// when it is there, the other metadata and the tensors keep their order, and every tensor is padded to
/// "general.alignment" (32 when unset). `read(i)` is called once for each tensors[i], in order, and gives its
/// bytes in the type to be written. Throws ConfigError for a name or key that occurs twice, is empty or
/// longer than 65535 bytes (63 for tensors, ggml's limit), a shape that does not fit its type, or bytes that
/// do not fit the shape; IoError when the file cannot be written.
void save_gguf(const std::string& path, const GgufMetadata& metadata,
               const std::vector<GgufTensorInfo>& tensors,
               const std::function<std::span<const std::byte>(std::size_t)>& read);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/gguf.inl.hpp>
#include <attune/formats/gguf_metadata.inl.hpp>
#include <attune/formats/gguf_write.inl.hpp>
#endif
