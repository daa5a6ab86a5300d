#pragma once

#include <cstddef>

#include <attune/core/memory.hpp>

namespace attune::cpu {

/// The process's host memory: tensors and workspace.
CachingAllocator& host_memory();

/// memcpy and memset on all threads.
void copy_bytes(void* to, const void* from, std::size_t bytes);
void zero_bytes(void* data, std::size_t bytes);

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/memory.inl.hpp>
#endif
