#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include <attune/core/error.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/gguf.hpp>

namespace attune::detail {

inline constexpr std::array<std::string_view, 13> gguf_type_names = {
    "uint8",   "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
    "boolean", "string", "array",  "uint64", "int64",  "float64"};
inline constexpr int gguf_max_depth = 8;
inline constexpr std::uint64_t gguf_max_name = 65535;

/// The least bytes that a value of the type takes in a file.
constexpr std::uint64_t gguf_size(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::array:
      return 12;
    default:
      return 8;
  }
}

/// Reads the parts of a GGUF file before its data; never past the end.
class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }

  template <class T>
  T number(const char* what) {
    if (left() < sizeof(T)) fail(std::string("the file ends inside ") + what);
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  /// A number of things that take at least `least` bytes each.
  std::uint64_t count(const char* what, std::uint64_t least) {
    const auto count = number<std::uint64_t>(what);
    if (count > left() / least)
      fail(std::string(what) + " is " + std::to_string(count) + ", but only " + std::to_string(left()) +
           " bytes are left");
    return count;
  }
  std::string text(const char* what, std::uint64_t longest) {
    const std::uint64_t length = count(what, 1);
    if (length > longest)
      fail(std::string(what) + ": at most " + std::to_string(longest) + " bytes, found " +
           std::to_string(length));
    std::string text(reinterpret_cast<const char*>(bytes_.data() + position_), length);
    position_ += length;
    return text;
  }
  GgufType type() {
    const auto number_of_type = number<std::uint32_t>("a value type");
    if (number_of_type >= gguf_type_names.size())
      fail("unknown value type " + std::to_string(number_of_type));
    return static_cast<GgufType>(number_of_type);
  }
  GgufValue value() {
    GgufValue result;
    result.type = type();
    switch (result.type) {
      case GgufType::string:
        result.value = text("a string's length", std::numeric_limits<std::uint64_t>::max());
        break;
      case GgufType::array:
        result.value = array(1);
        break;
      case GgufType::f32:
      case GgufType::f64:
        result.value = floating(result.type);
        break;
      case GgufType::i8:
      case GgufType::i16:
      case GgufType::i32:
      case GgufType::i64:
        result.value = signed_integer(result.type);
        break;
      default:
        result.value = unsigned_integer(result.type);
    }
    return result;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(path_, static_cast<std::int64_t>(position_), what);
  }

 private:
  std::uint64_t unsigned_integer(GgufType type) {
    switch (type) {
      case GgufType::u8:
        return number<std::uint8_t>("a value");
      case GgufType::u16:
        return number<std::uint16_t>("a value");
      case GgufType::u32:
        return number<std::uint32_t>("a value");
      case GgufType::u64:
        return number<std::uint64_t>("a value");
      default: {
        const auto truth = number<std::uint8_t>("a value");
        if (truth > 1) fail("a boolean is 0 or 1, found " + std::to_string(truth));
        return truth;
      }
    }
  }
  std::int64_t signed_integer(GgufType type) {
    switch (type) {
      case GgufType::i8:
        return number<std::int8_t>("a value");
      case GgufType::i16:
        return number<std::int16_t>("a value");
      case GgufType::i32:
        return number<std::int32_t>("a value");
      default:
        return number<std::int64_t>("a value");
    }
  }
  double floating(GgufType type) {
    return type == GgufType::f32 ? static_cast<double>(number<float>("a value")) : number<double>("a value");
  }
  template <class T, class Read>
  std::vector<T> elements(std::uint64_t count, Read&& read) {
    std::vector<T> values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) values.push_back(read());
    return values;
  }
  GgufArray array(int depth) {
    if (depth > gguf_max_depth) fail("arrays nest deeper than " + std::to_string(gguf_max_depth) + " levels");
    GgufArray result;
    result.type = type();
    const std::uint64_t length = count("an array's length", gguf_size(result.type));
    switch (result.type) {
      case GgufType::string:
        result.values = elements<std::string>(
            length, [&] { return text("a string's length", std::numeric_limits<std::uint64_t>::max()); });
        break;
      case GgufType::array:
        result.values = elements<GgufArray>(length, [&] { return array(depth + 1); });
        break;
      case GgufType::f32:
      case GgufType::f64:
        result.values = elements<double>(length, [&] { return floating(result.type); });
        break;
      case GgufType::i8:
      case GgufType::i16:
      case GgufType::i32:
      case GgufType::i64:
        result.values = elements<std::int64_t>(length, [&] { return signed_integer(result.type); });
        break;
      default:
        result.values = elements<std::uint64_t>(length, [&] { return unsigned_integer(result.type); });
    }
    return result;
  }

  std::span<const std::byte> bytes_;
  const std::string& path_;
  std::uint64_t position_ = 0;
};

