#pragma once

#include <cstddef>
#include <cstdint>

#include <attune/core/inline.hpp>

namespace attune::cpu {

/// Workspace of one kernel or task: memory of the calling thread that is handed back when this object ends.
/// Objects nest like stack frames. A thread keeps its memory, so kernels stop allocating after their first
/// calls.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// `count` elements, uninitialised, aligned to 64 bytes.
  template <class E>
  E* take(std::int64_t count) {
    return static_cast<E*>(take_bytes(static_cast<std::size_t>(count) * sizeof(E)));
  }

 private:
  void* take_bytes(std::size_t bytes);

  std::size_t block_, used_;  // where the thread's memory stood when this frame began
};

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/scratch.inl.hpp>
#endif
