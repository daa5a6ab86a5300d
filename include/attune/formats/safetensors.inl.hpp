#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include <attune/core/sort.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/json_events.hpp>
#include <attune/formats/json_writer.hpp>
#include <attune/formats/safetensors.hpp>

namespace attune::detail {

static_assert(std::endian::native == std::endian::little, "checkpoints hold little-endian elements");

inline constexpr std::uint64_t safetensors_max_header = 100'000'000;

/// The element types of the format in its own order: files are sorted by it, descending.
struct SafetensorsType {
  std::string_view name;
  unsigned bits;
  std::optional<DType> dtype;
};
inline constexpr std::array<SafetensorsType, 22> safetensors_types = {{
    {"BOOL", 8, DType::boolean},
    {"F4", 4, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"U8", 8, DType::u8},
    {"I8", 8, DType::i8},
    {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt},
    {"I16", 16, DType::i16},
    {"U16", 16, std::nullopt},
    {"F16", 16, DType::f16},
    {"BF16", 16, DType::bf16},
    {"I32", 32, DType::i32},
    {"U32", 32, std::nullopt},
    {"F32", 32, DType::f32},
    {"C64", 64, std::nullopt},
    {"F64", 64, DType::f64},
    {"I64", 64, DType::i64},
    {"U64", 64, std::nullopt},
}};

inline const SafetensorsType* find_safetensors_type(std::string_view name) {
  for (const SafetensorsType& type : safetensors_types)
    if (type.name == name) return &type;
  return nullptr;
}

/// Its place in the format's order.
inline std::size_t safetensors_order(DType dtype) {
  std::size_t place = 0;
  while (safetensors_types[place].dtype != dtype) ++place;
  return place;
}

/// Reads the header from parse events, straight into entries: a general JSON value of a hostile header would
/// take many times the memory of its text. Offsets are still relative to the data.
class SafetensorsHeader final : public JsonEvents {
 public:
  explicit SafetensorsHeader(const std::string& name) : JsonEvents(name, 8) {}

  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;

