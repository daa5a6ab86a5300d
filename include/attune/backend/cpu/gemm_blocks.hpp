#pragma once

#include <algorithm>
#include <cstdint>

#include <unistd.h>

#include <attune/backend/cpu/kernel_table.hpp>
#include <attune/backend/cpu/scratch.hpp>
#include <attune/backend/view.hpp>

// How matrix products are cut: k in blocks, rows and columns in panels, panels in tasks.

namespace attune::cpu {

/// Bytes of the second-level cache of a core; 512 KiB where the system does not say.
inline std::int64_t second_level_cache() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const std::int64_t bytes = [] {
    const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return found > 0 ? static_cast<std::int64_t>(found) : std::int64_t{512 << 10};
  }();
  return bytes;
#else
  return 512 << 10;
#endif
}

/// Most steps in a block of k: a panel of each operand then fits the first two cache levels. Fixed, because
/// the order of summation and so the last bits depend on it.
inline constexpr std::int64_t block_steps = 384;

/// K in blocks of equal length (the last may be shorter), a multiple of two so that pairs stay together.
struct KBlocks {
  KBlocks(std::int64_t k, int group)
      : k(k),
        group(group),
        count(std::max<std::int64_t>(1, (k + block_steps * group - 1) / (block_steps * group))) {
    length = ((k + count - 1) / count + 1) / 2 * 2;
    if (k > 0) count = (k + length - 1) / length;
  }
  std::int64_t begin(std::int64_t block) const { return block * length; }
  std::int64_t size(std::int64_t block) const { return std::min(length, k - block * length); }
  std::int64_t steps(std::int64_t block) const { return (size(block) + group - 1) / group; }
  std::int64_t first_step(std::int64_t block) const { return begin(block) / group; }
  std::int64_t all_steps() const { return (k + group - 1) / group; }

  std::int64_t k;
  int group;
  std::int64_t count;
  std::int64_t length = 0;
};

/// An extent in panels of at most `most`. Rows are cut evenly, so that no panel is nearly empty; columns are
/// cut in full panels, the last one padded with zeros.
struct Panels {
  static Panels even(std::int64_t extent, int most) {
    const std::int64_t count = (extent + most - 1) / most;
    return {extent, extent, count, count == 0 ? 0 : extent / count, count == 0 ? 0 : extent % count};
  }
  static Panels padded(std::int64_t extent, int width) {
    const std::int64_t count = (extent + width - 1) / width;
    return {extent, count * width, count, width, 0};
  }
  std::int64_t start(std::int64_t panel) const { return panel * base + std::min(panel, longer); }
  int width(std::int64_t panel) const { return static_cast<int>(base + (panel < longer ? 1 : 0)); }
  /// Rows or columns of the matrix that the panel holds.
  int filled(std::int64_t panel) const {
    return static_cast<int>(std::min<std::int64_t>(width(panel), extent - start(panel)));
  }

  std::int64_t extent;
  std::int64_t stored;  ///< words of one step of all panels
  std::int64_t count;
  std::int64_t base;  ///< width of the panels after the first `longer`, which are one wider
  std::int64_t longer;
};

/// A range of panels.
struct PanelRange {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t size() const { return end - begin; }
};

/// The words that a range of panels takes for each step.
inline std::int64_t words_per_step(const Panels& panels, PanelRange range) {
  return panels.start(range.end) - panels.start(range.begin);
}

/// An operand seen from its panels: element (i, k) is data[i * stride + k] (`along_k`) or data[k * stride +
/// i]; or the same of a matrix in quantised blocks, without data.
template <class T>
struct PanelSource {
  const T* data;
  std::int64_t stride;
  bool along_k;
  BlockView blocks{};

  const T* at(std::int64_t i, std::int64_t k) const {
    return data + (along_k ? i * stride + k : k * stride + i);
  }
};

/// Where a range of panels lies once packed: block after block of k, in each the panels one after another.
struct PackedPanels {
  float* data;
  PanelRange range;

