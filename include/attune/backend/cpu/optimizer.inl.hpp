#pragma once

#include <algorithm>
#include <cmath>

#include <attune/backend/cpu/optimizer.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

/// The place in the arena of a chunk's elements from `begin` on. bfloat16 copies are rounded in the same
/// pass.
inline ParameterPointers pointers(const ArenaView& arena, const ParameterChunk& chunk,
                                  std::int64_t begin = 0) {
  const auto at = [&](float* array) { return array ? array + chunk.offset + begin : nullptr; };
  const bool rounds = chunk.rounded && chunk.rounded_type == DType::bf16;
  return {at(arena.master), at(arena.grad), at(arena.first_moment), at(arena.second_moment),
          rounds ? static_cast<bfloat16*>(chunk.rounded) + begin : nullptr};
}

/// What a step does with some rows: `still` ones have neither gradient nor moments.
enum class RowKind { still, moving, with_gradient };

/// Calls f(begin, size, kind) for the rows of a chunk, those of one kind together, with elements as units.
template <class F>
void for_each_kind(const ParameterChunk& chunk, const F& f) {
  if (chunk.row_grads == nullptr) return f(0, chunk.size, RowKind::with_gradient);
  const std::int64_t rows = chunk.size / chunk.row_size;
  const auto kind = [&](std::int64_t row) {
    if (chunk.row_grads[row] != 0) return RowKind::with_gradient;
    return chunk.row_moments != nullptr && chunk.row_moments[row] == 0 ? RowKind::still : RowKind::moving;
  };
  for (std::int64_t begin = 0, end; begin < rows; begin = end) {
    for (end = begin + 1; end < rows && kind(end) == kind(begin);) ++end;
    f(begin * chunk.row_size, (end - begin) * chunk.row_size, kind(begin));
  }
}

/// The master's numbers where they are computed with in another type than bfloat16.
inline void copy_parameters(const ParameterChunk& chunk, const float* master) {
  if (!chunk.rounded || chunk.rounded_type == DType::bf16) return;
  if (chunk.rounded_type == DType::f64)
    std::copy_n(master, chunk.size, static_cast<double*>(chunk.rounded));
  else
    std::copy_n(master, chunk.size, static_cast<float*>(chunk.rounded));
}

ATTUNE_INLINE void Optimizer::grad_norm(ArenaView arena, std::span<const ParameterChunk> chunks,
                                        float* norm) const {
  Scratch scratch;
  auto* const squares = scratch.take<double>(static_cast<std::int64_t>(chunks.size()));
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t index) {
    const ParameterChunk& chunk = chunks[static_cast<std::size_t>(index)];
    squares[index] = 0.0;
    for_each_kind(chunk, [&](std::int64_t begin, std::int64_t size, RowKind kind) {
      if (kind == RowKind::with_gradient)
        squares[index] += kernels().rows.sum_of_squares(arena.grad + chunk.offset + begin, size);
    });
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
    ParameterChunk chunk = chunks[static_cast<std::size_t>(index)];
    const AdamWGroup group = groups[static_cast<std::size_t>(chunk.group)];
    AdamWNumbers numbers{};
    numbers.factor = factor;
    numbers.keep = 1.0f - group.lr * group.weight_decay;
    numbers.beta1 = group.beta1;
    numbers.rest1 = 1.0f - group.beta1;
    numbers.beta2 = group.beta2;
    numbers.rest2 = 1.0f - group.beta2;
    numbers.step = group.lr / group.bias_correction1;
    numbers.inverse_root = 1.0f / std::sqrt(group.bias_correction2);
    numbers.eps = group.eps;
    if (group.eps == 0.0f) chunk.row_grads = nullptr;  // 0 / 0, as everywhere
    for_each_kind(chunk, [&](std::int64_t begin, std::int64_t size, RowKind kind) {
      ParameterPointers at = pointers(arena, chunk, begin);
      if (kind != RowKind::with_gradient) at.grad = nullptr;
      if (kind == RowKind::still) at.first = at.second = nullptr;
      if (kind != RowKind::still || numbers.keep != 1.0f) kernels().rows.adamw(numbers, at, size);
    });
    copy_parameters(chunk, arena.master + chunk.offset);
  });
}

ATTUNE_INLINE void Optimizer::sgd(ArenaView arena, std::span<const ParameterChunk> chunks,
                                  std::span<const SgdGroup> groups, const float* scale) const {
  const float factor = scale ? *scale : 1.0f;
  if (std::isnan(factor)) return;
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t index) {
    const ParameterChunk& chunk = chunks[static_cast<std::size_t>(index)];
    const SgdGroup group = groups[static_cast<std::size_t>(chunk.group)];
    SgdNumbers numbers{};
    numbers.factor = factor;
    numbers.weight_decay = group.weight_decay;
    numbers.lr = group.lr;
    numbers.momentum = group.momentum;
    numbers.keep = group.momentum;
    numbers.take = group.first ? 1.0f : 1.0f - group.dampening;
    numbers.nesterov = group.nesterov;
    numbers.is_first = group.first;
    ParameterPointers at = pointers(arena, chunk);
    if (group.momentum == 0.0f) at.first = nullptr;
    kernels().rows.sgd(numbers, at, chunk.size);
    copy_parameters(chunk, arena.master + chunk.offset);
  });
}

}  // namespace attune::cpu
