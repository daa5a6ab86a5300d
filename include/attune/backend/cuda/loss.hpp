#pragma once

#include <span>

#include <attune/backend/backend.hpp>

namespace attune::cuda {

// Bodies: kernels/loss.cuh.
template <class T>
struct Loss {
  using W = Wide<T>;

  void cross_entropy(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                     CrossEntropyOptions<W> options, std::span<W> losses, std::span<W> lse) const;
  void cross_entropy_backward(MatrixView<const T> logits, std::span<const std::int32_t> labels,
                              CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                              const W* scale, MatrixView<T> dlogits) const;
  void cross_entropy_backward(MatrixView<const OtherWide<T>> logits, std::span<const std::int32_t> labels,
                              CrossEntropyOptions<W> options, std::span<const W> lse, W factor,
                              const W* scale, MatrixView<T> dlogits) const;
  void mse(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const;
  void mse_backward(std::span<const T> x, std::span<const W> targets, W factor, const W* scale,
                    std::span<T> dx) const;
  void bce_with_logits(std::span<const T> x, std::span<const W> targets, std::span<W> losses) const;
  void bce_with_logits_backward(std::span<const T> x, std::span<const W> targets, W factor, const W* scale,
                                std::span<T> dx) const;
};

}  // namespace attune::cuda
