#pragma once

#include <cstdint>
#include <cstring>

#include <attune/backend/cpu/memory.hpp>
#include <attune/core/parallel.hpp>

namespace attune::cpu {

ATTUNE_INLINE CachingAllocator& host_memory() {
  // Never destroyed: threads give their workspace back when they end, some after the statics are gone.
  static CachingAllocator& allocator = *new CachingAllocator;
  return allocator;
}

inline constexpr std::int64_t bytes_per_task = 1 << 18;

ATTUNE_INLINE void copy_bytes(void* to, const void* from, std::size_t bytes) {
  parallel_chunks(static_cast<std::int64_t>(bytes), bytes_per_task,
                  [&](std::int64_t begin, std::int64_t end) {
                    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                                static_cast<std::size_t>(end - begin));
                  });
}

ATTUNE_INLINE void zero_bytes(void* data, std::size_t bytes) {
  parallel_chunks(static_cast<std::int64_t>(bytes), bytes_per_task,
                  [&](std::int64_t begin, std::int64_t end) {
                    std::memset(static_cast<char*>(data) + begin, 0, static_cast<std::size_t>(end - begin));
                  });
}

}  // namespace attune::cpu
