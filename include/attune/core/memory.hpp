#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include <attune/core/inline.hpp>

namespace attune {

/// What an allocator holds, in bytes.
struct MemoryStats {
  std::size_t current = 0;             ///< asked for and not yet given back
  std::size_t peak = 0;                ///< the largest `current` since the last reset_peak()
  std::size_t cached = 0;              ///< free blocks that are kept for the next request
  std::size_t reserved = 0;            ///< taken from the system: cached blocks and those in use, rounded up
  std::size_t system_allocations = 0;  ///< how often the system was asked, ever
};

/// Host memory in blocks that are kept after use: a training step asks for the same sizes again and again.
///
/// Sizes are rounded up to classes at most 1/8 apart; blocks of 2 MiB and more are multiples of 2 MiB,
/// aligned to 2 MiB and offered to the kernel as huge pages; those of 64 KiB and more are cut from slabs of
/// such pages; smaller ones come one by one. All are aligned to 64 bytes. A request takes the smallest free
/// block that is not more than a quarter too large. Thread-safe.
class CachingAllocator {
 public:
  CachingAllocator() = default;
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;
  ~CachingAllocator();

  /// Throws DeviceError, naming the bytes asked for and the bytes in use, when the system has no more. A
  /// request for 0 bytes gets a block as well.
  /// `is_zero`, when given, is told whether the block comes fresh from the system and is all zero therefore.
  void* allocate(std::size_t bytes, bool* is_zero = nullptr);
  /// `bytes` as in allocate(); a null block is passed over.
  void deallocate(void* block, std::size_t bytes) noexcept;

  /// Advises the system to give the memory within, which is not touched yet, in small pages.
  static void use_small_pages(void* data, std::size_t bytes);

  MemoryStats stats() const;
  void reset_peak();
  /// Gives the free blocks back to the system, those of a slab when all of it is free.
  void release_cached();

 private:
  static constexpr std::size_t small_alignment = 64;
  static constexpr std::size_t huge_page = std::size_t{2} << 20;
  static constexpr std::size_t least_in_slab = std::size_t{64} << 10;
  static constexpr std::size_t slab_size = 4 * huge_page;

  /// Huge pages that blocks of one size after another are cut from.
  struct Slab {
    char* begin = nullptr;
    std::size_t cut = 0;     // bytes given to blocks, from the begin on
    std::size_t in_use = 0;  // bytes of blocks that are not free
  };

  static std::size_t size_class(std::size_t bytes);
  static void* system_allocate(std::size_t size);
  static void system_deallocate(void* block, std::size_t size) noexcept;
  void* allocate_new(std::size_t size);
  void* cut_from_slab(std::size_t size);
  /// nullptr for a block that is not in one.
  Slab* slab_of(const void* block);
  void release_cached_locked();

  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;  // by the block's size
  std::unordered_map<void*, std::size_t> used_;     // the block's size, which its request may not tell
  std::map<const void*, Slab> slabs_;               // by their begin
  Slab* open_slab_ = nullptr;                       // the one with room
  MemoryStats stats_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/core/memory.inl.hpp>
#endif
