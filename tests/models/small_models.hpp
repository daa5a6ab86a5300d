#pragma once

#include <unistd.h>
#include <attune/core/batch.hpp>
#include <attune/core/random.hpp>
#include <attune/models/bert.hpp>
#include <attune/models/distilbert.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace attune::testing {

/// A directory that vanishes with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "attune_models_XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw IoError(pattern, "cannot be made");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Three layers of 32 features; every dropout is `dropout`.
inline BertConfig small_config(double dropout = 0.0, std::int64_t num_labels = 3) {
  BertConfig config;
  config.vocab_size = 50;
  config.hidden_size = 32;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.intermediate_size = 48;
  config.max_position_embeddings = 40;
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
  config.initializer_range = 0.2;  // so that layers matter
  config.labels.num_labels = num_labels;
  return config;
}

/// Sequences of the given lengths with random ids (0, the padding id, among them), types and class numbers.
inline Batch random_batch(const std::vector<std::int32_t>& lengths, std::uint64_t seed = 1,
                          std::int32_t classes = 3) {
  RandomStream random(seed);
  Batch batch;
  batch.segments = Segments::from_lengths(lengths);
  for (std::int64_t i = 0; i < batch.tokens(); ++i) {
    batch.input_ids.push_back(static_cast<std::int32_t>(random.below(50)));
    batch.token_type_ids.push_back(static_cast<std::int32_t>(random.below(2)));
  }
  for (std::size_t i = 0; i < lengths.size(); ++i)
    batch.labels.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(classes))));
  return batch;
}

/// Sequences begin .. end of a batch with a label each.
inline Batch part_of(const Batch& batch, std::int64_t begin, std::int64_t end) {
  Batch part;
  const auto offsets = batch.segments.offsets();
  const auto first = offsets[static_cast<std::size_t>(begin)], last = offsets[static_cast<std::size_t>(end)];
  part.input_ids.assign(batch.input_ids.begin() + first, batch.input_ids.begin() + last);
  part.token_type_ids.assign(batch.token_type_ids.begin() + first, batch.token_type_ids.begin() + last);
  part.labels.assign(batch.labels.begin() + begin, batch.labels.begin() + end);
  for (std::int64_t b = begin; b < end; ++b)
    part.segments.append(
        batch.segments.positions().subspan(static_cast<std::size_t>(offsets[static_cast<std::size_t>(b)]),
                                           static_cast<std::size_t>(batch.segments.length(b))));
  return part;
}

}  // namespace attune::testing
