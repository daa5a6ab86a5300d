// Emulation of CUDA on the host, for tests: what kernels, launches and tests need at compile time.
//
// Types, enums and prototypes are NVIDIA's own: their headers compile under g++ and clang++, so a
// mismatch with the real API is a compile error. This library only supplies the device built-ins
// (intrinsics.hpp) and links its own cudaMalloc... in place of libcudart.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#undef __global__
#undef __device__
#undef __host__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// Variables, set whenever a CUDA thread is resumed. They must not be macros: cudaLaunchConfig_t has
// members called gridDim and blockDim.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace cuda_emulation {

// A detected defect. Thrown by the call that makes the work run: a synchronisation or a copy, or
// the launch itself when streams are not lazy.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// rounds: one step of every thread in turn (lockstep-like, hides many races).
// depth:  one warp goes as far as it can before the next one starts.
enum class Order { rounds, depth };

struct Config {
  Order order = Order::rounds;
  bool shuffle = false;  // blocks, warps and lanes run in an order drawn from seed
  bool reverse = false;  // blocks, warps, lanes and streams run last to first
  unsigned seed = 1;
  bool isolate = true;               // device memory is closed to the host outside kernels and copies
  bool lazy_streams = true;          // work runs only when something waits for it: adversarially late
  size_t stack_bytes = 256 << 10;    // per CUDA thread; set it before the first launch
  size_t max_shared_bytes = 101376;  // limit of the dynamic shared memory opt-in, the least there is (sm_86)

  // What the machine has.
  int devices = 1;
  cudaError_t device_status = cudaSuccess;  // of cudaGetDeviceCount
  int compute_major = 9;
  int driver_version = CUDART_VERSION;
  size_t memory_bytes = size_t{1} << 34;

  // What cuBLASLt has.
  bool blas_gelu = true;    // products with gelu or its gradient
  size_t blas_refused = 7;  // an algorithm refuses one in so many other sizes
};
Config& config();

// How often the host has waited until a stream, or all of them, had nothing left to do.
size_t drains();

bool is_device_range(const void* p, size_t bytes);  // inside one live device allocation
int device_of(const void* p);                       // of the live allocation that p points into, or -1
bool was_device(const void* p);                     // inside a freed one
// Alignment that p would have on a device, where allocations start at multiples of 256 bytes.
size_t device_alignment(const void* p);

// ---- used by intrinsics.hpp and the launch helper ----

// Place of a call in a kernel, taken by default arguments. Collectives called at different places
// do not match; two on the same line are indistinguishable, so write one per line.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

struct MmaOperands {
  const uint32_t *a, *b;
  const float* c;
  float* d;
};

enum class WarpOp : uint8_t { sync, shuffle_idx, shuffle_up, shuffle_down, shuffle_xor, ballot, mma };
enum class BarrierResult : uint8_t { none, count, all, any };

// What a lane brings to a warp operation and takes from it.
struct Lane {
  uint64_t value = 0, result = 0;
  int argument = 0, width = 32;
  const MmaOperands* mma = nullptr;
};
extern Lane* current;  // the running CUDA thread; null while the host runs

struct Place {
  const char* what;
  Site site;
};
void append(std::string& text, const char* part);
void append(std::string& text, size_t part);
void append(std::string& text, const Place& part);
void record_failure(std::string&& message);  // throws Error on the host
[[noreturn]] void abandon_kernel();

// Reports a defect: throws on the host; in a kernel, leaves it for good, and the launch throws.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  {  // a scope of its own: the frames that are left behind must not own memory
    std::string text;
    (append(text, parts), ...);
    record_failure(std::move(text));
  }
  abandon_kernel();
}

int barrier(BarrierResult kind, bool predicate, Site site);
void warp_operation(unsigned mask, WarpOp op, const char* name, Site site);
void fence();
void after_atomic(void* address);
void* static_shared(const void* key, size_t bytes);
void* dynamic_shared();
struct AsyncCopy {
  void* target = nullptr;
  const void* source = nullptr;
  size_t bytes = 0;
};
void cp_async_issue(const AsyncCopy& copy);
void cp_async_commit();
bool cp_async_next(size_t keep, AsyncCopy* copy);

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
cudaError_t submit(const cudaLaunchConfig_t& launch, const char* name, const void* kernel,
                   std::function<void()> body);

int current_device();

template <class T>
void check_argument(const T& value) {
  if constexpr (std::is_pointer_v<T>) {
    if (value && !is_device_range(value, 1)) {
      fail(was_device(value) ? "freed device pointer passed to a kernel" : "host pointer passed to a kernel");
    }
    if (value && device_of(value) != current_device()) fail("pointer of another device passed to a kernel");
  }
}

template <class... Params, class... Args>
cudaError_t launch(const cudaLaunchConfig_t& config, const char* name, void (*kernel)(Params...),
                   Args&&... args) {
  std::tuple<Params...> copies(std::forward<Args>(args)...);
  std::apply([](const auto&... value) { (check_argument(value), ...); }, copies);
  return submit(config, name, reinterpret_cast<const void*>(kernel), [=] { std::apply(kernel, copies); });
}

}  // namespace cuda_emulation