  void start_object() override {
    if (place_ == Place::begin) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == "__metadata__") {
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      entries.emplace_back().name = key_;
      type_ = nullptr;
      has_shape_ = false;
      has_offsets_ = false;
    } else {
      unexpected("an object");
    }
  }
  void end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    place_ = Place::top;
  }
  void start_array() override {
    if (place_ != Place::tensor || (key_ != "shape" && key_ != "data_offsets")) unexpected("an array");
    place_ = Place::numbers;
    count_ = 0;
  }
  void end_array() override {
    place_ = Place::tensor;
    if (key_ == "shape") {
      entries.back().shape = Shape(std::span<const std::int64_t>(numbers_.data(), count_));
      has_shape_ = true;
      return;
    }
    if (count_ != 2) fail(tensor() + "data_offsets: expected 2 numbers, found " + std::to_string(count_));
    if (numbers_[1] < numbers_[0]) fail(tensor() + "data_offsets end before they begin");
    entries.back().offset = static_cast<std::uint64_t>(numbers_[0]);
    entries.back().bytes = static_cast<std::uint64_t>(numbers_[1] - numbers_[0]);
    has_offsets_ = true;
  }
  void key(std::string& name) override {
    key_ = std::move(name);
    if (place_ == Place::tensor) {
      const bool known = key_ == "dtype" || key_ == "shape" || key_ == "data_offsets";
      if (!known) fail(tensor() + "unknown field \"" + key_ + "\"");
      if ((key_ == "dtype" && type_ != nullptr) || (key_ == "shape" && has_shape_) ||
          (key_ == "data_offsets" && has_offsets_))
        fail(tensor() + "duplicate field \"" + key_ + "\"");
    } else if (place_ == Place::top && key_ == "__metadata__") {
      if (has_metadata_) fail("duplicate key \"__metadata__\"");
      has_metadata_ = true;
    }
  }
  void string(std::string& value) override {
    if (place_ == Place::metadata) {
      if (!metadata.emplace(key_, std::move(value)).second)
        fail("__metadata__: duplicate key \"" + key_ + "\"");
      return;
    }
    if (place_ != Place::tensor || key_ != "dtype") unexpected("a string");
    type_ = find_safetensors_type(value);
    if (type_ == nullptr) fail(tensor() + "unknown dtype \"" + value + "\"");
    entries.back().dtype_name = type_->name;
    entries.back().dtype = type_->dtype;
  }
  void number_unsigned(std::uint64_t value) override {
    if (place_ != Place::numbers) unexpected("a number");
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      fail(tensor() + key_ + ": " + std::to_string(value) + " is too large");
    if (count_ == numbers_.size())
      fail(tensor() + key_ + ": more than " + std::to_string(numbers_.size()) + " numbers");
    numbers_[count_++] = static_cast<std::int64_t>(value);
  }
  void number_integer(std::int64_t) override { unexpected("a negative number"); }
  void number_float(double) override { unexpected("a number that is not a 64-bit integer"); }
  void boolean(bool) override { unexpected("a boolean"); }
  void null() override {
    if (place_ != Place::top || key_ != "__metadata__") unexpected("null");
  }

 private:
  enum class Place { begin, top, metadata, tensor, numbers };

  std::string tensor() const { return "tensor \"" + entries.back().name + "\": "; }

  [[noreturn]] void unexpected(const std::string& what) const {
    switch (place_) {
      case Place::begin:
        fail("header: expected an object, found " + what);
      case Place::top:
        fail("\"" + key_ + "\": expected an object, found " + what);
      case Place::metadata:
        fail("__metadata__: \"" + key_ + "\": expected a string, found " + what);
      case Place::tensor:
        fail(tensor() + key_ + ": expected " + (key_ == "dtype" ? "a string" : "an array") + ", found " +
             what);
      case Place::numbers:
        break;
    }
    fail(tensor() + key_ + ": expected numbers from 0, found " + what);
  }

  void finish_tensor() {
    const SafetensorsEntry& entry = entries.back();
    if (type_ == nullptr) fail(tensor() + "dtype is missing");
    if (!has_shape_) fail(tensor() + "shape is missing");
    if (!has_offsets_) fail(tensor() + "data_offsets are missing");
    const std::optional<std::int64_t> count = checked_element_count(entry.shape);
    if (!count) fail(tensor() + "shape " + entry.shape.to_string() + " overflows");
    // count * 16 bytes fits in 63 bits, so count * 64 bits needs a split: whole bytes first.
    const auto elements = static_cast<std::uint64_t>(*count);
    if (type_->bits < 8 && elements * type_->bits % 8 != 0) fail(tensor() + "does not end at a whole byte");
    const std::uint64_t bytes = type_->bits < 8 ? elements * type_->bits / 8 : elements * (type_->bits / 8);
    if (bytes != entry.bytes)
      fail(tensor() + std::string(entry.dtype_name) + " of shape " + entry.shape.to_string() + " takes " +
           std::to_string(bytes) + " bytes, found data_offsets of " + std::to_string(entry.bytes));
  }

  Place place_ = Place::begin;
  std::string key_;
  const SafetensorsType* type_ = nullptr;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  bool has_metadata_ = false;
  std::array<std::int64_t, Shape::max_rank> numbers_{};
  std::size_t count_ = 0;
};

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE SafetensorsFile SafetensorsFile::open(const std::string& path) {
  SafetensorsFile result;
  result.file_ = MappedFile(path);
  const std::span<const std::byte> all = result.file_.bytes();
  std::uint64_t header_size = 0;
  if (all.size() < sizeof(header_size))
    throw FormatError(path, 0, "too short for a safetensors file: " + std::to_string(all.size()) + " bytes");
  std::memcpy(&header_size, all.data(), sizeof(header_size));
  if (header_size > detail::safetensors_max_header)
    throw FormatError(path, 0,
                      "a header is at most 100 MB, found a length of " + std::to_string(header_size));
  if (header_size > all.size() - sizeof(header_size))
    throw FormatError(path, 0,
                      "the header of " + std::to_string(header_size) + " bytes does not fit in the file of " +
                          std::to_string(all.size()));
  const std::string_view text(reinterpret_cast<const char*>(all.data()) + sizeof(header_size), header_size);
  if (text.empty() || text.front() != '{') throw FormatError(path, 8, "the header does not begin with {");
  detail::SafetensorsHeader header(path);
  detail::parse_json_events(text, header);
  result.metadata_ = std::move(header.metadata);
  result.entries_ = std::move(header.entries);

  std::vector<SafetensorsEntry>& entries = result.entries_;
  detail::sort_items(entries, [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  const std::uint64_t data_begin = sizeof(header_size) + header_size;
  std::uint64_t end = 0;
  for (SafetensorsEntry& entry : entries) {
    if (entry.offset != end)
      throw FormatError(path, static_cast<std::int64_t>(data_begin),
                        "tensor \"" + entry.name + "\": its data begin at " + std::to_string(entry.offset) +
                            ", " + (entry.offset < end ? "inside another tensor" : "after a hole") +
                            ", expected " + std::to_string(end));
    end += entry.bytes;
    entry.offset += data_begin;
  }
  if (end != all.size() - data_begin)
    throw FormatError(path, static_cast<std::int64_t>(data_begin),
                      "the tensors take " + std::to_string(end) + " bytes, found " +
                          std::to_string(all.size() - data_begin) + " bytes of data");

  for (const std::size_t entry : detail::sorted_order(
           entries.size(), [&](std::size_t a, std::size_t b) { return entries[a].name < entries[b].name; }))
    result.by_name_.push_back(static_cast<std::uint32_t>(entry));
  const auto twice = std::adjacent_find(
      result.by_name_.begin(), result.by_name_.end(),
      [&](std::uint32_t a, std::uint32_t b) { return entries[a].name == entries[b].name; });
  if (twice != result.by_name_.end())
    throw FormatError(path, 8, "duplicate tensor name \"" + entries[*twice].name + "\"");
  return result;
}

ATTUNE_INLINE const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto place =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [&](std::uint32_t i, std::string_view n) { return entries_[i].name < n; });
  if (place == by_name_.end() || entries_[*place].name != name) return nullptr;
  return &entries_[*place];
}

