#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <attune/core/batch.hpp>

namespace attune::detail {

/// Makes batches begin .. end-1 in order, at most `capacity` ahead of their consumer, on a thread of its own;
/// with capacity 0 in next() itself. It stays out of the thread pool, which belongs to the training step
/// meanwhile.
class Prefetcher {
 public:
  using Make = std::function<Batch(std::int64_t index)>;

  Prefetcher(Make make, std::int64_t begin, std::int64_t end, std::int64_t capacity)
      : make_(std::move(make)), next_(begin), end_(end), capacity_(static_cast<std::size_t>(capacity)) {
    if (capacity_ > 0) worker_ = std::thread([this] { work(); });
  }

  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  ~Prefetcher() {
    if (!worker_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    room_.notify_one();
    worker_.join();
  }

  /// The next batch, or nothing at the end. Throws what making it threw.
  std::optional<Batch> next() {
    if (capacity_ == 0) {
      if (next_ >= end_) return std::nullopt;
      return make_(next_++);
    }
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !queue_.empty() || finished_; });
    if (queue_.empty()) {
      if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
      return std::nullopt;
    }
    std::optional<Batch> batch(std::move(queue_.front()));
    queue_.pop_front();
    lock.unlock();
    room_.notify_one();
    return batch;
  }

 private:
  void work() {
    std::exception_ptr failure;
    try {
      for (; next_ < end_; ++next_) {
        {
          std::unique_lock lock(mutex_);
          room_.wait(lock, [&] { return queue_.size() < capacity_ || stopping_; });
          if (stopping_) return;
        }
        Batch batch = make_(next_);
        {
          const std::lock_guard lock(mutex_);
          queue_.push_back(std::move(batch));
        }
        filled_.notify_one();
      }
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
      failure_ = std::move(failure);
    }
    filled_.notify_one();
  }

  Make make_;
  std::int64_t next_;  // the worker's once it runs
  std::int64_t end_;
  std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable room_, filled_;
  std::deque<Batch> queue_;
  bool stopping_ = false;
  bool finished_ = false;
  std::exception_ptr failure_;
  std::thread worker_;  // last, so that it starts when all the above stands
};

}  // namespace attune::detail
