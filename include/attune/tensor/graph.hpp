#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/shape.hpp>
#include <attune/tensor/storage.hpp>

namespace attune {

namespace detail {
inline bool& grad_enabled() {
  thread_local bool enabled = true;
  return enabled;
}
/// Whether this thread records, until the end of a scope.
class GradMode {
 public:
  explicit GradMode(bool enabled) : before_(std::exchange(grad_enabled(), enabled)) {}
  ~GradMode() { grad_enabled() = before_; }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};
inline std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> counter{0};
  return counter.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace detail

/// While one lives, this thread records no graph.
class NoGradGuard : detail::GradMode {
 public:
  NoGradGuard() : GradMode(false) {}
};

template <class B>
class Function;

/// A tensor's place in the graph: where its gradient collects, and the function that computed it.
template <class B>
struct Variable {
  Variable(B on, Shape of) : device(std::move(on)), shape(of) {}

  B device;
  Shape shape;
  Storage<B> grad;  ///< contiguous; empty until something arrives; a computed tensor has it during backward alone
  Storage<B> retained;                    ///< what retain_grad() keeps of it
  void (*retain)(Variable&) = nullptr;    ///< adds `grad` to `retained`; null: it is not kept
  std::shared_ptr<Function<B>> producer;  ///< null for a leaf
};

/// One recorded operation. The graph is held together from the outputs: a Variable owns its producer, and a
/// Function owns the Variables that it read.
template <class B>
class Function {
 public:
  explicit Function(std::string_view name) : name(name), sequence(detail::next_sequence()) {}
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  /// Chains of any length are taken apart in a loop, not by recursion.
  virtual ~Function() {
    thread_local std::vector<std::shared_ptr<Variable<B>>>* pending = nullptr;
    if (pending) {
      for (auto& input : inputs) pending->push_back(std::move(input));
      return;
    }
    std::vector<std::shared_ptr<Variable<B>>> queue = std::move(inputs);
    pending = &queue;
    while (!queue.empty()) {
      const std::shared_ptr<Variable<B>> last = std::move(queue.back());
      queue.pop_back();
    }
    pending = nullptr;
  }

  /// Computes the gradients of the inputs from those of the outputs.
  virtual void run() = 0;
  /// Drops what was saved for run().
  virtual void release() = 0;

  std::string_view name;
  std::uint64_t sequence;
  bool released = false;
  std::vector<std::shared_ptr<Variable<B>>> inputs;  ///< those that need a gradient, others null
  std::vector<std::weak_ptr<Variable<B>>> outputs;
};

}  // namespace attune
