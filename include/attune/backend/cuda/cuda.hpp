#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <attune/backend/backend.hpp>
#include <attune/backend/cuda/attention.hpp>
#include <attune/backend/cuda/context.hpp>
#include <attune/backend/cuda/elementwise.hpp>
#include <attune/backend/cuda/late_number.hpp>
#include <attune/backend/cuda/layout.hpp>
#include <attune/backend/cuda/loss.hpp>
#include <attune/backend/cuda/matmul.hpp>
#include <attune/backend/cuda/norm.hpp>
#include <attune/backend/cuda/optimizer.hpp>
#include <attune/backend/cuda/reduce.hpp>
#include <attune/backend/cuda/sequence.hpp>
#include <attune/backend/overloads.hpp>

namespace attune {

namespace cuda {
struct Groups {
  template <class T>
  using Layout = cuda::Layout<T>;
  template <class T>
  using Elementwise = cuda::Elementwise<T>;
  template <class T>
  using Reduce = cuda::Reduce<T>;
  template <class T>
  using Matmul = cuda::Matmul<T>;
  template <class T>
  using Norm = cuda::Norm<T>;
  template <class T>
  using Attention = cuda::Attention<T>;
  template <class T>
  using Sequence = cuda::Sequence<T>;
  template <class T>
  using Loss = cuda::Loss<T>;
};
}  // namespace cuda

/// An NVIDIA GPU of compute capability 8.0 or later. Its kernels are in the library attune::cuda. Computes in
/// float or bfloat16 with float sums; results do not change from run to run on one kind of device.
///
/// A handle of a device of this process: copies are the same device. All work is put in one stream and runs
/// in that order; only download() and synchronize() wait for it.
class Cuda : public KernelOverloads<cuda::Groups, float, bfloat16>, public cuda::Optimizer {
 public:
  static constexpr bool host_memory = false;
  using LateNumber = cuda::LateNumber;
  /// Products whose extents are multiples of this are computed by the fastest kernels (16 bytes of bfloat16).
  static constexpr std::int64_t product_multiple = 8;

  /// Throws DeviceError that says what is missing: the driver, or a device of that number.
  explicit Cuda(int ordinal = 0) : context_(&cuda::Context::of(ordinal)) {}

  std::string name() const { return "cuda:" + std::to_string(ordinal()); }
  int ordinal() const { return context_->ordinal(); }
  cuda::Context& context() const { return *context_; }

  using cuda::Matmul<float>::matmul_activation_backward;
  using cuda::Matmul<bfloat16>::matmul_activation_backward;

  void* allocate(std::size_t bytes) const { return context_->memory().allocate(bytes); }
  void deallocate(void* data, std::size_t bytes) const noexcept {
    context_->memory().deallocate(data, bytes);
  }
  void upload(void* device, const void* host, std::size_t bytes) const {
    context_->upload(device, host, bytes);
  }
  void download(void* host, const void* device, std::size_t bytes) const {
    context_->download(host, device, bytes);
  }
  void copy(void* to, const void* from, std::size_t bytes) const { context_->copy(to, from, bytes); }
  void zero(void* device, std::size_t bytes) const { context_->zero(device, bytes); }
  void synchronize() const { context_->synchronize(); }

  /// See LinearCrossEntropyOptions: 512 MiB of float, or a 32nd of the device's memory with the gradient in
  /// bfloat16.
  std::int64_t chunk_elements() const {
    return std::min(std::int64_t{1} << 27, static_cast<std::int64_t>(context_->total_memory()) / (32 * 6));
  }

  /// Bytes of tensors and workspace on this device.
  MemoryStats memory_stats() const { return context_->memory().stats(); }
  /// Starts a new peak at what is in use now.
  void reset_peak_memory() const { context_->memory().reset_peak(); }
  /// Gives memory that is kept for later use back to the device.
  void release_cached_memory() const { context_->memory().release_cached(); }

  friend bool operator==(const Cuda& a, const Cuda& b) { return a.context_ == b.context_; }

 private:
  cuda::Context* context_;
};

static_assert(BackendFor<Cuda, float> && BlockOps<Cuda, float>);
static_assert(BackendFor<Cuda, bfloat16> && BlockOps<Cuda, bfloat16>);
static_assert(FusedOps<Cuda, float> && FusedOps<Cuda, bfloat16>);

namespace cuda {
/// The context of the Cuda that a group of kernels is a part of.
template <class Group>
Context& context_of(const Group& group) {
  return static_cast<const Cuda&>(group).context();
}
}  // namespace cuda

}  // namespace attune