/// One line of the tensor table; its offset still counts from the data's beginning.
inline GgufTensor read_gguf_tensor(GgufCursor& cursor) {
  GgufTensor tensor;
  tensor.name = cursor.text("a tensor name's length", gguf_max_name);
  const auto fail = [&](const std::string& what) { cursor.fail("tensor \"" + tensor.name + "\": " + what); };
  const auto rank = cursor.number<std::uint32_t>("a tensor's rank");
  if (rank > 4) fail("at most 4 dimensions, found " + std::to_string(rank));
  std::array<std::int64_t, 4> extents{};
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto extent = cursor.number<std::uint64_t>("a tensor's shape");
    if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      fail("extent " + std::to_string(extent) + " is too large");
    extents[rank - 1 - i] = static_cast<std::int64_t>(extent);
  }
  tensor.shape = Shape(std::span<const std::int64_t>(extents.data(), rank));
  tensor.type_number = cursor.number<std::uint32_t>("a tensor's type");
  const GgmlLayout* layout = find_ggml_layout(tensor.type_number);
  if (layout == nullptr) fail("unknown element type " + std::to_string(tensor.type_number));
  const std::optional<std::int64_t> count = checked_element_count(tensor.shape);
  if (!count) fail("shape " + tensor.shape.to_string() + " overflows");
  if (tensor.shape.back() % layout->block_elements != 0)
    fail("rows of " + std::to_string(tensor.shape.back()) + " elements are no whole blocks of " +
         std::string(layout->name));
  tensor.bytes = static_cast<std::uint64_t>(*count / layout->block_elements) *
                 static_cast<std::uint64_t>(layout->block_bytes);
  tensor.offset = cursor.number<std::uint64_t>("a tensor's offset");
  return tensor;
}

/// Makes offsets count from the file's beginning, and checks them.
inline void place_gguf_tensors(std::vector<GgufTensor>& tensors, std::uint64_t data_begin, std::uint64_t size,
                               std::uint32_t alignment, const std::string& path) {
  for (GgufTensor& tensor : tensors) {
    const auto fail = [&](const std::string& what) {
      throw FormatError(path, static_cast<std::int64_t>(data_begin),
                        "tensor \"" + tensor.name + "\": " + what);
    };
    if (tensor.offset % alignment != 0)
      fail("its offset " + std::to_string(tensor.offset) + " is no multiple of " + std::to_string(alignment));
    if (data_begin > size || tensor.offset > size - data_begin ||
        tensor.bytes > size - data_begin - tensor.offset)
      fail("its " + std::to_string(tensor.bytes) + " bytes at " + std::to_string(tensor.offset) +
           " leave the file of " + std::to_string(size) + " bytes");
    tensor.offset += data_begin;
  }
  std::vector<const GgufTensor*> order;
  for (const GgufTensor& tensor : tensors)
    if (tensor.bytes > 0) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i]->offset - order[i - 1]->offset < order[i - 1]->bytes)
      throw FormatError(path, static_cast<std::int64_t>(order[i]->offset),
                        "tensors \"" + order[i - 1]->name + "\" and \"" + order[i]->name + "\" overlap");
}

