// Device memory: every allocation has pages of its own, ends at a guard page, is filled with NaN,
// is closed to the host and is quarantined when freed.
#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>

#include <emulation/engine.hpp>

namespace cuda_emulation {

namespace {

struct Allocation {
  char *map, *user;
  size_t mapped, bytes;  // mapped excludes the guard page
  int device;
};
using Allocations = std::map<const char*, Allocation>;  // by map
Allocations live, freed;
std::deque<const char*> quarantine;  // the keys of freed, oldest first
constexpr size_t quarantined = 4096;
constexpr int closed = -1;
int opened = closed;  // the device whose memory is open

const Allocation* find(const Allocations& in, const void* address) {
  const char* p = static_cast<const char*>(address);
  auto it = in.upper_bound(p);
  if (it == in.begin()) return nullptr;
  const Allocation& a = std::prev(it)->second;
  return p < a.map + a.mapped + page_bytes ? &a : nullptr;
}

struct Fault {
  const char* what;
  bool write;
  long offset;
  size_t bytes;
  void* pc;
} fault;

std::string describe_fault() {
  char** symbol = backtrace_symbols(&fault.pc, 1);
  std::string text = std::string(fault.what) + (fault.write ? ": write" : ": read") + " at byte " +
                     std::to_string(fault.offset) + " of a " + std::to_string(fault.bytes) +
                     "-byte device allocation, pc " + (symbol ? symbol[0] : "?");
  std::free(symbol);
  return text;
}

// Runs on the faulting CUDA thread's own stack, after the signal handler has returned.
void fault_landing() {
  static std::string text;
  text = describe_fault();
  fail(text.c_str());
}

// The handler does not leave by switching stacks, which would confuse TSan's signal bookkeeping:
// it redirects the interrupted code to fault_landing and returns.
void on_fault(int signal_number, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const char* address = static_cast<const char*>(info->si_addr);
  if (current && in_stack_guard(current_fiber(), address)) {
    std::fprintf(stderr, "cuda_emulation: DETECTED stack overflow in kernel %s (see stack_bytes)\n",
                 block.kernel);
    _exit(86);
  }
  const Allocation* in_live = find(live, address);
  const Allocation* a = in_live ? in_live : find(freed, address);
  if (!a) {
    signal(signal_number, SIG_DFL);  // not ours: fault again and die
    return;
  }
  fault = {!current  ? "host touches device memory"
           : in_live ? a->device == opened || address >= a->map + a->mapped ? "out of bounds"
                                                                            : "memory of another device"
                     : "use after free",
           (registers[REG_ERR] & 2) != 0, static_cast<long>(address - a->user), a->bytes,
           reinterpret_cast<void*>(registers[REG_RIP])};
  if (!current) {  // an exception cannot be thrown from an arbitrary host instruction
    std::fprintf(stderr, "cuda_emulation: DETECTED %s\n", describe_fault().c_str());
    _exit(86);
  }
  registers[REG_RSP] = ((registers[REG_RSP] - 256) & ~15LL) - 8;  // below the red zone, as called
  registers[REG_RIP] = reinterpret_cast<greg_t>(&fault_landing);
}

}  // namespace

// Test frameworks have handlers of their own, which they put in place before each test.
void watch_faults() {
  struct sigaction present {};
  sigaction(SIGSEGV, nullptr, &present);
  if (present.sa_sigaction == on_fault) return;
  static char handler_stack[1 << 16];  // a CUDA thread's own stack may be the cause
  stack_t alternate{};
  alternate.ss_sp = handler_stack;
  alternate.ss_size = sizeof handler_stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
}

namespace {

void set_open(int device) {
  if (!config().isolate || opened == device) return;
  for (auto& [map, a] : live) {
    if (a.device == opened || a.device == device) {
      mprotect(a.map, a.mapped, a.device == device ? PROT_READ | PROT_WRITE : PROT_NONE);
    }
  }
  opened = device;
}

}  // namespace

int MemoryWindow::open_device() { return opened == closed ? current_device() : opened; }
MemoryWindow::MemoryWindow(int device) : before_(opened) { set_open(device); }
MemoryWindow::~MemoryWindow() { set_open(before_); }

// All bytes 0xff: a NaN in every floating type. Not memset, which TSan would see.
void poison(void* p, size_t bytes) {
  asm volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(0xff) : "memory");
}

bool is_device_range(const void* p, size_t bytes) {
  const Allocation* a = find(live, p);
  const char* begin = static_cast<const char*>(p);
  return a && begin >= a->user && begin + bytes <= a->user + a->bytes;
}

int device_of(const void* p) {
  const Allocation* a = find(live, p);
  return a ? a->device : -1;
}

bool was_device(const void* p) { return find(freed, p); }

size_t device_alignment(const void* p) {
  const Allocation* a = find(live, p);
  if (!a) return 0;
  const size_t offset = static_cast<size_t>(static_cast<const char*>(p) - a->user) | 256;
  return offset & (~offset + 1);
}

size_t device_bytes() {
  size_t sum = 0;
  for (const auto& [map, a] : live) {
    if (a.device == current_device()) sum += a.bytes;
  }
  return sum;
}

void* device_allocate(size_t bytes) {
  watch_faults();
  const size_t mapped = (std::max<size_t>(bytes, 1) + page_bytes - 1) / page_bytes * page_bytes;
  void* map = mmap(nullptr, mapped + page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(map);
  mprotect(begin + mapped, page_bytes, PROT_NONE);
  poison(begin, mapped);
  // 16-byte vectors must be aligned, so up to 15 bytes remain before the guard: check_slack.
  char* user = begin + mapped - (std::max<size_t>(bytes, 1) + 15) / 16 * 16;
  live[begin] = {begin, user, mapped, bytes, current_device()};
  if (config().isolate && opened != current_device()) mprotect(begin, mapped, PROT_NONE);
  return user;
}

void device_free(void* p) {
  if (!p) return;
  const Allocation* a = find(live, p);
  if (!a || a->user != p) fail("free of an unknown or already freed device pointer");
  mprotect(a->map, a->mapped, PROT_NONE);
  madvise(a->map, a->mapped, MADV_DONTNEED);  // the address range stays taken, the memory goes
  freed[a->map] = *a;
  quarantine.push_back(a->map);
  live.erase(a->map);
  if (quarantine.size() > quarantined) {  // a process has only so many mappings
    const Allocation& oldest = freed.at(quarantine.front());
    munmap(oldest.map, oldest.mapped + page_bytes);
    freed.erase(quarantine.front());
    quarantine.pop_front();
  }
}

void check_slack() {
  auto overwritten = [](const char* begin, const char* end) {
    return std::any_of(begin, end, [](char c) { return c != static_cast<char>(0xff); });
  };
  for (auto& [map, a] : live) {
    if (config().isolate && a.device != opened) continue;
    if (overwritten(a.user + a.bytes, a.map + a.mapped)) {
      fail("a kernel wrote just past a ", a.bytes, "-byte allocation");
    }
    if (overwritten(std::max(a.map, a.user - 64), a.user)) {
      fail("a kernel wrote just before a ", a.bytes, "-byte allocation");
    }
  }
}

}  // namespace cuda_emulation
