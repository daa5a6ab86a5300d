// Barriers, warp operations, fences and the bookkeeping of asynchronous copies.
#include <algorithm>
#include <bit>

#include <emulation/engine.hpp>
#include <emulation/sanitizers.hpp>

namespace cuda_emulation {

int barrier(BarrierResult kind, bool predicate, Site site) {
  const char* name = "sync_block";
  if (block.exited) {
    fail(Place{name, site}, ": barrier after ", block.exited, " thread(s) of the block have exited");
  }
  Fiber& self = current_fiber();
  if (block.at_barrier == 0) {
    block.predicate_sum = 0;
    block.first_at_barrier = static_cast<unsigned>(&self - block.fibers);
  } else if (const Fiber& first = block.fibers[block.first_at_barrier];
             first.waits_at.line != site.line || first.waits_at.file != site.file) {
    fail("divergent barrier: ", Place{name, site}, " while thread ", block.first_at_barrier, " waits in ",
         Place{first.waits_in, first.waits_at});
  }
  self.waits_at = site;
  self.waits_in = name;
  block.predicate_sum += predicate;
  char* order = sync_objects.barrier() + (block.phase & 1) * SyncObjects::spacing;
  tsan::release(order);
  if (++block.at_barrier == block.live) {
    block.at_barrier = 0;
    ++block.phase;
    block.predicate_result = block.predicate_sum;
    for (unsigned i = 0; i < block.threads; ++i) {
      if (block.fibers[i].state == State::at_barrier) block.fibers[i].state = State::ready;
    }
    suspend(State::ready);  // the last to arrive has no head start
  } else {
    suspend(State::at_barrier);
  }
  tsan::acquire(order);
  switch (kind) {
    case BarrierResult::all:
      return block.predicate_result == static_cast<int>(block.threads);
    case BarrierResult::any:
      return block.predicate_result != 0;
    default:
      return block.predicate_result;
  }
}

static float bf16_half(uint32_t word, int high) {
  return std::bit_cast<float>(high ? word & 0xffff0000u : word << 16);
}

// Fragment layouts of m16n8k16 with 16-bit operands: in lane l, q = l / 4 and t = l % 4,
//   A register r, half h: row q + 8 (r & 1),  column 2 t + 8 (r >> 1) + h
//   B register r, half h: row 2 t + 8 r + h,  column q
//   C, D register r:      row q + 8 (r >> 1), column 2 t + (r & 1)
static void multiply_accumulate(const Fiber* lanes) {
  float a[16][16], b[16][8], d[16][8];
  for (int l = 0; l < 32; ++l) {
    const MmaOperands& m = *lanes[l].mma;
    const int q = l >> 2, t = l & 3;
    for (int h = 0; h < 2; ++h) {
      for (int r = 0; r < 4; ++r) {
        a[q + 8 * (r & 1)][2 * t + 8 * (r >> 1) + h] = bf16_half(m.a[r], h);
      }
      for (int r = 0; r < 2; ++r) b[2 * t + 8 * r + h][q] = bf16_half(m.b[r], h);
    }
    for (int r = 0; r < 4; ++r) d[q + 8 * (r >> 1)][2 * t + (r & 1)] = m.c[r];
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) {
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int l = 0; l < 32; ++l) {
    const int q = l >> 2, t = l & 3;
    for (int r = 0; r < 4; ++r) lanes[l].mma->d[r] = d[q + 8 * (r >> 1)][2 * t + (r & 1)];
  }
}

static int source_lane(const Fiber& f, WarpOp op) {
  const int lane = static_cast<int>(f.lane), segment = lane / f.width * f.width;
  const int inside = lane - segment;
  switch (op) {
    case WarpOp::shuffle_idx:
      return segment + (f.argument & (f.width - 1));
    case WarpOp::shuffle_up:
      return inside < f.argument ? lane : lane - f.argument;
    case WarpOp::shuffle_down:
      return inside + f.argument >= f.width ? lane : lane + f.argument;
    default:
      return (inside ^ f.argument) >= f.width ? lane : segment + (inside ^ f.argument);
  }
}

static void complete(const WarpGroup& group, Fiber* lanes) {
  if (group.op == WarpOp::sync) return;
  if (group.op == WarpOp::mma) return multiply_accumulate(lanes);
  uint64_t votes = 0;
  for (unsigned l = 0; l < 32; ++l) votes |= uint64_t{lanes[l].value != 0} << l;
  for (unsigned l = 0; l < 32; ++l) {
    lanes[l].result =
        group.op == WarpOp::ballot ? votes & group.mask : lanes[source_lane(lanes[l], group.op)].value;
  }
}

void warp_operation(unsigned mask, WarpOp op, const char* name, Site site) {
  Fiber& self = current_fiber();
  Fiber* lanes = block.fibers + self.warp * 32;
  if (block.threads < (self.warp + 1) * 32) {
    fail(Place{name, site},
         ": the mask names lanes that do not exist (block size not a multiple "
         "of 32)");
  }
  for (unsigned l = 0; l < 32; ++l) {
    if ((mask >> l & 1) && lanes[l].state == State::done) {
      fail(Place{name, site}, ": the mask names lane ", l, ", which has exited");
    }
  }
  // Masks are always full (the port header offers nothing else), so a warp gathers for one
  // operation at a time.
  WarpGroup& group = block.warps[self.warp];
  if (group.arrived == 0) {
    group = {mask, 0, op, name, site};
  } else if (group.op != op || group.site.line != site.line || group.site.file != site.file) {
    fail(Place{name, site}, ": other lanes of the mask are in ", Place{group.name, group.site});
  }
  group.arrived |= 1u << self.lane;
  self.waits_at = site;
  self.waits_in = name;
  char* order = sync_objects.warp(self.warp);
  if (op == WarpOp::sync) tsan::release(order);  // the others order no memory accesses
  if (group.arrived == mask) {
    complete(group, lanes);
    group.arrived = 0;
    for (unsigned l = 0; l < 32; ++l) {
      if (l != self.lane) lanes[l].state = State::ready;
    }
    suspend(State::ready);
  } else {
    suspend(State::in_warp_operation);
  }
  if (op == WarpOp::sync) tsan::acquire(order);
}

// A fence before an atomic releases what preceded the fence; a fence after an atomic acquires.
// What preceded the fence is kept in a context of its own: writes made between the fence and the
// atomic are not published.
void fence() {
  Fiber& self = current_fiber();
  for (void* p : self.atomics_since_fence) tsan::acquire(p);
  self.atomics_since_fence.clear();
  tsan::release(&self.tsan_fence_sync);
  self.fenced = true;
}

void after_atomic(void* address) {
  if constexpr (!tsan::enabled) return;
  Fiber& self = current_fiber();
  if (self.fenced) {
    if (!self.tsan_fence_context) {
      // Created by the scheduler: a context starts out knowing what its creator knows.
      tsan::in_context(scheduler.tsan_context, [&] { self.tsan_fence_context = tsan::create_context(); });
    }
    tsan::in_context(self.tsan_fence_context, [&] {
      tsan::acquire(&self.tsan_fence_sync);
      tsan::release(address);
    });
  }
  self.atomics_since_fence.push_back(address);
}

void cp_async_issue(const AsyncCopy& copy) { current_fiber().copies.push_back(copy); }

void cp_async_commit() {
  Fiber& self = current_fiber();
  self.copy_groups.push_back(self.copies.size());
}

bool cp_async_next(size_t keep, AsyncCopy* copy) {
  Fiber& self = current_fiber();
  const size_t groups = self.copy_groups.size();
  const size_t end = groups > keep ? self.copy_groups[groups - keep - 1] : 0;
  if (self.copies_done >= end) return false;
  *copy = self.copies[self.copies_done++];
  return true;
}

}  // namespace cuda_emulation
