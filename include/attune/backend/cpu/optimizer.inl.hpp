#pragma once

#include <algorithm>
#include <cmath>

#include <attune/backend/cpu/optimizer.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

/// The master's numbers in the type that is computed with.
inline void round_parameters(const ParameterChunk& chunk, const float* master) {
  if (!chunk.rounded) return;
  if (chunk.rounded_type == DType::bf16) {
    narrow(master, static_cast<bfloat16*>(chunk.rounded), chunk.size);
  } else if (chunk.rounded_type == DType::f64) {
    std::copy_n(master, chunk.size, static_cast<double*>(chunk.rounded));
  } else {
    std::copy_n(master, chunk.size, static_cast<float*>(chunk.rounded));
  }
}

ATTUNE_INLINE void Optimizer::grad_norm(ArenaView arena, std::span<const ParameterChunk> chunks,
                                        float* norm) const {
  Scratch scratch;
  auto* const squares = scratch.take<double>(static_cast<std::int64_t>(chunks.size()));
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t index) {
    const ParameterChunk& chunk = chunks[static_cast<std::size_t>(index)];
    const float* const gradient = arena.grad + chunk.offset;
    double sums[4] = {};
    std::int64_t i = 0;
    for (; i + 4 <= chunk.size; i += 4)
      for (int lane = 0; lane < 4; ++lane) {
        const double value = static_cast<double>(gradient[i + lane]);
        sums[lane] += value * value;
      }
    for (; i < chunk.size; ++i)
      sums[0] += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
    squares[index] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  });
  double sum = 0.0;
  for (std::size_t i = 0; i < chunks.size(); ++i) sum += squares[i];
  *norm = static_cast<float>(std::sqrt(sum));
}

ATTUNE_INLINE void Optimizer::clip_scale(const float* norm, float max_norm, float* scale) const {
  *scale = std::isfinite(*norm) ? std::min(1.0f, max_norm / (*norm + 1e-6f)) : __builtin_nanf("");
}

ATTUNE_INLINE void Optimizer::adamw(ArenaView arena, std::span<const ParameterChunk> chunks,
                                    std::span<const AdamWGroup> groups, const float* scale) const {
  const float factor = scale ? *scale : 1.0f;
  if (std::isnan(factor)) return;
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t index) {
    const ParameterChunk& chunk = chunks[static_cast<std::size_t>(index)];
    const AdamWGroup group = groups[static_cast<std::size_t>(chunk.group)];
    float* const p = arena.master + chunk.offset;
    const float* const g = arena.grad + chunk.offset;
    float* const m = arena.first_moment + chunk.offset;
    float* const v = arena.second_moment + chunk.offset;
    const float keep = 1.0f - group.lr * group.weight_decay;
    const float beta1 = group.beta1, rest1 = 1.0f - group.beta1;
    const float beta2 = group.beta2, rest2 = 1.0f - group.beta2;
    const float step = group.lr / group.bias_correction1, eps = group.eps;
    const float inverse_root = 1.0f / std::sqrt(group.bias_correction2);
    for (std::int64_t i = 0; i < chunk.size; ++i) {
      const float gradient = g[i] * factor;
      m[i] = beta1 * m[i] + rest1 * gradient;
      v[i] = beta2 * v[i] + rest2 * gradient * gradient;
      p[i] = keep * p[i] - step * m[i] / (std::sqrt(v[i]) * inverse_root + eps);
    }
    round_parameters(chunk, p);
  });
}

ATTUNE_INLINE void Optimizer::sgd(ArenaView arena, std::span<const ParameterChunk> chunks,
                                  std::span<const SgdGroup> groups, const float* scale) const {
  const float factor = scale ? *scale : 1.0f;
  if (std::isnan(factor)) return;
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t index) {
    const ParameterChunk& chunk = chunks[static_cast<std::size_t>(index)];
    const SgdGroup group = groups[static_cast<std::size_t>(chunk.group)];
    float* const p = arena.master + chunk.offset;
    const float* const g = arena.grad + chunk.offset;
    if (group.momentum == 0.0f) {
      for (std::int64_t i = 0; i < chunk.size; ++i)
        p[i] -= group.lr * (g[i] * factor + group.weight_decay * p[i]);
    } else {
      float* const buffer = arena.first_moment + chunk.offset;
      const float keep = group.first ? 0.0f : group.momentum,
                  take = group.first ? 1.0f : 1.0f - group.dampening;
      for (std::int64_t i = 0; i < chunk.size; ++i) {
        const float gradient = g[i] * factor + group.weight_decay * p[i];
        const float old = group.first ? 0.0f : buffer[i];  // at first it holds nothing
        buffer[i] = keep * old + take * gradient;
        p[i] -= group.lr * (group.nesterov ? gradient + group.momentum * buffer[i] : buffer[i]);
      }
    }
    round_parameters(chunk, p);
  });
}

}  // namespace attune::cpu
