#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include <sys/mman.h>

#include <attune/core/error.hpp>
#include <attune/core/memory.hpp>

namespace attune {

ATTUNE_INLINE CachingAllocator::~CachingAllocator() { release_cached_locked(); }

/// The next size of the form (8 .. 15) * 2^k, then up to the alignment.
ATTUNE_INLINE std::size_t CachingAllocator::size_class(std::size_t bytes) {
  const std::size_t size = std::max(bytes, small_alignment);
  const int shift = std::max(static_cast<int>(std::bit_width(size)) - 4, 0);
  const std::size_t step = std::max(std::size_t{1} << shift, small_alignment);
  const std::size_t rounded = (size + step - 1) / step * step;
  return rounded < huge_page ? rounded : (rounded + huge_page - 1) / huge_page * huge_page;
}

ATTUNE_INLINE void* CachingAllocator::system_allocate(std::size_t size) {
  if (size < huge_page) return std::aligned_alloc(small_alignment, size);
  // A mapping is aligned to small pages alone: map more and cut both ends off.
  void* const mapping =
      mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<char*>(mapping);
  const std::size_t head = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  if (head > 0) munmap(begin, head);
  if (head < huge_page) munmap(begin + head + size, huge_page - head);
  madvise(begin + head, size, MADV_HUGEPAGE);  // advice only: without huge pages it works as well
  return begin + head;
}

ATTUNE_INLINE void CachingAllocator::system_deallocate(void* block, std::size_t size) noexcept {
  if (size < huge_page)
    std::free(block);
  else
    munmap(block, size);
}

ATTUNE_INLINE CachingAllocator::Slab* CachingAllocator::slab_of(const void* block) {
  auto after = slabs_.upper_bound(block);
  if (after == slabs_.begin()) return nullptr;
  Slab& slab = std::prev(after)->second;
  return block < slab.begin + slab_size ? &slab : nullptr;
}

ATTUNE_INLINE void* CachingAllocator::cut_from_slab(std::size_t size) {
  if (open_slab_ == nullptr || slab_size - open_slab_->cut < size) {
    auto* const begin = static_cast<char*>(system_allocate(slab_size));
    if (begin == nullptr) return nullptr;
    open_slab_ = &slabs_.emplace(begin, Slab{begin}).first->second;
    ++stats_.system_allocations;
    stats_.reserved += slab_size;
  }
  void* const block = open_slab_->begin + open_slab_->cut;
  open_slab_->cut += size;
  return block;
}

/// A block of a size class, from the system or from a slab.
ATTUNE_INLINE void* CachingAllocator::allocate_new(std::size_t size) {
  if (size >= least_in_slab && size < huge_page) return cut_from_slab(size);
  void* const block = system_allocate(size);
  if (block != nullptr) {
    ++stats_.system_allocations;
    stats_.reserved += size;
  }
  return block;
}

ATTUNE_INLINE void* CachingAllocator::allocate(std::size_t bytes, bool* is_zero) {
  const std::lock_guard lock(mutex_);
  void* block = nullptr;
  if (is_zero) *is_zero = false;
  if (bytes <= SIZE_MAX / 4) {
    std::size_t size = size_class(bytes);
    const auto found = free_.lower_bound(size);
    if (found != free_.end() && found->first <= size + size / 4) {
      size = found->first;
      block = found->second.back();
      found->second.pop_back();
      if (found->second.empty()) free_.erase(found);
      stats_.cached -= size;
    } else {
      block = allocate_new(size);
      if (!block) {
        release_cached_locked();
        block = allocate_new(size);
      }
      if (is_zero) *is_zero = size >= least_in_slab;  // mapped
    }
    if (block) {
      used_.emplace(block, size);
      if (Slab* const slab = slab_of(block)) slab->in_use += size;
    }
  }
  if (!block)
    throw DeviceError("cannot allocate " + std::to_string(bytes) + " bytes of host memory; " +
                      std::to_string(stats_.current) + " bytes are in use");
  stats_.current += bytes;
  stats_.peak = std::max(stats_.peak, stats_.current);
  return block;
}

ATTUNE_INLINE void CachingAllocator::deallocate(void* block, std::size_t bytes) noexcept {
  if (!block) return;
  const std::lock_guard lock(mutex_);
  const auto found = used_.find(block);
  if (found == used_.end()) return;
  const std::size_t size = found->second;
  used_.erase(found);
  stats_.current -= bytes;
  Slab* const slab = slab_of(block);
  if (slab != nullptr) slab->in_use -= size;
  try {
    free_[size].push_back(block);
    stats_.cached += size;
  } catch (...) {                 // no memory to remember it: give it back
    if (slab != nullptr) return;  // with the slab, once all of that is free
    system_deallocate(block, size);
    stats_.reserved -= size;
  }
}

ATTUNE_INLINE void CachingAllocator::use_small_pages(void* data, std::size_t bytes) {
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + huge_page - 1) / huge_page * huge_page;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) / huge_page * huge_page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_NOHUGEPAGE);
}

ATTUNE_INLINE MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

ATTUNE_INLINE void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.current;
}

ATTUNE_INLINE void CachingAllocator::release_cached() {
  const std::lock_guard lock(mutex_);
  release_cached_locked();
}

ATTUNE_INLINE void CachingAllocator::release_cached_locked() {
  for (auto entry = free_.begin(); entry != free_.end();) {
    const std::size_t size = entry->first;
    std::erase_if(entry->second, [&](void* block) {
      const Slab* const slab = slab_of(block);
      if (slab != nullptr && slab->in_use > 0) return false;
      if (slab == nullptr) {
        system_deallocate(block, size);
        stats_.reserved -= size;
      }
      stats_.cached -= size;
      return true;
    });
    entry = entry->second.empty() ? free_.erase(entry) : std::next(entry);
  }
  std::erase_if(slabs_, [&](const auto& entry) {
    const Slab& slab = entry.second;
    if (slab.in_use > 0) return false;
    if (open_slab_ == &slab) open_slab_ = nullptr;
    system_deallocate(slab.begin, slab_size);
    stats_.reserved -= slab_size;
    return true;
  });
}

}  // namespace attune
