#pragma once

#include <cstring>
#include <set>
#include <type_traits>

#include <attune/core/error.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/gguf.hpp>
#include <attune/formats/gguf.inl.hpp>

namespace attune::detail {

/// Builds the part of a GGUF file before its data.
class GgufHeader {
 public:
  template <class T>
  void number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    const std::size_t end = bytes_.size();
    bytes_.resize(end + sizeof(T));
    std::memcpy(bytes_.data() + end, &value, sizeof(T));
  }
  void text(std::string_view value) {
    number<std::uint64_t>(value.size());
    bytes_ += value;
  }
  void value(const GgufValue& value) {
    number(static_cast<std::uint32_t>(value.type));
    if (const auto* array = std::get_if<GgufArray>(&value.value))
      write_array(*array);
    else if (const auto* string = std::get_if<std::string>(&value.value))
      text(*string);
    else if (const auto* floating = std::get_if<double>(&value.value))
      scalar(value.type, *floating);
    else if (const auto* whole = std::get_if<std::int64_t>(&value.value))
      scalar(value.type, *whole);
    else
      scalar(value.type, std::get<std::uint64_t>(value.value));
  }
  void pad(std::uint64_t alignment) {
    bytes_.append((alignment - bytes_.size() % alignment) % alignment, '\0');
  }
  const std::string& bytes() const { return bytes_; }

 private:
  template <class T>
  void scalar(GgufType type, T value) {
    switch (type) {
      case GgufType::u8:
      case GgufType::boolean:
        return number(static_cast<std::uint8_t>(value));
      case GgufType::i8:
        return number(static_cast<std::int8_t>(value));
      case GgufType::u16:
        return number(static_cast<std::uint16_t>(value));
      case GgufType::i16:
        return number(static_cast<std::int16_t>(value));
      case GgufType::u32:
        return number(static_cast<std::uint32_t>(value));
      case GgufType::i32:
        return number(static_cast<std::int32_t>(value));
      case GgufType::f32:
        return number(static_cast<float>(value));
      case GgufType::f64:
        return number(static_cast<double>(value));
      case GgufType::u64:
        return number(static_cast<std::uint64_t>(value));
      default:
        return number(static_cast<std::int64_t>(value));
    }
  }
  void write_array(const GgufArray& array) {
    number(static_cast<std::uint32_t>(array.type));
    number<std::uint64_t>(array.size());
    std::visit(
        [&](const auto& elements) {
          for (const auto& element : elements) {
            using Element = std::remove_cvref_t<decltype(element)>;
            if constexpr (std::is_same_v<Element, std::string>)
              text(element);
            else if constexpr (std::is_same_v<Element, GgufArray>)
              write_array(element);
            else
              scalar(array.type, element);
          }
        },
        array.values);
  }

  std::string bytes_;
};

/// What kind of value stands for a type: its place in GgufValue's variant.
constexpr std::size_t gguf_kind(GgufType type) {
  switch (type) {
    case GgufType::i8:
    case GgufType::i16:
    case GgufType::i32:
    case GgufType::i64:
      return 1;
    case GgufType::f32:
    case GgufType::f64:
      return 2;
    case GgufType::string:
      return 3;
    case GgufType::array:
      return 4;
    default:
      return 0;
  }
}

/// Throws ConfigError for a value that is not of the type it claims, or arrays in arrays too deep to be read
/// back.
inline void check_gguf_array(const std::string& path, const std::string& key, const GgufArray& array,
                             int depth) {
  if (array.values.index() != gguf_kind(array.type))
    throw ConfigError(path + ": " + key + ": the array's elements are not of its type");
  if (depth > gguf_max_depth) throw ConfigError(path + ": " + key + ": arrays nest deeper than 8 levels");
  if (const auto* inner = std::get_if<std::vector<GgufArray>>(&array.values))
    for (const GgufArray& element : *inner) check_gguf_array(path, key, element, depth + 1);
}

