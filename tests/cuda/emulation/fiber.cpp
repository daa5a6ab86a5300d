#include <emulation/fiber.hpp>

#include <pthread.h>
#include <sys/mman.h>

#include <cstdlib>

#include <emulation/sanitizers.hpp>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation {

Lane* current = nullptr;
Fiber scheduler;

#if !defined(__x86_64__)
#error "cuda_emulation_switch is written for x86-64 only"
#endif
// Saves the callee-saved registers and the stack pointer, loads those of the other fiber. (MXCSR
// and the x87 control word are left alone: kernels do not change them.)
extern "C" void cuda_emulation_switch(void** save, void* load);
asm(R"(
.text
.type cuda_emulation_switch,@function
cuda_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulation_switch,.-cuda_emulation_switch
)");

void create_fiber(Fiber& fiber, size_t stack_bytes) {
  void* map = mmap(nullptr, stack_bytes + page_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) std::abort();
  mprotect(map, page_bytes, PROT_NONE);
  fiber.stack = static_cast<char*>(map) + page_bytes;
  fiber.stack_bytes = stack_bytes;
  fiber.tsan_context = tsan::create_context();
}

void recreate_contexts(Fiber& fiber) {
  tsan::destroy_context(fiber.tsan_context);
  fiber.tsan_context = tsan::create_context();
  if (fiber.tsan_fence_context) tsan::destroy_context(fiber.tsan_fence_context);
  fiber.tsan_fence_context = nullptr;
#if defined(CUDA_EMULATION_ASAN)
  // The frames left behind keep their redzones poisoned.
  __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);
#endif
}

void reset_fiber(Fiber& fiber, void (*entry)()) {
  void** sp = reinterpret_cast<void**>(fiber.stack + fiber.stack_bytes);
  *--sp = nullptr;  // keeps the stack aligned as after a call
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  fiber.stack_pointer = sp;
  fiber.asan_fake_stack = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to) {
  tsan::enter(to.tsan_context);
#if defined(CUDA_EMULATION_ASAN)
  __sanitizer_start_switch_fiber(from.state == State::done ? nullptr : &from.asan_fake_stack, to.stack,
                                 to.stack_bytes);
#endif
  current = &to == &scheduler ? nullptr : &to;
  if (current) threadIdx = to.thread_index;
  cuda_emulation_switch(&from.stack_pointer, to.stack_pointer);
#if defined(CUDA_EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(from.asan_fake_stack, nullptr, nullptr);
#endif
}

void entered_fiber() {
#if defined(CUDA_EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void adopt_host_stack() {
  scheduler.state = State::ready;
  scheduler.tsan_context = tsan::context();
#if defined(CUDA_EMULATION_ASAN)
  if (!scheduler.stack) {
    pthread_attr_t attributes;
    void* base;
    size_t bytes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &base, &bytes);
    pthread_attr_destroy(&attributes);
    scheduler.stack = static_cast<char*>(base);
    scheduler.stack_bytes = bytes;
  }
#endif
}

bool in_stack_guard(const Fiber& fiber, const void* address) {
  const char* p = static_cast<const char*>(address);
  return p >= fiber.stack - page_bytes && p < fiber.stack;
}

}  // namespace cuda_emulation
