#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>

namespace attune::detail {

/// One fork-join region at a time. Workers take task numbers from a shared counter; they spin briefly between
/// regions because a training step is thousands of short ones, then sleep.
class ThreadPool {
 public:
  static ThreadPool& global() {
    static ThreadPool pool;
    return pool;
  }

  ~ThreadPool() { stop(); }

  int size() const { return size_.load(std::memory_order_relaxed); }

  void resize(int threads) {
    if (threads < 1)
      throw ConfigError("set_num_threads: at least 1 thread is needed, found " + std::to_string(threads));
    const std::lock_guard region(region_);
    stop();
    size_.store(threads, std::memory_order_relaxed);
  }

  void run(std::int64_t count, TaskRef task) {
    std::unique_lock region(region_, std::defer_lock);
    if (inside_task() || size() == 1 || !region.try_lock()) {
      for (std::int64_t index = 0; index < count; ++index) task(index);
      return;
    }
    start();
    task_ = &task;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    open_.store(true);
    {
      const std::lock_guard lock(mutex_);  // so that a worker about to sleep cannot miss the new generation
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    inside_task() = true;
    work();
    inside_task() = false;
    open_.store(false);
    for (int spin = 0; joined_.load() > 0; ++spin)
      if (spin > spins) std::this_thread::yield();
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  static constexpr int spins = 4000;  // a few tens of microseconds

  ThreadPool() {
    int threads = static_cast<int>(std::thread::hardware_concurrency());
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) threads = CPU_COUNT(&allowed);
    if (const char* setting = std::getenv("ATTUNE_NUM_THREADS")) threads = std::atoi(setting);
    size_.store(threads < 1 ? 1 : threads, std::memory_order_relaxed);
  }

  static bool& inside_task() {
    thread_local bool inside = false;
    return inside;
  }

  void start() {  // called with region_ held
    if (!workers_.empty()) return;
    stopping_ = false;
    for (int worker = 1; worker < size(); ++worker)
      workers_.emplace_back([this, seen = generation_.load(std::memory_order_relaxed)] { loop(seen); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void loop(std::uint64_t seen) {
    inside_task() = true;
    for (;;) {
      for (int spin = 0; spin < spins && generation_.load(std::memory_order_acquire) == seen; ++spin) pause();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_) return;
      joined_.fetch_add(1);
      if (open_.load()) work();
      joined_.fetch_sub(1);
    }
  }

  void work() {
    for (std::int64_t index; (index = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
      try {
        (*task_)(index);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
    }
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  std::atomic<int> size_{1};
  std::mutex region_;  // held by the thread whose tasks are running
  std::vector<std::thread> workers_;
  const TaskRef* task_ = nullptr;
  std::int64_t count_ = 0;
  std::atomic<std::int64_t> next_{0};
  // The caller waits for those workers alone that are at work, not for those that the system has yet to wake.
  // Both are sequentially consistent: a worker joins and then looks whether the region is open, the caller
  // closes it and then looks who joined; one of the two sees the other.
  std::atomic<bool> open_{false};
  std::atomic<int> joined_{0};
  std::atomic<std::uint64_t> generation_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_{false};
  std::exception_ptr failure_;
};

ATTUNE_INLINE void run_tasks(std::int64_t count, TaskRef task) { ThreadPool::global().run(count, task); }

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE void set_num_threads(int threads) { detail::ThreadPool::global().resize(threads); }
ATTUNE_INLINE int num_threads() { return detail::ThreadPool::global().size(); }

}  // namespace attune
