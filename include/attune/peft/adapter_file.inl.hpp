#pragma once

#include <cstddef>
#include <set>
#include <string>

#include <attune/core/error.hpp>
#include <attune/formats/elements.hpp>
#include <attune/formats/safetensors.hpp>
#include <attune/peft/adapter_file.hpp>

namespace attune::detail {

ATTUNE_INLINE void load_adapter_file(const std::vector<LoadTarget>& targets, const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::set<std::string> wanted;
  for (const LoadTarget& target : targets) {
    const SafetensorsEntry* const entry = file.find(target.name);
    if (!entry) throw ConfigError(path + ": there is no tensor " + target.name);
    if (!(entry->shape == target.shape))
      throw ConfigError(path + ": " + target.name + ": expected " + target.shape.to_string() + ", found " +
                        entry->shape.to_string());
    if (!entry->dtype || !is_floating(*entry->dtype))
      throw ConfigError(path + ": " + target.name + ": expected floating-point numbers, found " +
                        std::string(entry->dtype_name));
    wanted.insert(target.name);
  }
  for (const SafetensorsEntry& entry : file.entries())
    if (!wanted.contains(entry.name)) throw ConfigError(path + ": the model has no place for " + entry.name);
  for (const LoadTarget& target : targets) {
    const SafetensorsEntry& entry = *file.find(target.name);
    const auto count = static_cast<std::size_t>(target.shape.size());
    if (target.assign) {
      std::vector<float> values(count);
      convert_elements<float>(*entry.dtype, file.bytes(entry), values, target.name);
      target.assign(values);
    } else {
      std::vector<double> values(count);
      convert_elements<double>(*entry.dtype, file.bytes(entry), values, target.name);
      target.assign_double(values);
    }
  }
}

}  // namespace attune::detail