ATTUNE_INLINE std::span<const std::byte> SafetensorsFile::bytes(const SafetensorsEntry& entry) const {
  if (!entry.dtype)
    throw FormatError(path(), static_cast<std::int64_t>(entry.offset),
                      "tensor \"" + entry.name + "\" has dtype " + std::string(entry.dtype_name) +
                          ", which is not supported");
  return file_.bytes().subspan(entry.offset, entry.bytes);
}

ATTUNE_INLINE void save_safetensors(const std::string& path, const std::vector<SafetensorsTensor>& tensors,
                                    const std::function<std::span<const std::byte>(std::size_t)>& read,
                                    const SafetensorsMetadata& metadata) {
  const auto before = [&](std::size_t a, std::size_t b) {
    const std::size_t type_a = detail::safetensors_order(tensors[a].dtype);
    const std::size_t type_b = detail::safetensors_order(tensors[b].dtype);
    return type_a != type_b ? type_a > type_b : tensors[a].name < tensors[b].name;
  };
  const std::vector<std::size_t> order = detail::sorted_order(tensors.size(), before);

  // Written by hand since the fields keep the order of the data, which a JSON object does not.
  const auto quoted = [&](const std::string& text) {
    try {
      return detail::quote_json(text);
    } catch (const ConfigError&) {
      throw ConfigError(path + ": a tensor name or metadata text is not valid UTF-8");
    }
  };
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) header += quoted(key) + ":" + quoted(value) + ",";
    header.back() = '}';
    header += ',';
  }
  std::vector<std::uint64_t> sizes(tensors.size());
  std::map<std::string_view, bool> names;
  std::uint64_t end = 0;
  for (const std::size_t i : order) {
    const SafetensorsTensor& tensor = tensors[i];
    if (tensor.name == "__metadata__" || !names.emplace(tensor.name, true).second)
      throw ConfigError(path + ": tensor name \"" + tensor.name + "\" is " +
                        (tensor.name == "__metadata__" ? "reserved" : "used twice"));
    const std::optional<std::int64_t> count = checked_element_count(tensor.shape);
    if (!count)
      throw ConfigError(path + ": tensor \"" + tensor.name + "\": bad shape " + tensor.shape.to_string());
    sizes[i] = static_cast<std::uint64_t>(*count) * size_of(tensor.dtype);
    header += quoted(tensor.name) + ":{\"dtype\":\"" + std::string(name_of(tensor.dtype)) + "\",\"shape\":[";
    for (const std::int64_t extent : tensor.shape) header += std::to_string(extent) + ",";
    if (tensor.shape.rank() > 0) header.pop_back();
    header += "],\"data_offsets\":[" + std::to_string(end) + "," + std::to_string(end + sizes[i]) + "]},";
    end += sizes[i];
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  if (header.size() > detail::safetensors_max_header)
    throw ConfigError(path + ": the header would take " + std::to_string(header.size()) +
                      " bytes of at most 100 MB");

  AtomicFile file(path);
  const std::uint64_t header_size = header.size();
  file.write(std::as_bytes(std::span(&header_size, 1)));
  file.write(header);
  for (const std::size_t i : order) {
    const std::span<const std::byte> bytes = read(i);
    if (bytes.size() != sizes[i])
      throw ConfigError(path + ": tensor \"" + tensors[i].name + "\" of shape " +
                        tensors[i].shape.to_string() + " takes " + std::to_string(sizes[i]) +
                        " bytes, found " + std::to_string(bytes.size()));
    file.write(bytes);
  }
  file.commit();
}

ATTUNE_INLINE void save_safetensors(const std::string& path, const std::vector<SafetensorsTensor>& tensors,
                                    const SafetensorsMetadata& metadata) {
  save_safetensors(
      path, tensors, [&](std::size_t i) { return tensors[i].bytes; }, metadata);
}

}  // namespace attune