  float* at(const Panels& panels, const KBlocks& blocks, std::int64_t panel, std::int64_t block) const {
    return data + blocks.first_step(block) * words_per_step(panels, range) +
           (panels.start(panel) - panels.start(range.begin)) * blocks.steps(block);
  }
};

/// Room for `count` elements of a row of blocks with the rest of the blocks that they begin and end in.
inline std::int64_t block_columns(std::int64_t count) {
  return (count + 2 * block_elements - 2) / block_elements * block_elements;
}
/// Elements of a row from column `col` on, as T: they begin at to[col % 32].
template <class T>
void dequantize_row(const GemmKernels<T>& kernels, const BlockView& matrix, std::int64_t row,
                    std::int64_t col, std::int64_t count, T* to) {
  const std::int64_t covered = col % block_elements + count;
  kernels.dequantize(matrix.type, matrix.block(row, col), (covered + block_elements - 1) / block_elements,
                     to);
}

/// A source whose rows run across the panels is packed a few steps at a time over all panels, so that each
/// cache line and page is visited once.
inline constexpr std::int64_t slab_steps = 16;

/// pack_panels() of a matrix in quantised blocks, of which a few rows at a time exist as T.
template <class T>
void pack_block_panels(const GemmKernels<T>& kernels, const PanelSource<T>& source, const Panels& panels,
                       const KBlocks& blocks, const PackedPanels& to, std::int64_t begin, std::int64_t end) {
  const std::int64_t first = panels.start(begin), last = std::min(panels.start(end), panels.extent);
  const std::int64_t slab = source.along_k ? 128 : slab_steps * blocks.group;
  const std::int64_t stride = block_columns(source.along_k ? slab : last - first);
  Scratch scratch;
  T* const buffer = scratch.take<T>(stride * (source.along_k ? panels.base + 1 : slab));
  for (std::int64_t block = 0; block < blocks.count; ++block) {
    const std::int64_t size = blocks.size(block);
    for (std::int64_t k = 0; k < size; k += slab) {
      const std::int64_t count = std::min(slab, size - k), at = blocks.begin(block) + k;
      if (!source.along_k)
        for (std::int64_t row = 0; row < count; ++row)
          dequantize_row(kernels, source.blocks, at + row, first, last - first, buffer + row * stride);
      for (std::int64_t panel = begin; panel < end; ++panel) {
        const std::int64_t start = panels.start(panel);
        if (source.along_k)
          for (std::int64_t i = 0; i < panels.filled(panel); ++i)
            dequantize_row(kernels, source.blocks, start + i, at, count, buffer + i * stride);
        const std::int64_t offset =
            source.along_k ? at % block_elements : first % block_elements + start - first;
        kernels.pack(buffer + offset, stride, source.along_k, panels.width(panel), panels.filled(panel),
                     count, to.at(panels, blocks, panel, block) + k / blocks.group * panels.width(panel));
      }
    }
  }
}

/// Packs panels begin .. end of `to`.
template <class T>
void pack_panels(const GemmKernels<T>& kernels, const PanelSource<T>& source, const Panels& panels,
                 const KBlocks& blocks, const PackedPanels& to, std::int64_t begin, std::int64_t end) {
  if (source.blocks) return pack_block_panels(kernels, source, panels, blocks, to, begin, end);
  for (std::int64_t block = 0; block < blocks.count; ++block) {
    const std::int64_t size = blocks.size(block);
    const std::int64_t slab = source.along_k ? std::max<std::int64_t>(1, size) : slab_steps * blocks.group;
    for (std::int64_t k = 0; k < size; k += slab)
      for (std::int64_t panel = begin; panel < end; ++panel)
        kernels.pack(source.at(panels.start(panel), blocks.begin(block) + k), source.stride, source.along_k,
                     panels.width(panel), panels.filled(panel), std::min(slab, size - k),
                     to.at(panels, blocks, panel, block) + k / blocks.group * panels.width(panel));
  }
}

}  // namespace attune::cpu
