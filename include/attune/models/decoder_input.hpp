#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/nn/decoder_pass.hpp>
#include <attune/nn/rotary.hpp>

namespace attune {

/// A batch on the device, as a decoder reads it.
template <class T, class B>
struct DecoderInput {
  RowIndex<B> ids, positions;
  DecoderPass<T, B> pass;
};

/// Which rows predict a labelled token, and its label: row i predicts the token after it in its sequence.
struct CausalTargets {
  std::vector<std::int32_t> rows, labels;
};
inline CausalTargets causal_targets(const Batch& batch, std::int32_t ignored) {
  if (static_cast<std::int64_t>(batch.labels.size()) != batch.tokens())
    throw ShapeError("causal language model: a label for each of " + std::to_string(batch.tokens()) +
                     " tokens is needed, found " + std::to_string(batch.labels.size()));
  CausalTargets targets;
  const auto offsets = batch.segments.offsets();
  for (std::size_t b = 0; b + 1 < offsets.size(); ++b)
    for (std::int32_t i = offsets[b] + 1; i < offsets[b + 1]; ++i) {
      const std::int32_t label = batch.labels[static_cast<std::size_t>(i)];
      if (label == ignored) continue;
      targets.rows.push_back(i - 1);
      targets.labels.push_back(label);
    }
  return targets;
}

/// The row of each sequence's last token. Throws ShapeError for a sequence without tokens.
inline std::vector<std::int32_t> last_rows(const Segments& segments) {
  std::vector<std::int32_t> rows;
  for (std::int64_t b = 0; b < segments.count(); ++b) {
    if (segments.length(b) == 0) throw ShapeError("batch: sequence " + std::to_string(b) + " has no tokens");
    rows.push_back(segments.offsets()[static_cast<std::size_t>(b) + 1] - 1);
  }
  return rows;
}

namespace detail {

template <class T, class B>
Detached<T, B> upload_frequencies(const B& device, const std::vector<double>& frequencies) {
  const std::vector<T> values(frequencies.begin(), frequencies.end());
  return Detached<T, B>::from_values(device, {static_cast<std::int64_t>(values.size())}, values);
}

/// The rotary frequencies that a config asks for; none when it has no "rope".
template <class T, class B, class Config>
Detached<Wide<T>, B> config_frequencies(const B& device, const Config& config,
                                        std::span<const std::int32_t> positions) {
  if constexpr (requires { config.rope; }) {
    std::int64_t length = 0;
    for (const std::int32_t position : positions) length = std::max<std::int64_t>(length, position + 1);
    return upload_frequencies<Wide<T>>(device, rope_frequencies(config.rope, config.head_dim, length));
  } else {
    return {};
  }
}

template <class T, class B, class Config>
DecoderInput<T, B> decoder_input(const B& device, const Config& config, std::span<const std::int32_t> ids,
                                 const Segments& segments) {
  DecoderInput<T, B> input;
  input.ids = RowIndex<B>(device, ids, config.padding_row());
  input.positions = RowIndex<B>(device, segments.positions());
  input.pass.segments = DeviceSegments<B>(device, segments);
  input.pass.frequencies = config_frequencies<T>(device, config, segments.positions());
  return input;
}

}  // namespace detail

/// Checks a batch and uploads it. `rows` are those that are read at the end; null: all. Throws ShapeError for
/// a batch whose arrays disagree or an empty one.
template <class T, class B, class Config>
DecoderInput<T, B> make_decoder_input(const B& device, const Config& config, const Batch& batch,
                                      bool training, const PassRandom& random,
                                      const std::vector<std::int32_t>* rows) {
  if (static_cast<std::int64_t>(batch.input_ids.size()) != batch.tokens())
    throw ShapeError("batch: segments name " + std::to_string(batch.tokens()) + " tokens, found " +
                     std::to_string(batch.input_ids.size()) + " input_ids");
  if (batch.input_ids.empty()) throw ShapeError("batch: no tokens");
  DecoderInput<T, B> input = detail::decoder_input<T>(device, config, batch.input_ids, batch.segments);
  DecoderPass<T, B>& pass = input.pass;
  pass.random = random;
  if (training) pass.keys = token_keys(device, batch.segments, random.first_sample);
  if (!rows) return input;
  pass.picks = true;
  pass.picked = RowIndex<B>(device, *rows);
  if (!training) return input;
  std::vector<std::int32_t> samples, positions;
  const auto offsets = batch.segments.offsets();
  for (const std::int32_t row : *rows) {
    const auto after = std::upper_bound(offsets.begin(), offsets.end(), row);
    samples.push_back(static_cast<std::int32_t>(random.first_sample) +
                      static_cast<std::int32_t>(after - offsets.begin()) - 1);
    positions.push_back(batch.segments.positions()[static_cast<std::size_t>(row)]);
  }
  const Shape shape{static_cast<std::int64_t>(rows->size())};
  pass.picked_keys = {Detached<std::int32_t, B>::from_values(device, shape, samples),
                      Detached<std::int32_t, B>::from_values(device, shape, positions)};
  return input;
}

/// The same for the next tokens of the sequences in a cache; the last row of each that has any is read.
template <class T, class B, class Config>
DecoderInput<T, B> make_cached_input(const B& device, const Config& config,
                                     const std::vector<std::vector<std::int32_t>>& tokens,
                                     KvCache<T, B>& cache) {
  std::vector<std::int32_t> ids, counts, rows;
  for (const auto& own : tokens) {
    counts.push_back(static_cast<std::int32_t>(own.size()));
    ids.insert(ids.end(), own.begin(), own.end());
    if (!own.empty()) rows.push_back(static_cast<std::int32_t>(ids.size()) - 1);
  }
  if (ids.empty()) throw ShapeError("next_logits: no tokens");
  DecoderInput<T, B> input = detail::decoder_input<T>(device, config, ids, cache.begin(counts));
  input.pass.cache = &cache;
  input.pass.picks = true;
  input.pass.picked = RowIndex<B>(device, rows);
  return input;
}

}  // namespace attune
