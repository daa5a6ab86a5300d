#pragma once

#include <cstdlib>
#include <sstream>
#include <string>

#include <attune/backend/cuda/cuda.hpp>
#include <emulation/emulator.hpp>

namespace attune::testing {

/// The device of these tests: the emulated one, run as the variable ATTUNE_EMULATION says: "depth" (a warp
/// goes as far as it can), "reverse", "seed=N" (blocks and threads in an order drawn from N), in any
/// combination; without one, in rounds. "plain-blas" is a cuBLASLt without gelu. Each array is an allocation
/// of its own, so that every access past its end is seen.
inline Cuda tested_device() {
  static const Cuda device = [] {
    cuda_emulation::Config& config = cuda_emulation::config();
    const char* schedule = std::getenv("ATTUNE_EMULATION");
    std::istringstream words(schedule ? schedule : "");
    for (std::string word; words >> word;) {
      if (word == "depth") config.order = cuda_emulation::Order::depth;
      if (word == "reverse") config.reverse = true;
      if (word == "plain-blas") config.blas_gelu = false;
      if (word.rfind("seed=", 0) == 0) {
        config.shuffle = true;
        config.seed = static_cast<unsigned>(std::stoul(word.substr(5)));
      }
    }
    const Cuda first;
    first.context().memory().set_caching(false);
    first.context().allow_cudnn(false);  // the tests in cudnn/ set plans of their own
    return first;
  }();
  return device;
}

}  // namespace attune::testing
