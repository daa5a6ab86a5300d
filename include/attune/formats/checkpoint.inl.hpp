#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/core/sort.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/formats/json.hpp>

namespace attune::detail {

inline constexpr std::array<std::string_view, 4> checkpoint_names = {
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"};

inline bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

inline std::string join(const std::string& directory, std::string_view name) {
  return directory + (directory.ends_with('/') ? "" : "/") + std::string(name);
}

/// A shard is a plain name in the directory of its index: nothing that could lead elsewhere.
inline void check_shard_name(const std::string& index, const std::string& name) {
  if (name.find('\0') != std::string::npos) throw FormatError(index, -1, "a shard name has a zero byte");
  const char* problem = nullptr;
  if (name.empty())
    problem = "is empty";
  else if (name.find_first_of("/\\") != std::string::npos)
    problem = "has a path separator";
  else if (name.find("..") != std::string::npos || name == ".")
    problem = "has dots that lead elsewhere";
  else if (name.ends_with(".json"))
    problem = "is not a weights file";
  else if (name.ends_with(".gguf"))
    problem = "is a GGUF file";
  if (problem != nullptr) throw FormatError(index, -1, "shard name \"" + name + "\" " + problem);
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE CheckpointReader CheckpointReader::open(const std::string& path) {
  if (!detail::is_directory(path)) return open_file(path);
  std::string looked_for;
  for (const std::string_view name : detail::checkpoint_names) {
    const std::string file = detail::join(path, name);
    if (file_exists(file)) return open_file(file);
    looked_for += (looked_for.empty() ? "" : ", ") + std::string(name);
  }
  throw IoError(path, "no weights in this directory; looked for " + looked_for);
}

ATTUNE_INLINE CheckpointReader CheckpointReader::open(const std::string& directory,
                                                      const std::string& file_name) {
  return open_file(detail::join(directory, file_name));
}

ATTUNE_INLINE CheckpointReader CheckpointReader::open_file(const std::string& path) {
  CheckpointReader reader;
  if (path.ends_with(".index.json")) {
    reader.open_index(path);
  } else {
    reader.add_file(path);
    const File& file = reader.opened_.front();
    for (std::size_t entry = 0; entry < file.size(); ++entry)
      reader.add_tensor(0, static_cast<std::uint32_t>(entry));
    if (file.safetensors) reader.metadata_ = file.safetensors->metadata();
  }
  detail::sort_items(reader.tensors_,
                     [](const CheckpointTensor& a, const CheckpointTensor& b) { return a.name < b.name; });
  return reader;
}

ATTUNE_INLINE std::size_t CheckpointReader::File::size() const {
  if (gguf) return gguf->entries().size();
  return torch ? torch->entries().size() : safetensors->entries().size();
}

ATTUNE_INLINE void CheckpointReader::open_index(const std::string& path) {
  const nlohmann::json index = read_json(path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw FormatError(path, -1, "expected an object with an object \"weight_map\"");
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  std::map<std::string, std::uint32_t> places;  // of shards in opened_
  for (const auto& [name, value] : index["weight_map"].get_ref<const nlohmann::json::object_t&>()) {
    if (!value.is_string())
      throw FormatError(path, -1, "weight_map: \"" + name + "\": expected the name of a shard");
    const std::string& shard = value.get_ref<const std::string&>();
    detail::check_shard_name(path, shard);
    const auto [place, added] = places.emplace(shard, static_cast<std::uint32_t>(opened_.size()));
    if (added) add_file(directory + shard);
    const File& file = opened_[place->second];
    std::ptrdiff_t entry = -1;
    if (file.torch) {
      if (const TorchEntry* found = file.torch->find(name)) entry = found - file.torch->entries().data();
    } else if (const SafetensorsEntry* found = file.safetensors->find(name)) {
      entry = found - file.safetensors->entries().data();
    }
    if (entry < 0) throw FormatError(path, -1, "tensor \"" + name + "\" is not in its shard " + shard);
    add_tensor(place->second, static_cast<std::uint32_t>(entry));
  }
}

ATTUNE_INLINE void CheckpointReader::add_file(const std::string& path) {
  File& file = opened_.emplace_back();
  // What torch.save writes has many names; safetensors files have one.
  if (path.ends_with(".safetensors"))
    file.safetensors = SafetensorsFile::open(path);
  else if (path.ends_with(".gguf"))
    file.gguf = GgufCheckpoint::open(path);
  else
    file.torch = TorchFile::open(path);
  files_.push_back(path);
}

ATTUNE_INLINE void CheckpointReader::add_tensor(std::uint32_t file, std::uint32_t entry) {
  const File& opened = opened_[file];
  CheckpointTensor& tensor = tensors_.emplace_back();
  tensor.file = file;
  tensor.entry = entry;
  if (opened.gguf) {
    const GgufCheckpointEntry& from = opened.gguf->entries()[entry];
    tensor.name = from.name;
    tensor.dtype_name = opened.gguf->file().tensors()[from.tensor].type_name();
    if (from.readable) tensor.dtype = from.dtype;
    tensor.shape = from.shape;
  } else if (opened.torch) {
    const TorchEntry& from = opened.torch->entries()[entry];
    tensor.name = from.name;
    tensor.dtype_name = name_of(from.dtype);
    tensor.dtype = from.dtype;
    tensor.shape = from.shape;
  } else {
    const SafetensorsEntry& from = opened.safetensors->entries()[entry];
    tensor.name = from.name;
    tensor.dtype_name = from.dtype_name;
    tensor.dtype = from.dtype;
    tensor.shape = from.shape;
  }
}

ATTUNE_INLINE const CheckpointTensor* CheckpointReader::find(std::string_view name) const {
  const auto place =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const CheckpointTensor& tensor, std::string_view n) { return tensor.name < n; });
  return place == tensors_.end() || place->name != name ? nullptr : &*place;
}

ATTUNE_INLINE TensorBytes CheckpointReader::read(const CheckpointTensor& tensor) const {
  const File& file = opened_[tensor.file];
  if (file.gguf) return file.gguf->read(file.gguf->entries()[tensor.entry]);
  if (file.torch) return file.torch->read(file.torch->entries()[tensor.entry]);
  return TensorBytes(file.safetensors->bytes(file.safetensors->entries()[tensor.entry]));
}

ATTUNE_INLINE std::optional<QuantizedMatrix> CheckpointReader::read_quantized(
    const CheckpointTensor& tensor) const {
  const File& file = opened_[tensor.file];
  if (!file.gguf) return std::nullopt;
  return file.gguf->read_quantized(file.gguf->entries()[tensor.entry]);
}

ATTUNE_INLINE TensorBytes CheckpointReader::read(std::string_view name) const {
  const CheckpointTensor* tensor = find(name);
  if (tensor == nullptr)
    throw ConfigError((files_.empty() ? std::string("checkpoint") : files_.front()) + ": no tensor \"" +
                      std::string(name) + "\"");
  return read(*tensor);
}

}  // namespace attune
