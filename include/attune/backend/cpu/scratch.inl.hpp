#pragma once

#include <algorithm>
#include <vector>

#include <attune/backend/cpu/memory.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

/// A thread's workspace: blocks that are filled one after another. Blocks never move while a frame is open;
/// once all are closed, several blocks are replaced by one of their joint size.
class ScratchArena {
 public:
  static ScratchArena& of_thread() {
    thread_local ScratchArena arena;
    return arena;
  }
  ~ScratchArena() { clear(); }

  void open() {
    if (depth++ == 0 && blocks_.size() > 1) {
      for (const Block& block : blocks_) next_size_ += block.size;
      clear();
    }
  }

  void* take(std::size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    while (block < blocks_.size() && used + bytes > blocks_[block].size) {
      ++block;
      used = 0;
    }
    if (block == blocks_.size()) {
      const std::size_t size = std::max({bytes, next_size_, std::size_t{1} << 16});
      blocks_.reserve(blocks_.size() + 1);
      blocks_.push_back({static_cast<char*>(host_memory().allocate(size)), size});
      next_size_ = 0;
    }
    void* const data = blocks_[block].data + used;
    used += bytes;
    return data;
  }

  std::size_t block = 0, used = 0;
  int depth = 0;

 private:
  struct Block {
    char* data;
    std::size_t size;
  };

  void clear() {
    for (const Block& block : blocks_) host_memory().deallocate(block.data, block.size);
    blocks_.clear();
    block = used = 0;
  }

  std::vector<Block> blocks_;
  std::size_t next_size_ = 0;
};

ATTUNE_INLINE Scratch::Scratch() {
  ScratchArena& arena = ScratchArena::of_thread();
  arena.open();
  block_ = arena.block;
  used_ = arena.used;
}

ATTUNE_INLINE Scratch::~Scratch() {
  ScratchArena& arena = ScratchArena::of_thread();
  arena.block = block_;
  arena.used = used_;
  --arena.depth;
}

ATTUNE_INLINE void* Scratch::take_bytes(std::size_t bytes) { return ScratchArena::of_thread().take(bytes); }

}  // namespace attune::cpu
