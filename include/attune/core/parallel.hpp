#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include <attune/core/inline.hpp>

namespace attune {

/// Sets how many threads the library computes with (>= 1; the default is the number of processors this
/// process may use, or ATTUNE_NUM_THREADS). Results do not depend on it. Must not be called while work runs.
void set_num_threads(int threads);
int num_threads();

namespace detail {

/// A non-owning reference to a callable `void(std::int64_t index)`.
class TaskRef {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, TaskRef>) explicit TaskRef(const F& function)
      : object_(&function),
        call_([](const void* object, std::int64_t index) { (*static_cast<const F*>(object))(index); }) {}
  void operator()(std::int64_t index) const { call_(object_, index); }

 private:
  const void* object_;
  void (*call_)(const void*, std::int64_t);
};

/// Calls task(0) .. task(count - 1), on several threads when the pool is free; otherwise, and inside a task,
/// in the caller. The first exception thrown by a task is thrown again in the caller after all have ended.
void run_tasks(std::int64_t count, TaskRef task);

}  // namespace detail

/// Calls f(0) .. f(count - 1) in any order and on any thread. What f(i) computes must not depend on other
/// calls: then the result is the same for every number of threads.
template <class F>
void parallel_for(std::int64_t count, const F& f) {
  if (count == 1) {
    f(std::int64_t{0});
  } else if (count > 1) {
    detail::run_tasks(count, detail::TaskRef(f));
  }
}

/// Cuts [0, count) into chunks of `grain` (>= 1; the last may be shorter) and calls f(begin, end) for each.
/// The cuts depend on `grain` alone, never on the number of threads.
template <class F>
void parallel_chunks(std::int64_t count, std::int64_t grain, const F& f) {
  const std::int64_t chunks = (count + grain - 1) / grain;
  parallel_for(chunks, [&](std::int64_t chunk) {
    const std::int64_t begin = chunk * grain;
    f(begin, begin + grain < count ? begin + grain : count);
  });
}

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/core/parallel.inl.hpp>
#endif