inline std::uint32_t gguf_alignment(const GgufMetadata& metadata) {
  const GgufValue* value = metadata.find("general.alignment");
  if (value == nullptr) return 32;
  const auto* number = std::get_if<std::uint64_t>(&value->value);
  if (value->type != GgufType::u32 || number == nullptr || *number == 0 || (*number & (*number - 1)) != 0)
    metadata.refuse("general.alignment", "expected a power of two as uint32");
  return static_cast<std::uint32_t>(*number);
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::string_view name_of(GgufType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < detail::gguf_type_names.size() ? detail::gguf_type_names[number] : "?";
}

ATTUNE_INLINE std::optional<GgmlType> GgufTensor::type() const {
  const GgmlLayout* layout = find_ggml_layout(type_number);
  if (layout == nullptr || !layout->readable) return std::nullopt;
  return static_cast<GgmlType>(type_number);
}
ATTUNE_INLINE std::string_view GgufTensor::type_name() const {
  const GgmlLayout* layout = find_ggml_layout(type_number);
  return layout == nullptr ? "?" : layout->name;
}

ATTUNE_INLINE GgufFile GgufFile::open(const std::string& path) {
  GgufFile result;
  result.file_ = MappedFile(path);
  detail::GgufCursor cursor(result.file_.bytes(), path);
  if (cursor.number<std::uint32_t>("the header") != 0x46554747u)
    throw FormatError(path, 0, "not a GGUF file: it does not begin with GGUF");
  result.version_ = cursor.number<std::uint32_t>("the header");
  if ((result.version_ & 0xffffu) == 0) cursor.fail("a big-endian GGUF file is not supported");
  if (result.version_ != 2 && result.version_ != 3)
    cursor.fail("GGUF version 2 or 3 is expected, found " + std::to_string(result.version_));
  const std::uint64_t tensor_count = cursor.count("the number of tensors", 24);
  const std::uint64_t value_count = cursor.count("the number of metadata values", 13);

  std::vector<std::pair<std::string, GgufValue>> entries;
  std::unordered_set<std::string> keys;
  result.metadata_ = GgufMetadata(path);
  entries.reserve(value_count);
  for (std::uint64_t i = 0; i < value_count; ++i) {
    std::string key = cursor.text("a key's length", detail::gguf_max_name);
    if (key.empty()) cursor.fail("an empty key");
    if (!keys.insert(key).second) cursor.fail("duplicate key \"" + key + "\"");
    entries.emplace_back(std::move(key), cursor.value());
  }
  result.metadata_.entries_ = std::move(entries);

  std::vector<GgufTensor>& tensors = result.tensors_;
  tensors.reserve(tensor_count);
  for (std::uint64_t i = 0; i < tensor_count; ++i) tensors.push_back(detail::read_gguf_tensor(cursor));
  try {
    result.alignment_ = detail::gguf_alignment(result.metadata_);
  } catch (const ConfigError& error) {  // here it is the file that breaks its format
    throw FormatError(path, -1, std::string(error.what()).substr(path.size() + 2));
  }
  const std::uint64_t alignment = result.alignment_;
  const std::uint64_t data_begin = (cursor.position() + alignment - 1) / alignment * alignment;
  detail::place_gguf_tensors(tensors, data_begin, result.file_.size(), result.alignment_, path);

  for (std::uint32_t i = 0; i < tensors.size(); ++i) result.by_name_.push_back(i);
  std::sort(result.by_name_.begin(), result.by_name_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return tensors[a].name < tensors[b].name; });
  const auto twice = std::adjacent_find(
      result.by_name_.begin(), result.by_name_.end(),
      [&](std::uint32_t a, std::uint32_t b) { return tensors[a].name == tensors[b].name; });
  if (twice != result.by_name_.end())
    throw FormatError(path, -1, "duplicate tensor name \"" + tensors[*twice].name + "\"");
  return result;
}

ATTUNE_INLINE const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto place =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [&](std::uint32_t i, std::string_view n) { return tensors_[i].name < n; });
  return place == by_name_.end() || tensors_[*place].name != name ? nullptr : &tensors_[*place];
}

ATTUNE_INLINE std::span<const std::byte> GgufFile::bytes(const GgufTensor& tensor) const {
  if (!tensor.type())
    throw FormatError(path(), static_cast<std::int64_t>(tensor.offset),
                      "tensor \"" + tensor.name + "\" has type " + std::string(tensor.type_name()) +
                          ", which is not supported");
  return file_.bytes().subspan(tensor.offset, tensor.bytes);
}

}  // namespace attune
