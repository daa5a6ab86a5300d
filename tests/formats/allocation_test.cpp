#include "format_tools.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

namespace {

constexpr std::size_t no_cap = std::numeric_limits<std::size_t>::max();
thread_local std::size_t allocation_cap = no_cap;
thread_local std::size_t allocated = 0;

void* allocate(std::size_t size) {
  if (allocation_cap != no_cap) {
    if (size > allocation_cap || allocated > allocation_cap - size) throw std::bad_alloc();
    allocated += size;
  }
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {  // std::stable_sort's
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace attune_test {

AllocationCap::AllocationCap(std::size_t cap) {
  allocated = 0;
  allocation_cap = cap;
}
AllocationCap::~AllocationCap() { allocation_cap = no_cap; }
std::size_t AllocationCap::used() const { return allocated; }

TEST_CASE("the allocation cap of these tests sees what the library allocates") {
  bool refused = false;
  {
    const AllocationCap cap(1 << 20);
    try {
      std::vector<char> large(2 << 20);
      refused = large.empty();
    } catch (const std::bad_alloc&) {
      refused = true;
    }
  }
  CHECK(refused);
  std::size_t used = 0;
  {
    const AllocationCap cap(1 << 20);
    attune::read_text_file(fixture("types.safetensors"));
    used = cap.used();
  }
  CHECK(used >= 1285);
}

}  // namespace attune_test
