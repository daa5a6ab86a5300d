#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <utility>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/device_memory.hpp>
#include <attune/core/error.hpp>

namespace attune::cuda {

namespace {
constexpr std::size_t block_unit = 256;
constexpr std::size_t small_limit = std::size_t{1} << 20;
constexpr std::size_t small_segment = std::size_t{2} << 20;
constexpr std::size_t large_segment = std::size_t{16} << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }
}  // namespace

void* DeviceMemory::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > (std::size_t{1} << 48)) fail(bytes);  // rounding up would overflow
  const std::size_t size = rounded_up(std::max<std::size_t>(bytes, 1), block_unit);
  const bool small = size <= small_limit;
  Block* block = nullptr;
  if (!caching_) {
    block = add_segment(std::max<std::size_t>(bytes, 1), small, false, bytes);
  } else {
    block = take_free(size, small);
    if (!block) {
      const std::size_t segment =
          small ? small_segment : std::max(large_segment, rounded_up(size, small_segment));
      block = add_segment(segment, small, true, bytes);
    }
    split(block, size);
  }
  block->used = true;
  stats_.current += bytes;
  stats_.peak = std::max(stats_.peak, stats_.current);
  return block->data;
}

void DeviceMemory::deallocate(void* data, std::size_t bytes) noexcept {
  if (!data) return;
  const std::lock_guard lock(mutex_);
  Block* block = blocks_.at(data).get();
  block->used = false;
  stats_.current -= bytes;
  if (!block->kept) return give_back(block);
  stats_.cached += block->size;
  FreeBlocks& free = block->small ? free_small_ : free_large_;
  if (block->after && !block->after->used) {
    free.erase(block->after);
    join_after(block);
  }
  if (block->before && !block->before->used) {
    block = block->before;
    free.erase(block);
    join_after(block);
  }
  free.insert(block);
}

MemoryStats DeviceMemory::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void DeviceMemory::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.current;
}

void DeviceMemory::release_cached() {
  const std::lock_guard lock(mutex_);
  release_cached_locked();
}

void DeviceMemory::set_caching(bool caching) {
  const std::lock_guard lock(mutex_);
  caching_ = caching;
}

DeviceMemory::Block* DeviceMemory::take_free(std::size_t size, bool small) {
  FreeBlocks& free = small ? free_small_ : free_large_;
  Block wanted{nullptr, size};
  const auto found = free.lower_bound(&wanted);
  if (found == free.end()) return nullptr;
  Block* block = *found;
  free.erase(found);
  stats_.cached -= block->size;
  return block;
}

DeviceMemory::Block* DeviceMemory::add_segment(std::size_t size, bool small, bool kept,
                                               std::size_t requested) {
  select_device(ordinal_);
  void* data = nullptr;
  if (cudaMalloc(&data, size) != cudaSuccess) {
    cudaGetLastError();  // the failure is dealt with here
    release_cached_locked();
    if (cudaMalloc(&data, size) != cudaSuccess) {
      cudaGetLastError();
      // A request that nearly fills the device may fit where a whole segment does not.
      size = rounded_up(std::max<std::size_t>(requested, 1), block_unit);
      if (cudaMalloc(&data, size) != cudaSuccess) {
        cudaGetLastError();
        fail(requested);
      }
    }
  }
  stats_.reserved += size;
  ++stats_.system_allocations;
  auto block = std::make_unique<Block>(Block{static_cast<char*>(data), size, false, small, kept});
  return (blocks_[data] = std::move(block)).get();
}

void DeviceMemory::split(Block* block, std::size_t size) {
  const std::size_t rest = block->size - size;
  if (rest < (block->small ? block_unit : small_limit)) return;
  auto remainder = std::make_unique<Block>(
      Block{block->data + size, rest, false, block->small, true, block, block->after});
  if (block->after) block->after->before = remainder.get();
  block->after = remainder.get();
  block->size = size;
  stats_.cached += rest;
  (block->small ? free_small_ : free_large_).insert(remainder.get());
  blocks_[remainder->data] = std::move(remainder);
}

void DeviceMemory::join_after(Block* block) {
  Block* absorbed = block->after;
  block->size += absorbed->size;
  block->after = absorbed->after;
  if (block->after) block->after->before = block;
  blocks_.erase(absorbed->data);
}

void DeviceMemory::release_cached_locked() noexcept {
  for (FreeBlocks* free : {&free_small_, &free_large_})
    for (auto at = free->begin(); at != free->end();) {
      Block* block = *at;
      if (block->before || block->after) {
        ++at;
        continue;
      }
      at = free->erase(at);
      stats_.cached -= block->size;
      give_back(block);
    }
}

void DeviceMemory::give_back(Block* segment) noexcept {
  int before = ordinal_;
  cudaGetDevice(&before);
  if (before != ordinal_) cudaSetDevice(ordinal_);
  cudaFree(segment->data);  // waits for the device
  if (before != ordinal_) cudaSetDevice(before);
  stats_.reserved -= segment->size;
  blocks_.erase(segment->data);
}

void DeviceMemory::fail(std::size_t requested) {
  std::size_t available = 0, total = 0;
  cudaMemGetInfo(&available, &total);
  throw DeviceError("cuda: cannot allocate " + std::to_string(requested) + " bytes on device " +
                    std::to_string(ordinal_) + ": " + std::to_string(stats_.current) + " bytes are in use, " +
                    std::to_string(stats_.reserved) + " reserved; " + std::to_string(available) + " of " +
                    std::to_string(total) + " bytes are free");
}

}  // namespace attune::cuda
