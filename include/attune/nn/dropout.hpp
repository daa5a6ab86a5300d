#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/random.hpp>
#include <attune/core/segments.hpp>
#include <attune/ops/dropout.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

/// What identifies each row of an activation for dropout: the number of its sample in the optimizer step, and
/// its token's position. Rows that are picked out of a batch keep theirs, so they draw the same masks.
template <class B>
struct RowKeys {
  Detached<std::int32_t, B> samples{}, positions{};
};

/// The random numbers of one forward pass in training: a key from seed and step, and the number of the first
/// sample. Recomputation and packing draw the same masks because everything else is in the row keys.
struct PassRandom {
  Philox::Key key{};
  std::uint32_t first_sample = 0;

  /// Takes the next `samples` of the current optimizer step.
  static PassRandom draw(RunState& run, std::int64_t samples) {
    const PassRandom pass{Philox::key(run.seed, run.step), run.samples};
    run.samples += static_cast<std::uint32_t>(samples);
    return pass;
  }
};

/// Keys of all rows of a packed batch.
template <class B>
RowKeys<B> token_keys(const B& device, const Segments& segments, std::uint32_t first_sample) {
  std::vector<std::int32_t> samples;
  samples.reserve(static_cast<std::size_t>(segments.tokens()));
  for (std::int64_t b = 0; b < segments.count(); ++b)
    samples.insert(samples.end(), static_cast<std::size_t>(segments.length(b)),
                   static_cast<std::int32_t>(first_sample + static_cast<std::uint32_t>(b)));
  const Shape shape{segments.tokens()};
  return {Detached<std::int32_t, B>::from_values(device, shape, samples),
          Detached<std::int32_t, B>::from_values(device, shape, segments.positions())};
}

/// A place where activations are dropped in training.
struct Dropout {
  float probability = 0.0f;
  std::uint32_t site = 0;  ///< its number in the model
  bool training = true;

  /// The mask for rows with the given keys; inactive in eval() and for probability 0.
  template <class B>
  DropoutMask<B> mask(const PassRandom& random, const RowKeys<B>& keys) const {
    if (!training || probability <= 0.0f) return {};
    return {{probability, random.key, site, keys.samples.data(), keys.positions.data()},
            keys.samples,
            keys.positions};
  }
};

/// Reads a probability from a config. Throws ConfigError unless it lies in [0, 1).
inline Dropout make_dropout(double probability, const std::string& field) {
  if (!(probability >= 0.0 && probability < 1.0))
    throw ConfigError(field + ": a dropout probability must lie in [0, 1), found " +
                      std::to_string(probability));
  return {static_cast<float>(probability), 0, true};
}

}  // namespace attune
