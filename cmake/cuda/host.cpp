// The host side of the CUDA backend: devices, streams, memory, and the library that computes products.
#include <attune/backend/cuda/context.inl.hpp>
#include <attune/backend/cuda/device_memory.inl.hpp>
#include <attune/backend/cuda/gemm.inl.hpp>
#include <attune/backend/cuda/late_number.inl.hpp>
