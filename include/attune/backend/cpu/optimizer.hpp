#pragma once

#include <span>

#include <attune/backend/backend.hpp>
#include <attune/core/inline.hpp>

namespace attune::cpu {

struct Optimizer {
  void grad_norm(ArenaView arena, std::span<const ParameterChunk> chunks, float* norm) const;
  void clip_scale(const float* norm, float max_norm, float* scale) const;
  void adamw(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const AdamWGroup> groups,
             const float* scale) const;
  void sgd(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const SgdGroup> groups,
           const float* scale) const;
};

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/optimizer.inl.hpp>
#endif
