// Runs a kernel: blocks one after the other, the threads of a block as fibers.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>

#include <emulation/engine.hpp>
#include <emulation/sanitizers.hpp>

namespace cuda_emulation {

Block block;
SyncObjects sync_objects;

Config& config() {
  static Config instance;
  return instance;
}

void append(std::string& text, const char* part) { text += part; }
void append(std::string& text, size_t part) { text += std::to_string(part); }
void append(std::string& text, const Place& part) {
  text += part.what;
  text += " at ";
  text += part.site.file;
  text += ":";
  append(text, static_cast<size_t>(part.site.line));
}

void suspend(State state) {
  Fiber& self = current_fiber();
  self.state = state;
  switch_fiber(self, scheduler);
}

void record_failure(std::string&& message) {
  if (!current) throw Error(message);
  char where[256];
  std::snprintf(where, sizeof where, " [kernel %s block (%u,%u,%u) thread (%u,%u,%u)]", block.kernel,
                blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  block.message = std::move(message);
  block.message += where;
  block.failed = true;
}

void abandon_kernel() {
  tsan::release(&sync_objects.finish);
  suspend(State::ready);  // never resumed
  std::abort();
}

namespace {

// The context that frees shared memory. It must know all that the block did, or TSan would report
// the free; the scheduler must not, or it would pass that knowledge to the next block.
void* free_context = nullptr;
constexpr int fiber_sets = tsan::enabled ? 2 : 1;

std::vector<Fiber>& fiber_set(int i) {
  // Never destroyed: TSan contexts cannot be, once main has returned.
  static auto* sets = new std::vector<Fiber>[fiber_sets];
  return sets[i];
}

void* allocate_shared(size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, 128, bytes)) std::abort();  // on the heap, so that ASan guards it
  poison(p, bytes);
  return p;
}

void fiber_main() {
  entered_fiber();
  tsan::acquire(&sync_objects.launch);
  (*block.body)();
  Fiber& self = current_fiber();
  if (block.at_barrier) {
    const Fiber& first = block.fibers[block.first_at_barrier];
    fail("thread exits while thread ", block.first_at_barrier, " waits in ",
         Place{first.waits_in, first.waits_at});
  }
  if (const WarpGroup& g = block.warps[self.warp]; g.arrived) {
    fail("lane exits while its warp waits in ", Place{g.name, g.site});
  }
  if (self.copies.size() > (self.copy_groups.empty() ? 0 : self.copy_groups.back())) {
    fail("cp.async issued but never committed");
  }
  tsan::release(&sync_objects.finish);
  --block.live;
  ++block.exited;
  self.state = State::done;
  switch_fiber(self, scheduler);
  std::abort();
}

// Lets a thread run to its next wait, and serves its request for static shared memory: allocated
// here, the memory belongs to no thread of the block.
void step(Fiber& fiber) {
  switch_fiber(scheduler, fiber);
  if (block.wanted_bytes) {
    block.statics.emplace_back(block.wanted_key, allocate_shared(block.wanted_bytes));
    block.wanted_bytes = 0;
    tsan::release(&sync_objects.allocation);
  }
}

struct Schedule {
  std::vector<unsigned> warps, lanes;

