// The host side of the CUDA backend: devices, streams, memory.
#include <attune/backend/cuda/context.inl.hpp>
#include <attune/backend/cuda/device_memory.inl.hpp>
#include <attune/backend/cuda/late_number.inl.hpp>
