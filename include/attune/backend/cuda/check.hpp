#pragma once

namespace attune::cuda {

/// Makes the device the calling thread's current one.
void select_device(int ordinal);

/// Throws DeviceError, naming what was done and the runtime's words, unless the status (a cudaError_t) is 0.
void check(int status, const char* what);

}  // namespace attune::cuda
