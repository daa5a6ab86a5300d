// The engine's notes to the sanitizers; empty in plain builds.
//
// How TSan is made to see CUDA's rules and nothing else:
//  * The engine is compiled WITHOUT -fsanitize=thread. It is linked first, as a precaution: of
//  inline
//    code in both (std::vector, std::function...) the linker then keeps the uninstrumented copy.
//  * A CUDA thread is a TSan fiber, switched with no_sync: a switch orders nothing. Order comes
//    only from release/acquire at launches, barriers, sync_warp and fence + atomic. Shuffles give
//    none, as on a device.
//  * Blocks that follow each other use different fiber sets, and each block has fresh
//    synchronisation objects. Otherwise one block would order the next and races between blocks
//    would vanish.
//  * The engine's own work on behalf of nobody (freeing shared memory) runs in a context of its
//    own, so that it orders no later block.
#pragma once
#include <cstddef>

#if defined(CUDA_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(CUDA_EMULATION_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_emulation::tsan {

#if defined(CUDA_EMULATION_TSAN)
inline constexpr bool enabled = true;
inline void release(void* p) { __tsan_release(p); }
inline void acquire(void* p) { __tsan_acquire(p); }
inline void* create_context() { return __tsan_create_fiber(0); }
inline void destroy_context(void* context) { __tsan_destroy_fiber(context); }
inline void* context() { return __tsan_get_current_fiber(); }
inline void enter(void* context) { __tsan_switch_to_fiber(context, __tsan_switch_to_fiber_no_sync); }
#else
inline constexpr bool enabled = false;
inline void release(void*) {}
inline void acquire(void*) {}
inline void* create_context() { return nullptr; }
inline void destroy_context(void*) {}
inline void* context() { return nullptr; }
inline void enter(void*) {}
#endif

// Does something in another context, e.g. releases on its behalf, without switching stacks.
template <class F>
void in_context(void* other, F f) {
  void* mine = context();
  enter(other);
  f();
  enter(mine);
}

}  // namespace cuda_emulation::tsan
