#pragma once

#include <attune/core/batch.hpp>
#include <attune/formats/checkpoint.hpp>
#include <attune/formats/json.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace golden {

inline std::string root() { return std::string(ATTUNE_SOURCE_DIR) + "/tests/golden"; }
inline std::string case_path(const std::string& name) { return root() + "/cases/" + name; }
inline std::string variant_path(const std::string& name) { return root() + "/variants/" + name; }

/// The directories below cases/ or variants/.
inline std::vector<std::string> names(const std::string& folder) {
  std::vector<std::string> result;
  for (const auto& entry : std::filesystem::directory_iterator(root() + "/" + folder))
    if (entry.is_directory()) result.push_back(entry.path().filename().string());
  std::sort(result.begin(), result.end());
  return result;
}

/// expected.safetensors and expected.json of one directory.
class Expected {
 public:
  explicit Expected(const std::string& path)
      : path_(path),
        file_(attune::SafetensorsFile::open(path + "/expected.safetensors")),
        json(attune::read_json(path + "/expected.json")) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  attune::Shape shape(const std::string& name) const { return entry(name).shape; }
  std::vector<double> numbers(const std::string& name) const {
    const auto& found = entry(name);
    std::vector<double> values(static_cast<std::size_t>(found.shape.size()));
    attune::convert_elements<double>(*found.dtype, file_.bytes(found), values, name);
    return values;
  }
  std::vector<float> floats(const std::string& name) const {
    const auto values = numbers(name);
    return {values.begin(), values.end()};
  }
  std::vector<std::int32_t> integers(const std::string& name) const {
    const auto& found = entry(name);
    const auto bytes = file_.bytes(found);
    std::vector<std::int64_t> values(static_cast<std::size_t>(found.shape.size()));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return {values.begin(), values.end()};
  }
  bool is_integer(const std::string& name) const { return entry(name).dtype == attune::DType::i64; }

  /// The inputs of `prefix` ("input." or "input.pair.") packed; labels as the head wants them.
  attune::Batch batch(const std::string& prefix = "input.") const {
    const attune::Shape padded = shape(prefix + "input_ids");
    const auto mask = integers(prefix + "attention_mask");
    const auto types =
        has(prefix + "token_type_ids") ? integers(prefix + "token_type_ids") : std::vector<std::int32_t>();
    attune::Batch batch = attune::Batch::from_padded(padded[0], integers(prefix + "input_ids"), mask, types);
    if (has(prefix + "position_ids")) {
      const auto positions = integers(prefix + "position_ids");
      attune::Segments segments;
      for (std::int64_t b = 0; b < padded[0]; ++b) {
        std::vector<std::int32_t> kept;
        for (std::int64_t l = 0; l < padded[1]; ++l)
          if (mask[static_cast<std::size_t>(b * padded[1] + l)])
            kept.push_back(positions[static_cast<std::size_t>(b * padded[1] + l)]);
        segments.append(kept);
      }
      batch.segments = segments;
    }
    if (!has("input.labels")) return batch;
    if (!is_integer("input.labels")) {
      batch.targets = floats("input.labels");
    } else if (shape("input.labels").rank() == 1) {
      batch.labels = integers("input.labels");
    } else {
      batch.labels = pack(integers("input.labels"), prefix);
    }
    return batch;
  }

  /// Rows [B, L, ...] with mask 1, of values laid out row-major.
  template <class V>
  std::vector<V> pack(const std::vector<V>& padded, const std::string& prefix = "input.") const {
    const auto mask = integers(prefix + "attention_mask");
    const std::size_t features = padded.size() / mask.size();
    std::vector<V> packed;
    for (std::size_t row = 0; row < mask.size(); ++row)
      if (mask[row])
        packed.insert(packed.end(), padded.begin() + static_cast<std::ptrdiff_t>(row * features),
                      padded.begin() + static_cast<std::ptrdiff_t>((row + 1) * features));
    return packed;
  }

 private:
  const attune::SafetensorsEntry& entry(const std::string& name) const {
    const auto* found = file_.find(name);
    if (!found) throw attune::ConfigError(path_ + ": no tensor " + name);
    return *found;
  }

  std::string path_;
  attune::SafetensorsFile file_;

 public:
  nlohmann::json json;
};

inline double rms(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return values.empty() ? 0.0 : std::sqrt(sum / static_cast<double>(values.size()));
}

template <class V>
std::vector<double> difference(const std::vector<V>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) throw attune::ShapeError("golden: sizes differ");
  std::vector<double> result(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) result[i] = static_cast<double>(found[i]) - expected[i];
  return result;
}

template <class V>
double largest_difference(const std::vector<V>& found, const std::vector<double>& expected) {
  double largest = 0;
  for (const double value : difference(found, expected)) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace golden
