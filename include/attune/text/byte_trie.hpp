#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace attune::detail {

/// A map from byte strings to numbers that finds the longest key which a text begins with.
///
/// Edges live in one open-addressed table of (node, byte) -> node, so that building takes time linear in the
/// keys, whatever they are, and a step is one probe.
class ByteTrie {
 public:
  /// The most bytes that all keys together may have.
  static constexpr std::int64_t max_bytes = (1 << 24) - 256;
  struct Match {
    std::size_t length = 0;   ///< 0: no key found
    std::int32_t value = -1;  ///< the key's number
  };

  /// Adds a further tree. The first is there from the start and has the number 0.
  std::uint32_t add_root() { return add_node(); }

  /// Maps a key (not empty) to a number >= 0; a later insertion of the same key wins.
  void insert(std::string_view key, std::int32_t value, std::uint32_t root = 0) {
    std::uint32_t node = root;
    std::size_t slot = 0;
    for (const char letter : key) {
      if (4 * (values_.size() + 1) > 3 * slots_.size()) grow();
      const std::uint32_t edge = node << 8 | static_cast<unsigned char>(letter);
      slot = first_slot(edge);
      while (slots_[slot] != 0 && slots_[slot] >> 32 != edge) slot = (slot + 1) & (slots_.size() - 1);
      if (slots_[slot] == 0) slots_[slot] = std::uint64_t{edge} << 32 | add_node();
      node = static_cast<std::uint32_t>(slots_[slot]) & ~key_ends;
    }
    slots_[slot] |= key_ends;
    values_[node] = value;
  }

  Match longest_prefix(std::string_view text, std::uint32_t root = 0) const {
    std::uint32_t node = root, last = 0;
    std::size_t length = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::uint32_t child = step(node, text[at++]);
      if (child == 0) break;
      node = child & ~key_ends;
      if (child != node) {
        last = node;
        length = at;
      }
    }
    return {length, values_[last]};
  }

  /// Calls on_key(length, number) for every key that the text begins with, the shortest first.
  template <class OnKey>
  void for_each_prefix(std::string_view text, const OnKey& on_key, std::uint32_t root = 0) const {
    std::uint32_t node = root;
    for (std::size_t at = 0; at < text.size();) {
      const std::uint32_t child = step(node, text[at++]);
      if (child == 0) break;
      node = child & ~key_ends;
      if (child != node) on_key(at, values_[node]);
    }
  }

  /// The number of exactly this key, or -1.
  std::int32_t find(std::string_view key, std::uint32_t root = 0) const {
    if (key.empty()) return -1;
    std::uint32_t node = root;
    for (const char letter : key)
      if ((node = step(node, letter) & ~key_ends) == 0) return -1;
    return values_[node];
  }

 private:
  std::uint32_t add_node() {
    values_.push_back(-1);
    return static_cast<std::uint32_t>(values_.size() - 1);
  }
  std::size_t first_slot(std::uint32_t edge) const {
    return static_cast<std::size_t>((edge * 0x9E3779B97F4A7C15ull) >> shift_);
  }
  /// The child, with key_ends set where a key ends; 0 when there is none (no edge leads to the first root).
  std::uint32_t step(std::uint32_t node, char letter) const {
    const std::uint32_t edge = node << 8 | static_cast<unsigned char>(letter);
    for (std::size_t slot = first_slot(edge);; slot = (slot + 1) & (slots_.size() - 1)) {
      const std::uint64_t entry = slots_[slot];
      if (entry == 0) return 0;
      if (entry >> 32 == edge) return static_cast<std::uint32_t>(entry);
    }
  }
  void grow() {
    std::vector<std::uint64_t> old(2 * slots_.size());
    old.swap(slots_);
    --shift_;
    for (const std::uint64_t entry : old) {
      if (entry == 0) continue;
      std::size_t slot = first_slot(static_cast<std::uint32_t>(entry >> 32));
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = entry;
    }
  }

  static constexpr std::uint32_t key_ends =
      1u << 31;  // in a slot: saves the walk a look at values_ in every step

  std::vector<std::int32_t> values_{-1};  // by node; -1: no key ends here
  std::vector<std::uint64_t> slots_ =
      std::vector<std::uint64_t>(16);  // edge << 32 | key_ends? | child; 0: free
  int shift_ = 60;
};

}  // namespace attune::detail
