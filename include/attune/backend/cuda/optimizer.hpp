#pragma once

#include <span>

#include <attune/backend/backend.hpp>

namespace attune::cuda {

// Bodies: kernels/optimizer.cuh.
struct Optimizer {
  void grad_norm(ArenaView arena, std::span<const ParameterChunk> chunks, float* norm) const;
  void clip_scale(const float* norm, float max_norm, float* scale) const;
  void adamw(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const AdamWGroup> groups,
             const float* scale) const;
  void sgd(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const SgdGroup> groups,
           const float* scale) const;
};

}  // namespace attune::cuda
