#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include <attune/core/memory.hpp>

namespace attune::cuda {

/// Device memory in blocks that are kept after use and split to measure.
///
/// Requests are rounded up to 256 bytes. Those of up to 1 MiB are cut from segments of 2 MiB, larger ones
/// from segments of at least 16 MiB; a block that comes back joins its free neighbours. A request takes the
/// smallest free block that fits. Blocks may be handed on while the device still works on what they held, as
/// all work of a context runs in one stream. Thread-safe.
class DeviceMemory {
 public:
  explicit DeviceMemory(int ordinal) : ordinal_(ordinal) {}
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// At least 256-byte aligned; a request for 0 bytes gets a block as well. When the device has no more, the
  /// kept blocks are given back and the request is tried again; then DeviceError names the bytes asked for,
  /// in use and free.
  void* allocate(std::size_t bytes);
  /// `bytes` as in allocate(); a null block is passed over.
  void deallocate(void* block, std::size_t bytes) noexcept;

  MemoryStats stats() const;
  void reset_peak();
  /// Gives segments that hold no used block back to the device, after the work on them.
  void release_cached();
  /// Without caching each request goes to the device itself, so that a memory checker sees every overrun.
  /// Slow. Takes effect for later requests.
  void set_caching(bool caching);

 private:
  struct Block {
    char* data;
    std::size_t size;
    bool used = false;
    bool small = false;
    bool kept = true;                           // false: goes back to the device as soon as it is free
    Block *before = nullptr, *after = nullptr;  // its neighbours in the segment
  };
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->size != b->size ? a->size < b->size : a->data < b->data;
    }
  };
  using FreeBlocks = std::set<Block*, BySize>;

  Block* take_free(std::size_t size, bool small);
  Block* add_segment(std::size_t size, bool small, bool kept, std::size_t requested);
  void split(Block* block, std::size_t size);
  void join_after(Block* block);
  void release_cached_locked() noexcept;
  void give_back(Block* segment) noexcept;
  [[noreturn]] void fail(std::size_t requested);

  const int ordinal_;
  mutable std::mutex mutex_;
  bool caching_ = true;
  std::map<void*, std::unique_ptr<Block>> blocks_;  // all of them, by their data
  FreeBlocks free_small_, free_large_;
  MemoryStats stats_;
};

}  // namespace attune::cuda
