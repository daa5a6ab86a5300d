#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <attune/tensor/detached.hpp>

namespace attune {

/// A tensor that an operation keeps for its backward. Reading it checks that nobody wrote into it meanwhile.
template <class T, class B>
class Saved {
 public:
  Saved() = default;
  Saved(Detached<T, B> value)  // NOLINT: saving is assignment
      : value_(std::move(value)), version_(value_.storage().version()) {}

  explicit operator bool() const { return static_cast<bool>(value_); }
  /// Throws GraphError when the value changed since it was saved.
  const Detached<T, B>& get() const {
    if (value_ && value_.storage().version() != version_)
      throw GraphError("backward: a tensor of shape " + value_.shape().to_string() +
                       " that was saved for the gradient has been changed in place (version " +
                       std::to_string(version_) + " was saved, found " +
                       std::to_string(value_.storage().version()) + ")");
    return value_;
  }

 private:
  Detached<T, B> value_;
  std::uint64_t version_ = 0;
};

}  // namespace attune