  Schedule(unsigned warp_count, std::mt19937& random) : warps(warp_count), lanes(32) {
    for (auto* order : {&warps, &lanes}) arrange(*order, random);
  }
  static void arrange(std::vector<unsigned>& order, std::mt19937& random) {
    std::iota(order.begin(), order.end(), 0u);
    if (config().reverse) std::reverse(order.begin(), order.end());
    if (config().shuffle) std::shuffle(order.begin(), order.end(), random);
  }
};

// One step of every thread of the warp that can run; false if none can.
bool step_warp(unsigned warp, const Schedule& schedule) {
  bool progress = false;
  for (unsigned lane : schedule.lanes) {
    const unsigned i = warp * 32 + lane;
    if (i >= block.threads || block.fibers[i].state != State::ready) continue;
    progress = true;
    step(block.fibers[i]);
    if (block.failed) break;
  }
  return progress;
}

void schedule_threads(const Schedule& schedule) {
  while (block.live && !block.failed) {
    bool progress = false;
    for (unsigned warp : schedule.warps) {
      while (!block.failed && step_warp(warp, schedule)) {
        progress = true;
        if (config().order == Order::rounds) break;
      }
    }
    if (!progress) {
      Fiber* f = std::find_if(block.fibers, block.fibers + block.threads,
                              [](const Fiber& x) { return x.state != State::done; });
      block.failed = true;
      block.message = "deadlock: thread ";
      append(block.message, static_cast<size_t>(f - block.fibers));
      append(block.message, " waits in ");
      append(block.message, Place{f->waits_in, f->waits_at});
      append(block.message, " [kernel ");
      append(block.message, block.kernel);
      append(block.message, "]");
    }
  }
}

// After a failure: the threads left behind release what they did, so that what follows in this
// process is not reported as a race with them, and get new contexts.
void abandon_threads() {
  for (unsigned i = 0; i < block.threads; ++i) {
    Fiber& f = block.fibers[i];
    if (f.state != State::done) {
      tsan::in_context(f.tsan_context, [] { tsan::release(&sync_objects.finish); });
    }
    recreate_contexts(f);
  }
}

void run_block(std::mt19937& random) {
  static int set = 0;
  set = (set + 1) % fiber_sets;
  block.fibers = fiber_set(set).data();
  block.live = block.threads;
  block.exited = block.at_barrier = 0;
  block.warps.assign((block.threads + 31) / 32, {});
  block.static_bytes = 0;
  block.dynamic = block.dynamic_bytes ? allocate_shared(block.dynamic_bytes) : nullptr;
  sync_objects.next_block();
  tsan::release(&sync_objects.launch);
  for (unsigned i = 0; i < block.threads; ++i) {
    Fiber& f = block.fibers[i];
    reset_fiber(f, fiber_main);
    f.state = State::ready;
    f.lane = i % 32;
    f.warp = i / 32;
    f.thread_index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    f.width = 32;
    f.fenced = false;
    f.atomics_since_fence.clear();
    f.copies.clear();
    f.copy_groups.clear();
    f.copies_done = 0;
  }
  schedule_threads(Schedule((block.threads + 31) / 32, random));
  if (block.failed) abandon_threads();
  tsan::in_context(free_context, [] {
    tsan::acquire(&sync_objects.finish);
    for (auto& [key, memory] : block.statics) std::free(memory);
    std::free(block.dynamic);
  });
  block.statics.clear();
}

}  // namespace

void* static_shared(const void* key, size_t bytes) {
  for (;;) {
    for (auto& [k, memory] : block.statics) {
      if (k == key) {
        tsan::acquire(&sync_objects.allocation);
        return memory;
      }
    }
    if ((block.static_bytes += bytes) > 48 << 10) fail("static shared memory over 48 KiB");
    block.wanted_key = key;
    block.wanted_bytes = bytes;
    suspend(State::ready);
  }
}

void* dynamic_shared() {
  if (!block.dynamic) fail("dynamic shared memory used, none requested at launch");
  return block.dynamic;
}

void run_kernel(dim3 grid, dim3 threads, size_t dynamic_bytes, const char* name,
                const std::function<void()>& body) {
  MemoryWindow window;
  gridDim = grid;
  blockDim = threads;
  block.kernel = name;
  block.body = &body;
  block.threads = threads.x * threads.y * threads.z;
  block.dynamic_bytes = dynamic_bytes;
  block.failed = false;

  watch_faults();
  adopt_host_stack();
  if (!free_context) free_context = tsan::create_context();
  for (int s = 0; s < fiber_sets; ++s) {
    std::vector<Fiber>& set = fiber_set(s);
    while (set.size() < block.threads) create_fiber(set.emplace_back(), config().stack_bytes);
  }

  std::mt19937 random(config().seed);
  std::vector<unsigned> blocks(size_t{grid.x} * grid.y * grid.z);
  Schedule::arrange(blocks, random);
  for (unsigned i : blocks) {
    blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
    run_block(random);
    if (block.failed) break;
  }
  tsan::acquire(&sync_objects.finish);
  if (block.failed) throw Error(block.message);
  check_slack();
}

}  // namespace cuda_emulation
