#pragma once

#include <cuda_runtime_api.h>

#include <mutex>
#include <vector>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/cuda.hpp>
#include <attune/backend/cuda/late_number.hpp>

namespace attune::cuda {

/// A number in pinned host memory, and when it has arrived.
struct LateNumber::Slot {
  int ordinal = 0;
  float* host = nullptr;
  cudaEvent_t arrived = nullptr;
};

namespace {
/// Slots are used again and never given back, as freeing pinned memory waits for the device.
struct LateNumberSlots {
  std::mutex mutex;
  std::vector<LateNumber::Slot*> free;

  static LateNumberSlots& all() {
    static auto& slots = *new LateNumberSlots;
    return slots;
  }
  LateNumber::Slot* take(int ordinal) {
    const std::lock_guard lock(mutex);
    for (LateNumber::Slot*& slot : free)
      if (slot->ordinal == ordinal) {
        std::swap(slot, free.back());
        LateNumber::Slot* const found = free.back();
        free.pop_back();
        return found;
      }
    auto* const made = new LateNumber::Slot{ordinal};
    void* pinned = nullptr;
    check(cudaMallocHost(&pinned, sizeof(float)), "cudaMallocHost");
    made->host = static_cast<float*>(pinned);
    check(cudaEventCreateWithFlags(&made->arrived, cudaEventDisableTiming), "cudaEventCreate");
    return made;
  }
};
}  // namespace

LateNumber::~LateNumber() {
  if (!slot_) return;
  LateNumberSlots& slots = LateNumberSlots::all();
  const std::lock_guard lock(slots.mutex);
  slots.free.push_back(slot_);
}

void LateNumber::request(const Cuda& device, const float* number) {
  select_device(device.ordinal());
  if (!slot_) slot_ = LateNumberSlots::all().take(device.ordinal());
  check(
      cudaMemcpyAsync(slot_->host, number, sizeof(float), cudaMemcpyDeviceToHost, device.context().stream()),
      "download");
  check(cudaEventRecord(slot_->arrived, device.context().stream()), "cudaEventRecord");
}

float LateNumber::get() const {
  check(cudaEventSynchronize(slot_->arrived), "cudaEventSynchronize");
  return *slot_->host;
}

}  // namespace attune::cuda
