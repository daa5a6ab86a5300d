#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attune/backend/backend.hpp>

namespace attune::reference {

struct Optimizer {
  void grad_norm(ArenaView arena, std::span<const ParameterChunk> chunks, float* norm) const {
    double squares = 0.0;
    for (const ParameterChunk& chunk : chunks)
      for (std::int64_t i = 0; i < chunk.size; ++i) {
        const double gradient = double{arena.grad[chunk.offset + i]};
        squares += gradient * gradient;
      }
    *norm = static_cast<float>(std::sqrt(squares));
  }

  void clip_scale(const float* norm, float max_norm, float* scale) const {
    *scale = std::isfinite(*norm)
                 ? static_cast<float>(std::min(1.0, double{max_norm} / (double{*norm} + 1e-6)))
                 : std::numeric_limits<float>::quiet_NaN();
  }

  /// Loshchilov, Hutter, "Decoupled weight decay regularization", arXiv:1711.05101, as torch.optim.AdamW:
  ///   p -= lr weight_decay p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
  ///   p -= lr (m / c1) / (sqrt(v / c2) + eps),  c_i = 1 - b_i^step.
  void adamw(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const AdamWGroup> groups,
             const float* scale) const {
    if (scale && std::isnan(*scale)) return;
    for (const ParameterChunk& chunk : chunks) {
      const AdamWGroup& group = groups[static_cast<std::size_t>(chunk.group)];
      for (std::int64_t i = 0; i < chunk.size; ++i) {
        const std::int64_t at = chunk.offset + i;
        const double gradient = double{arena.grad[at]} * (scale ? double{*scale} : 1.0);
        double p = double{arena.master[at]} * (1.0 - double{group.lr} * double{group.weight_decay});
        const double m =
            double{group.beta1} * double{arena.first_moment[at]} + (1.0 - double{group.beta1}) * gradient;
        const double v = double{group.beta2} * double{arena.second_moment[at]} +
                         (1.0 - double{group.beta2}) * gradient * gradient;
        p -= double{group.lr} * (m / double{group.bias_correction1}) /
             (std::sqrt(v / double{group.bias_correction2}) + double{group.eps});
        arena.first_moment[at] = static_cast<float>(m);
        arena.second_moment[at] = static_cast<float>(v);
        arena.master[at] = static_cast<float>(p);
        round(chunk, i, arena.master[at]);
      }
    }
  }

  /// As torch.optim.SGD: g += weight_decay p;  b = momentum b + (1 - dampening) g (g itself at the first
  /// step); g = g + momentum b with Nesterov, else b;  p -= lr g. Without momentum there is no b.
  void sgd(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const SgdGroup> groups,
           const float* scale) const {
    if (scale && std::isnan(*scale)) return;
    for (const ParameterChunk& chunk : chunks) {
      const SgdGroup& group = groups[static_cast<std::size_t>(chunk.group)];
      for (std::int64_t i = 0; i < chunk.size; ++i) {
        const std::int64_t at = chunk.offset + i;
        const double p = double{arena.master[at]};
        double gradient =
            double{arena.grad[at]} * (scale ? double{*scale} : 1.0) + double{group.weight_decay} * p;
        if (group.momentum != 0.0f) {
          const double buffer = group.first ? gradient
                                            : double{group.momentum} * double{arena.first_moment[at]} +
                                                  (1.0 - double{group.dampening}) * gradient;
          arena.first_moment[at] = static_cast<float>(buffer);
          gradient = group.nesterov ? gradient + double{group.momentum} * buffer : buffer;
        }
        arena.master[at] = static_cast<float>(p - double{group.lr} * gradient);
        round(chunk, i, arena.master[at]);
      }
    }
  }

 private:
  static void round(const ParameterChunk& chunk, std::int64_t i, float value) {
    if (!chunk.rounded) return;
    if (chunk.rounded_type == DType::bf16)
      static_cast<bfloat16*>(chunk.rounded)[i] = bfloat16(value);
    else if (chunk.rounded_type == DType::f64)
      static_cast<double*>(chunk.rounded)[i] = double{value};
    else
      static_cast<float*>(chunk.rounded)[i] = value;
  }
};

}  // namespace attune::reference
