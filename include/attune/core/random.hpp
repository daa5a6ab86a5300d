#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace attune {

/// Philox4x32-10, a counter-based generator: the same counter and key give the same four words on every
/// backend. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
struct Philox {
  using Counter = std::array<std::uint32_t, 4>;
  using Key = std::array<std::uint32_t, 2>;

  static constexpr std::uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  static constexpr std::uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
  static constexpr int rounds = 10;

  static constexpr Counter generate(Counter counter, Key key) {
    for (int round = 0; round < rounds; ++round) {
      const std::uint64_t product0 = std::uint64_t{multiplier0} * counter[0];
      const std::uint64_t product1 = std::uint64_t{multiplier1} * counter[2];
      counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
                 static_cast<std::uint32_t>(product1),
                 static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
                 static_cast<std::uint32_t>(product0)};
      key[0] += weyl0;
      key[1] += weyl1;
    }
    return counter;
  }

  /// Spreads a seed and a stream number over a key (SplitMix64's finaliser).
  static constexpr Key key(std::uint64_t seed, std::uint64_t stream) {
    std::uint64_t mixed = seed + 0x9E3779B97F4A7C15ull * (stream + 1);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBull;
    mixed ^= mixed >> 31;
    return {static_cast<std::uint32_t>(mixed), static_cast<std::uint32_t>(mixed >> 32)};
  }
};

/// A sequence of random numbers from one Philox key, for shuffles and initialisation on the host.
/// The same seed and stream give the same numbers on every platform (unlike <random>'s distributions).
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t seed, std::uint64_t stream = 0) : key_(Philox::key(seed, stream)) {}

  std::uint32_t next() {
    if (used_ == 4) {
      words_ = Philox::generate(
          {static_cast<std::uint32_t>(block_), static_cast<std::uint32_t>(block_ >> 32), 0, 0}, key_);
      ++block_;
      used_ = 0;
    }
    return words_[used_++];
  }
  /// Uniform in [0, bound), without bias. `bound` > 0.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t limit = bound * (~std::uint64_t{0} / bound);
    std::uint64_t value;
    do value = (std::uint64_t{next()} << 32) | next();
    while (value >= limit);
    return value % bound;
  }
  /// Uniform in [0, 1) with 24 bits.
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }
  /// Standard normal (Box-Muller; the second value of a pair is dropped to keep the stream position simple).
  float normal() {
    const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(next()) + 0.5) * 0x1p-32));
    return static_cast<float>(radius *
                              std::cos(2.0 * std::numbers::pi * static_cast<double>(next()) * 0x1p-32));
  }

 private:
  Philox::Key key_;
  std::uint64_t block_ = 0;
  Philox::Counter words_{};
  unsigned used_ = 4;
};

}  // namespace attune
