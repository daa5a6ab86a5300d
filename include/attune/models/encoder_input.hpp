#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/nn/post_norm_layer.hpp>

namespace attune {

/// A batch on the device, as an encoder reads it.
template <class B>
struct EncoderInput {
  RowIndex<B> ids, positions, token_types;
  EncoderPass<B> pass;
};

/// Checks a batch and uploads it. `pick_first` also prepares the first row of each sequence for a pooled
/// head. Throws ShapeError for a batch whose arrays disagree, an empty one, or a sequence without tokens.
template <class B>
EncoderInput<B> make_encoder_input(const B& device, const Batch& batch, const PassRandom& random,
                                   bool pick_first, std::int64_t pad_token_id) {
  const auto tokens = static_cast<std::size_t>(batch.tokens());
  if (batch.input_ids.size() != tokens ||
      (!batch.token_type_ids.empty() && batch.token_type_ids.size() != tokens))
    throw ShapeError("batch: segments name " + std::to_string(tokens) + " tokens, found " +
                     std::to_string(batch.input_ids.size()) + " input_ids and " +
                     std::to_string(batch.token_type_ids.size()) + " token_type_ids");
  if (tokens == 0) throw ShapeError("batch: no tokens");
  EncoderInput<B> input;
  const Segments& segments = batch.segments;
  for (std::int64_t b = 0; b < segments.count(); ++b)
    if (segments.length(b) == 0) throw ShapeError("batch: sequence " + std::to_string(b) + " has no tokens");
  input.ids = RowIndex<B>(device, batch.input_ids, pad_token_id);
  input.positions = RowIndex<B>(device, segments.positions());
  input.token_types = RowIndex<B>(
      device, batch.token_type_ids.empty() ? std::vector<std::int32_t>(tokens, 0) : batch.token_type_ids);
  input.pass.segments = DeviceSegments<B>(device, segments);
  input.pass.random = random;
  input.pass.keys = token_keys(device, segments, random.first_sample);
  if (!pick_first) return input;

  Segments firsts;
  std::vector<std::int32_t> rows;
  for (std::int64_t b = 0; b < segments.count(); ++b) {
    rows.push_back(segments.offsets()[static_cast<std::size_t>(b)]);
    firsts.append(segments.positions().subspan(static_cast<std::size_t>(rows.back()), 1));
  }
  input.pass.picked = RowIndex<B>(device, rows);
  input.pass.picked_segments = DeviceSegments<B>(device, firsts);
  input.pass.picked_keys = token_keys(device, firsts, random.first_sample);
  return input;
}

}  // namespace attune
