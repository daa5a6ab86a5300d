#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include <attune/core/log.hpp>
#include <attune/core/pattern.hpp>
#include <attune/core/random.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/io/pretrained.hpp>

namespace attune::detail {

/// The names under which a checkpoint may hold a parameter, the likeliest first.
inline std::vector<std::string> candidate_names(const std::string& name, const std::string& base_prefix) {
  std::vector<std::string> names{name};
  if (!base_prefix.empty()) {
    if (name.starts_with(base_prefix))
      names.push_back(name.substr(base_prefix.size()));
    else
      names.push_back(base_prefix + name);
  }
  // TensorFlow's words, still in the oldest checkpoints.
  for (const auto& [ours, legacy] :
       {std::pair<std::string, std::string>{"LayerNorm.weight", "LayerNorm.gamma"},
        {"LayerNorm.bias", "LayerNorm.beta"}}) {
    for (std::size_t i = 0, count = names.size(); i < count; ++i)
      if (names[i].ends_with(ours))
        names.push_back(names[i].substr(0, names[i].size() - ours.size()) + legacy);
  }
  return names;
}

ATTUNE_INLINE void fill_anew(const LoadTarget& target, double initializer_range, std::uint64_t seed) {
  const auto count = static_cast<std::size_t>(target.shape.size());
  std::vector<float> values(count, target.init == Init::ones ? 1.0f : 0.0f);
  if (target.init == Init::normal) {
    std::uint64_t stream = 0xcbf29ce484222325ull;  // FNV-1a of the name
    for (const char c : target.name) stream = (stream ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    RandomStream random(seed, stream);
    for (float& value : values) value = random.normal() * static_cast<float>(initializer_range);
  }
  if (target.init == Init::sinusoidal) {
    const std::int64_t columns = target.shape[1];
    for (std::int64_t i = 0; i < target.shape.size(); ++i) {
      const std::int64_t position = i / columns, column = i % columns, pair = column / 2;
      const double angle = static_cast<double>(position) /
                           std::pow(10000.0, 2.0 * static_cast<double>(pair) / static_cast<double>(columns));
      values[static_cast<std::size_t>(i)] =
          static_cast<float>(column % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
  if (target.zero_row >= 0 && target.zero_row < target.shape[0]) {
    const auto row_size = static_cast<std::ptrdiff_t>(target.shape.size() / target.shape[0]);
    std::fill_n(values.begin() + target.zero_row * row_size, row_size, 0.0f);
  }
  if (target.assign)
    target.assign(values);
  else
    target.assign_double(std::vector<double>(values.begin(), values.end()));
}

/// The elements of a float tensor as they lie in the file; none where they have to be converted.
inline std::span<const float> as_floats(const CheckpointTensor& tensor, const TensorBytes& elements) {
  const auto* const first = reinterpret_cast<const float*>(elements.bytes.data());
  if (tensor.dtype != DType::f32 || reinterpret_cast<std::uintptr_t>(first) % alignof(float) != 0) return {};
  return {first, static_cast<std::size_t>(tensor.shape.size())};
}

/// How the checkpoint holds the elements of a matrix, when it is in blocks that may be kept.
inline std::optional<BlockType> kept_blocks(const LoadTarget& target, const CheckpointReader& checkpoint,
                                            const CheckpointTensor* tensor) {
  if (!target.assign_blocks || !tensor) return std::nullopt;
  const std::optional<BlockType> type = find_block_type(tensor->dtype_name);
  return type && checkpoint.read_quantized(*tensor) ? type : std::nullopt;
}

ATTUNE_INLINE LoadReport load_targets(const std::vector<LoadTarget>& targets, const std::string& directory,
                                      const LoadOptions& options) {
  const CheckpointReader checkpoint =
      options.open != nullptr ? options.open(directory) : CheckpointReader::open(directory);
  LoadReport report;
  std::map<std::string, bool> used;
  // Names and shapes first: nothing is written, or made up, for a checkpoint that does not fit.
  std::vector<const CheckpointTensor*> found;
  for (const LoadTarget& target : targets) {
    const CheckpointTensor* tensor = nullptr;
    for (const std::string& name : candidate_names(target.name, options.base_prefix)) {
      tensor = checkpoint.find(name);
      if (tensor) break;
    }
    if (!tensor) {
      report.missing.push_back(target.name);
    } else {
      used[tensor->name] = true;
      if (!(tensor->shape == target.shape)) {
        report.mismatched.push_back(target.name + ": checkpoint " + tensor->shape.to_string() + ", model " +
                                    target.shape.to_string());
        tensor = nullptr;
      }
    }
    found.push_back(tensor);
  }
  if (used.empty())
    throw ConfigError(directory + ": the checkpoint holds none of the model's " +
                      std::to_string(targets.size()) + " parameters" +
                      (targets.empty() ? std::string() : ", not even " + targets.front().name));
  if (!report.mismatched.empty() && !options.ignore_mismatched_sizes) {
    std::string list;
    for (const std::string& line : report.mismatched) list += "\n  " + line;
    throw ConfigError(directory +
                      ": shapes differ (set ignore_mismatched_sizes to begin these anew):" + list);
  }
  std::vector<std::optional<BlockType>> kept;
  for (std::size_t i = 0; i < targets.size(); ++i)
    kept.push_back(kept_blocks(targets[i], checkpoint, found[i]));
  if (options.quantized &&
      std::none_of(kept.begin(), kept.end(), [](const auto& type) { return type.has_value(); }))
    throw ConfigError(
        directory +
        ": quantized: there is no frozen linear layer that a GGUF file holds in Q8_0, Q4_0 or Q4_1");
  std::vector<float> values;
  std::vector<double> wide;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const LoadTarget& target = targets[i];
    const auto count = static_cast<std::size_t>(target.shape.size());
    if (!found[i]) {
      fill_anew(target, options.initializer_range, options.seed);
    } else if (kept[i]) {
      target.assign_blocks(*kept[i], checkpoint.read_quantized(*found[i])->blocks.bytes);
    } else if (target.assign) {
      const TensorBytes elements = checkpoint.read(*found[i]);
      if (const auto floats = as_floats(*found[i], elements); !floats.empty()) {
        target.assign(floats);
        continue;
      }
      values.resize(count);
      checkpoint.copy_as<float>(*found[i], values);
      target.assign(values);
    } else {
      wide.resize(count);
      checkpoint.copy_as<double>(*found[i], wide);
      target.assign_double(wide);
    }
  }
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    const bool buffer = tensor.dtype && !is_floating(*tensor.dtype);
    const auto ignored = [&](const std::string& pattern) { return matches(pattern, tensor.name); };
    if (!used.contains(tensor.name) && !buffer &&
        std::none_of(options.ignored_keys.begin(), options.ignored_keys.end(), ignored))
      report.unexpected.push_back(tensor.name);
  }
  if (!report.complete()) log(LogLevel::info, directory + ": " + report.to_string());
  return report;
}

ATTUNE_INLINE void transpose_elements(std::byte* values, std::int64_t rows, std::int64_t cols,
                                      std::size_t element_size) {
  const std::vector<std::byte> from(values, values + static_cast<std::size_t>(rows * cols) * element_size);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      std::memcpy(values + static_cast<std::size_t>(c * rows + r) * element_size,
                  from.data() + static_cast<std::size_t>(r * cols + c) * element_size, element_size);
}

ATTUNE_INLINE void save_sources(const std::vector<SaveSource>& sources, const std::string& path) {
  std::vector<SafetensorsTensor> tensors;
  for (const SaveSource& source : sources) tensors.push_back({source.name, source.dtype, source.shape, {}});
  std::vector<std::byte> buffer;
  save_safetensors(path, tensors, [&](std::size_t i) -> std::span<const std::byte> {
    buffer.resize(static_cast<std::size_t>(sources[i].shape.size()) * size_of(sources[i].dtype));
    sources[i].read(buffer.data());
    return buffer;
  });
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::string LoadReport::to_string() const {
  std::string text;
  const auto add = [&](const char* title, const std::vector<std::string>& names) {
    if (names.empty()) return;
    if (!text.empty()) text += "; ";
    text += title;
    for (std::size_t i = 0; i < names.size(); ++i) text += (i == 0 ? " " : ", ") + names[i];
  };
  add("begun anew:", missing);
  add("not used:", unexpected);
  add("of another shape, begun anew:", mismatched);
  return text;
}

}  // namespace attune
