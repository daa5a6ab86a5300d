// State shared by the parts of the engine; not for kernels or tests.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include <emulation/emulator.hpp>
#include <emulation/fiber.hpp>

namespace cuda_emulation {

struct WarpGroup {  // lanes that are gathering for a warp operation
  unsigned mask = 0, arrived = 0;
  WarpOp op{};
  const char* name = "";
  Site site{};
};

struct Block {  // the CUDA block that is running
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  Fiber* fibers = nullptr;
  unsigned threads = 0, live = 0, exited = 0;

  unsigned at_barrier = 0, phase = 0, first_at_barrier = 0;
  int predicate_sum = 0, predicate_result = 0;
  std::vector<WarpGroup> warps;

  std::vector<std::pair<const void*, void*>> statics;  // ATTUNE_SHARED key -> memory
  size_t static_bytes = 0;
  void* dynamic = nullptr;
  size_t dynamic_bytes = 0;
  const void* wanted_key = nullptr;  // static shared memory that the scheduler is to allocate
  size_t wanted_bytes = 0;

  bool failed = false;
  std::string message;
};
extern Block block;

// TSan synchronisation objects. Those of a block are drawn afresh for each block.
struct SyncObjects {
  char launch = 0, finish = 0, allocation = 0;
  char* barrier() { return &pool[base]; }  // two, used alternately
  char* warp(unsigned w) { return &pool[base + 2 * spacing + w * spacing]; }
  void next_block() { base = (base + block_span) % (sizeof pool - block_span); }

  static constexpr size_t spacing = 8;  // TSan tells objects apart by 8-byte cells
  static constexpr size_t block_span = (2 + 32) * spacing;
  size_t base = 0;
  char pool[8 << 20];
};
extern SyncObjects sync_objects;

void suspend(State state);  // back to the scheduler until something sets the state to ready
void poison(void* p, size_t bytes);

void run_kernel(dim3 grid, dim3 threads, size_t dynamic_bytes, const char* name,
                const std::function<void()>& body);

// The memory of one device, unless named the current one, is open to the process while one of these lives.
class MemoryWindow {
 public:
  explicit MemoryWindow(int device = open_device());
  ~MemoryWindow();

 private:
  static int open_device();  // the one that is open already, or the current one
  int before_;
};
void* device_allocate(size_t bytes);
size_t device_bytes();  // allocated now on the current device
void device_free(void* p);
void watch_faults();  // makes accesses outside of device memory errors of the kernel
void check_slack();   // fails if bytes around an allocation were overwritten

}  // namespace cuda_emulation