inline void check_gguf_entry(const std::string& path, const std::string& key, const GgufValue& value) {
  if (key.empty() || key.size() > gguf_max_name)
    throw ConfigError(path + ": a key has 1 to 65535 bytes, found " + std::to_string(key.size()));
  if (value.value.index() != gguf_kind(value.type))
    throw ConfigError(path + ": " + key + ": the value is not of its type");
  if (const auto* array = std::get_if<GgufArray>(&value.value)) check_gguf_array(path, key, *array, 1);
}

/// The bytes that a tensor takes. Throws ConfigError.
inline std::uint64_t checked_gguf_bytes(const std::string& path, const GgufTensorInfo& tensor) {
  const auto fail = [&](const std::string& what) {
    throw ConfigError(path + ": tensor \"" + tensor.name + "\": " + what);
  };
  if (tensor.name.empty() || tensor.name.size() > 63)
    fail("a name has 1 to 63 bytes, found " + std::to_string(tensor.name.size()));
  if (tensor.shape.rank() > 4) fail("at most 4 dimensions, found " + std::to_string(tensor.shape.rank()));
  const std::optional<std::int64_t> count = checked_element_count(tensor.shape);
  if (!count) fail("bad shape " + tensor.shape.to_string());
  const GgmlLayout& layout = ggml_layout(tensor.type);
  if (tensor.shape.back() % layout.block_elements != 0)
    fail("rows of " + std::to_string(tensor.shape.back()) + " elements are no whole blocks of " +
         std::string(layout.name));
  return static_cast<std::uint64_t>(*count / layout.block_elements) *
         static_cast<std::uint64_t>(layout.block_bytes);
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE void save_gguf(const std::string& path, const GgufMetadata& metadata,
                             const std::vector<GgufTensorInfo>& tensors,
                             const std::function<std::span<const std::byte>(std::size_t)>& read) {
  const std::uint64_t alignment = detail::gguf_alignment(metadata);
  const auto padded = [&](std::uint64_t size) { return (size + alignment - 1) / alignment * alignment; };
  detail::GgufHeader header;
  header.number<std::uint32_t>(0x46554747u);
  header.number<std::uint32_t>(3);
  header.number<std::uint64_t>(tensors.size());
  header.number<std::uint64_t>(metadata.entries().size());
  const auto write_entry = [&](const std::string& key, const GgufValue& value) {
    detail::check_gguf_entry(path, key, value);
    header.text(key);
    header.value(value);
  };
  const std::string first = "general.architecture";
  if (const GgufValue* architecture = metadata.find(first)) write_entry(first, *architecture);
  for (const auto& [key, value] : metadata.entries())
    if (key != first) write_entry(key, value);

  std::vector<std::uint64_t> sizes;
  std::set<std::string_view> names;
  std::uint64_t end = 0;
  for (const GgufTensorInfo& tensor : tensors) {
    sizes.push_back(detail::checked_gguf_bytes(path, tensor));
    if (!names.insert(tensor.name).second)
      throw ConfigError(path + ": tensor name \"" + tensor.name + "\" is used twice");
    header.text(tensor.name);
    header.number(static_cast<std::uint32_t>(tensor.shape.rank()));
    for (int dim = tensor.shape.rank() - 1; dim >= 0; --dim)
      header.number(static_cast<std::uint64_t>(tensor.shape[dim]));
    header.number(static_cast<std::uint32_t>(tensor.type));
    header.number(end);
    end += padded(sizes.back());
  }
  header.pad(alignment);

  AtomicFile file(path);
  file.write(header.bytes());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::span<const std::byte> bytes = read(i);
    if (bytes.size() != sizes[i])
      throw ConfigError(path + ": tensor \"" + tensors[i].name + "\" of shape " +
                        tensors[i].shape.to_string() + " takes " + std::to_string(sizes[i]) +
                        " bytes, found " + std::to_string(bytes.size()));
    file.write(bytes);
    file.write(std::string(padded(sizes[i]) - sizes[i], '\0'));
  }
  file.commit();
}

}  // namespace attune
