#pragma once

#include <utility>

namespace attune {
class Cuda;
}

namespace attune::cuda {

/// A float on the device that is read later: get() waits for the work that was queued before request(), and
/// for none that came after.
class LateNumber {
 public:
  struct Slot;

  LateNumber() = default;
  LateNumber(LateNumber&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  LateNumber& operator=(LateNumber&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~LateNumber();

  /// Takes the place of a number that was requested before.
  void request(const Cuda& device, const float* number);
  /// After a request().
  float get() const;

 private:
  Slot* slot_ = nullptr;
};

}  // namespace attune::cuda
