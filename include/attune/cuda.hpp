#pragma once

/// The backend for NVIDIA GPUs. A program that names Cuda itself includes this file and links attune::cuda;
/// with_device() needs no more than the link.

#include <attune/backend/cuda/cuda.hpp>
