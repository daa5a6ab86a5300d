#pragma once

#include <attune/backend/cuda/cuda.hpp>

namespace attune::testing {

/// The device of these tests: the machine's first GPU. tests/cuda/emulated has the other one.
inline Cuda tested_device() {
  static const Cuda device;
  return device;
}

}  // namespace attune::testing
