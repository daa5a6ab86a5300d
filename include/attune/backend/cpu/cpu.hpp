#pragma once

#include <cstddef>
#include <string>

#include <attune/backend/backend.hpp>
#include <attune/backend/cpu/attention.hpp>
#include <attune/backend/cpu/elementwise.hpp>
#include <attune/backend/cpu/layout.hpp>
#include <attune/backend/cpu/loss.hpp>
#include <attune/backend/cpu/matmul.hpp>
#include <attune/backend/cpu/memory.hpp>
#include <attune/backend/cpu/norm.hpp>
#include <attune/backend/cpu/optimizer.hpp>
#include <attune/backend/cpu/reduce.hpp>
#include <attune/backend/cpu/sequence.hpp>
#include <attune/backend/overloads.hpp>

namespace attune {

namespace cpu {
struct Groups {
  template <class T>
  using Layout = cpu::Layout<T>;
  template <class T>
  using Elementwise = cpu::Elementwise<T>;
  template <class T>
  using Reduce = cpu::Reduce<T>;
  template <class T>
  using Matmul = cpu::Matmul<T>;
  template <class T>
  using Norm = cpu::Norm<T>;
  template <class T>
  using Attention = cpu::Attention<T>;
  template <class T>
  using Sequence = cpu::Sequence<T>;
  template <class T>
  using Loss = cpu::Loss<T>;
};
}  // namespace cpu

/// The default backend: this process's processors, on num_threads() threads. Computes in float; bfloat16 is
/// widened on reading and rounded on writing. Results do not depend on the number of threads.
///
/// All handles are the same device. Memory comes from one caching allocator per process.
class Cpu : public KernelOverloads<cpu::Groups, float, bfloat16>, public cpu::Optimizer {
 public:
  /// Its memory is the host's, and its work is done when a call returns: a look at a number is free.
  static constexpr bool host_memory = true;
  /// Gradients of tables say which rows are zero (see Gradient::accumulate_rows): the optimizer reads less.
  static constexpr bool wants_zero_rows = true;

  std::string name() const { return "cpu"; }

  void* allocate(std::size_t bytes) const { return cpu::host_memory().allocate(bytes); }
  /// The same, all zero; memory that the system has just given is not touched.
  void* allocate_zeroed(std::size_t bytes) const {
    bool is_zero = false;
    void* const data = cpu::host_memory().allocate(bytes, &is_zero);
    if (!is_zero) zero(data, bytes);
    return data;
  }
  /// Of memory that nobody has touched only some rows will be written: then small pages take less of it.
  void expect_few_writes(void* data, std::size_t bytes) const {
    CachingAllocator::use_small_pages(data, bytes);
  }
  void deallocate(void* data, std::size_t bytes) const noexcept {
    cpu::host_memory().deallocate(data, bytes);
  }
  void upload(void* device, const void* host, std::size_t bytes) const { copy(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) const { copy(host, device, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) const { cpu::copy_bytes(to, from, bytes); }
  void zero(void* data, std::size_t bytes) const { cpu::zero_bytes(data, bytes); }
  void synchronize() const {}

  /// Bytes of tensors and workspace.
  static MemoryStats memory_stats() { return cpu::host_memory().stats(); }
  /// Starts a new peak at what is in use now.
  static void reset_peak_memory() { cpu::host_memory().reset_peak(); }
  /// Gives memory that is kept for later use back to the system.
  static void release_cached_memory() { cpu::host_memory().release_cached(); }

  friend bool operator==(const Cpu&, const Cpu&) { return true; }
};

static_assert(BackendFor<Cpu, float> && BlockOps<Cpu, float>);
static_assert(BackendFor<Cpu, bfloat16> && BlockOps<Cpu, bfloat16>);

}  // namespace attune
