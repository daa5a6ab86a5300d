// Fibers: one per CUDA thread, plus the scheduler, all on the host's single OS thread.
#pragma once
#include <utility>
#include <vector>

#include <emulation/emulator.hpp>

namespace cuda_emulation {

inline constexpr size_t page_bytes = 4096;

enum class State : uint8_t { ready, at_barrier, in_warp_operation, done };

struct Fiber : Lane {
  // machine state
  void* stack_pointer = nullptr;
  char* stack = nullptr;  // lowest usable address; the page below is a guard
  size_t stack_bytes = 0;
  void* asan_fake_stack = nullptr;
  void* tsan_context = nullptr;
  void* tsan_fence_context = nullptr;  // holds what was ordered at this thread's last fence
  char tsan_fence_sync = 0;

  // the CUDA thread it runs
  State state = State::done;
  bool fenced = false;
  uint3 thread_index{};
  unsigned lane = 0, warp = 0;
  Site waits_at{};
  const char* waits_in = "";
  std::vector<void*> atomics_since_fence;
  std::vector<AsyncCopy> copies;    // cp.async, in order of issue
  std::vector<size_t> copy_groups;  // end of each committed group in copies
  size_t copies_done = 0;
};

extern Fiber scheduler;
void create_fiber(Fiber& fiber, size_t stack_bytes);
void recreate_contexts(Fiber& fiber);             // after the thread was abandoned
void reset_fiber(Fiber& fiber, void (*entry)());  // entry must not return
void switch_fiber(Fiber& from, Fiber& to);
void entered_fiber();  // the first thing that entry does
void adopt_host_stack();
bool in_stack_guard(const Fiber& fiber, const void* address);
inline Fiber& current_fiber() { return *static_cast<Fiber*>(current); }

}  // namespace cuda_emulation
