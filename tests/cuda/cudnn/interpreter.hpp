#pragma once

#include <attune/backend/cuda/cudnn/api.inl.hpp>

namespace attune::testing {

/// The functions of `real` with an interpreter in place of execution. Descriptors are made, checked and
/// planned by the real library; what they were given is recorded on the way. Execution computes the recorded
/// graph on the emulated device's memory, in the order of the stream that was set last.
///
/// It is strict: everything that a graph's sequence lengths leave out is NaN and is never written, a plan's
/// workspace is overwritten, and an operation, type or pointer that it does not know throws
/// cuda_emulation::Error.
cuda::cudnn::Api interpreting_api(const cuda::cudnn::Api& real);

/// What the tests' plans are bound to in place of a real handle.
cudnnHandle_t interpreter_handle();

/// How many plans were executed.
int executed_plans();

}  // namespace attune::testing
