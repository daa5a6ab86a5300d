#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <type_traits>
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
  if (problem != nullptr) throw FormatError(index, -1, "shard name \"" + name + "\" " + problem);
}

inline CheckpointSource open_safetensors_source(const std::string& path) {
  const auto file = std::make_shared<const SafetensorsFile>(SafetensorsFile::open(path));
  CheckpointSource source;
  for (const SafetensorsEntry& entry : file->entries())
    source.tensors.push_back({entry.name, entry.dtype_name, entry.dtype, entry.shape,
                              static_cast<std::uint32_t>(source.tensors.size())});
  source.read = [file](const CheckpointTensor& tensor) {
    return TensorBytes(file->bytes(file->entries()[tensor.entry]));
  };
  source.metadata = file->metadata();
  return source;
}

inline CheckpointSource open_torch_source(const std::string& path) {
  const auto file = std::make_shared<const TorchFile>(TorchFile::open(path));
  CheckpointSource source;
  for (const TorchEntry& entry : file->entries())
    source.tensors.push_back({entry.name, name_of(entry.dtype), entry.dtype, entry.shape,
                              static_cast<std::uint32_t>(source.tensors.size())});
  source.read = [file](const CheckpointTensor& tensor) { return file->read(file->entries()[tensor.entry]); };
  return source;
}

/// What torch.save writes has many names; safetensors files have one.
inline CheckpointSource open_source(const std::string& path) {
  if (path.ends_with(".gguf")) throw FormatError(path, -1, "a GGUF file is not read here");
  return path.ends_with(".safetensors") ? open_safetensors_source(path) : open_torch_source(path);
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
  if (!path.ends_with(".index.json")) return CheckpointReader(path, detail::open_source(path));
  CheckpointReader reader;
  reader.open_index(path);
  reader.sort_tensors();
  return reader;
}

ATTUNE_INLINE CheckpointReader::CheckpointReader(const std::string& path, CheckpointSource source) {
  tensors_ = source.tensors;
  metadata_ = source.metadata;
  add_source(path, std::move(source));
  sort_tensors();
}

ATTUNE_INLINE void CheckpointReader::add_source(const std::string& path, CheckpointSource source) {
  files_.push_back(path);
  sources_.push_back(std::move(source));
}

ATTUNE_INLINE void CheckpointReader::sort_tensors() {
  detail::sort_items(tensors_,
                     [](const CheckpointTensor& a, const CheckpointTensor& b) { return a.name < b.name; });
}

ATTUNE_INLINE void CheckpointReader::open_index(const std::string& path) {
  const nlohmann::json index = read_json(path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw FormatError(path, -1, "expected an object with an object \"weight_map\"");
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  // Of each shard its place in sources_, and the place of each of its tensors by name.
  std::map<std::string, std::uint32_t> shards;
  std::vector<std::map<std::string_view, std::size_t>> places;
  static_assert(std::is_nothrow_move_constructible_v<CheckpointSource>, "the names must stay where they are");
  for (const auto& [name, value] : index["weight_map"].get_ref<const nlohmann::json::object_t&>()) {
    if (!value.is_string())
      throw FormatError(path, -1, "weight_map: \"" + name + "\": expected the name of a shard");
    const std::string& shard = value.get_ref<const std::string&>();
    detail::check_shard_name(path, shard);
    const auto [file, added] = shards.emplace(shard, static_cast<std::uint32_t>(sources_.size()));
    if (added) {
      add_source(directory + shard, detail::open_source(directory + shard));
      const std::vector<CheckpointTensor>& tensors = sources_.back().tensors;
      places.emplace_back();
      for (std::size_t i = 0; i < tensors.size(); ++i) places.back().emplace(tensors[i].name, i);
    }
    const auto place = places[file->second].find(name);
    if (place == places[file->second].end())
      throw FormatError(path, -1, "tensor \"" + name + "\" is not in its shard " + shard);
    tensors_.push_back(sources_[file->second].tensors[place->second]);
    tensors_.back().file = file->second;
  }
}

ATTUNE_INLINE const CheckpointTensor* CheckpointReader::find(std::string_view name) const {
  const auto place =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const CheckpointTensor& tensor, std::string_view n) { return tensor.name < n; });
  return place == tensors_.end() || place->name != name ? nullptr : &*place;
}

ATTUNE_INLINE TensorBytes CheckpointReader::read(const CheckpointTensor& tensor) const {
  return sources_[tensor.file].read(tensor);
}

ATTUNE_INLINE std::optional<QuantizedMatrix> CheckpointReader::read_quantized(
    const CheckpointTensor& tensor) const {
  const auto& read = sources_[tensor.file].read_quantized;
  return read ? read(tensor) : std::nullopt;
}

ATTUNE_INLINE TensorBytes CheckpointReader::read(std::string_view name) const {
  const CheckpointTensor* tensor = find(name);
  if (tensor == nullptr)
    throw ConfigError((files_.empty() ? std::string("checkpoint") : files_.front()) + ": no tensor \"" +
                      std::string(name) + "\"");
  return read(*tensor);
}

}  // namespace attune
