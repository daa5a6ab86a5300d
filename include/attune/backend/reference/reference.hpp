#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <string>

#include <attune/backend/backend.hpp>
#include <attune/backend/overloads.hpp>
#include <attune/backend/reference/attention.hpp>
#include <attune/backend/reference/elementwise.hpp>
#include <attune/backend/reference/layout.hpp>
#include <attune/backend/reference/loss.hpp>
#include <attune/backend/reference/matmul.hpp>
#include <attune/backend/reference/norm.hpp>
#include <attune/backend/reference/optimizer.hpp>
#include <attune/backend/reference/reduce.hpp>
#include <attune/backend/reference/sequence.hpp>
#include <attune/core/error.hpp>

namespace attune {

namespace reference {
struct Groups {
  template <class T>
  using Layout = reference::Layout<T>;
  template <class T>
  using Elementwise = reference::Elementwise<T>;
  template <class T>
  using Reduce = reference::Reduce<T>;
  template <class T>
  using Matmul = reference::Matmul<T>;
  template <class T>
  using Norm = reference::Norm<T>;
  template <class T>
  using Attention = reference::Attention<T>;
  template <class T>
  using Sequence = reference::Sequence<T>;
  template <class T>
  using Loss = reference::Loss<T>;
};
}  // namespace reference

/// The readable truth that other backends are compared with: one thread, naive loops, everything computed in
/// double and rounded once, when it is stored. Slow.
class Reference : public KernelOverloads<reference::Groups, float, bfloat16, double>,
                  public reference::Optimizer {
 public:
  /// Its memory is the host's, and its work is done when a call returns: a look at a number is free.
  static constexpr bool host_memory = true;

  std::string name() const { return "reference"; }

  void* allocate(std::size_t bytes) const {
    void* data = ::operator new (bytes, std::align_val_t{64}, std::nothrow);
    if (!data) throw DeviceError("reference: cannot allocate " + std::to_string(bytes) + " bytes");
    return data;
  }
  void deallocate(void* data, std::size_t) const noexcept { ::operator delete (data, std::align_val_t{64}); }
  void upload(void* device, const void* host, std::size_t bytes) const { copy(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) const { copy(host, device, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) const {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void zero(void* device, std::size_t bytes) const {
    if (bytes > 0) std::memset(device, 0, bytes);
  }
  void synchronize() const {}

  friend bool operator==(const Reference&, const Reference&) { return true; }
};

static_assert(BackendFor<Reference, double> && BlockOps<Reference, double>);
static_assert(BackendFor<Reference, float> && BlockOps<Reference, float>);
static_assert(BackendFor<Reference, bfloat16> && BlockOps<Reference, bfloat16>);

}  // namespace attune
