#pragma once

namespace attune::detail {

/// A float on the device of a backend, read later: get() waits for the work that was queued before request()
/// and for none that came after. This one is for backends whose work is done when a call returns; others
/// bring their own as B::LateNumber.
template <class B>
struct LateNumberOf {
  class type {
   public:
    void request(const B& device, const float* number) { device.download(&value_, number, sizeof value_); }
    float get() const { return value_; }

   private:
    float value_ = 0.0f;
  };
};
template <class B>
requires requires { typename B::LateNumber; }
struct LateNumberOf<B> {
  using type = typename B::LateNumber;
};

}  // namespace attune::detail
