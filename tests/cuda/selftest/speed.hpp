#pragma once

#include <string>
#include <vector>

#include <attune/backend/cuda/cuda.hpp>

#include "suites/kernel_cases_step.hpp"

namespace attune::testing {

/// How fast a kernel ran.
struct Speed {
  std::string operation, type;
  double microseconds = 0.0;    ///< of one call
  double gigabytes = 0.0;       ///< a second, counting each array once
  double gigaoperations = 0.0;  ///< a second; 0 where bytes are the measure
};

/// Times the kernels of a training step of that size, in float and bfloat16, and AdamW, by events on the
/// device's stream: `repetitions` calls in a row after one that does not count.
std::vector<Speed> measure_speed(const Cuda& device, const StepSizes& sizes, int repetitions);

}  // namespace attune::testing
