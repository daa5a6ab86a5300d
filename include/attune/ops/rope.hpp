#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/tensor/device_segments.hpp>

namespace attune {

namespace detail {

/// Pair (d, d + D/2) of each head rotated by position * frequency[d]; the gradient is rotated back.
/// Su et al. 2021, arXiv:2104.09864, in the half-split layout of Hugging Face's Llama.
template <class T, class B>
struct RopeOp {
  static constexpr const char* name = "rope";
  Detached<std::int32_t, B> positions;
  Detached<Wide<T>, B> frequencies;
  std::int64_t heads;

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const Detached<T, B> y(x.device(), x.shape());
    rotate(x, false, y);
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) { rotate(dy, true, out); });
  }

 private:
  void rotate(const Detached<T, B>& x, bool inverse, const Detached<T, B>& y) const {
    x.device().rope(MatrixView<const T>(x.matrix()), std::span<const std::int32_t>(positions.span()),
                    std::span<const Wide<T>>(frequencies.span()), heads, inverse, y.matrix());
  }
};

}  // namespace detail

/// Rotary position embedding: x [N, H D], positions [N], frequencies [D / 2].
template <class T, class B>
Tensor<T, B> rope(const Tensor<T, B>& x, const Detached<std::int32_t, B>& positions,
                  const Detached<Wide<T>, B>& frequencies, std::int64_t heads) {
  if (x.rank() != 2 || positions.size() != x.shape()[0] || x.shape()[1] != heads * 2 * frequencies.size())
    throw ShapeError("rope: x [N, heads * 2 * frequencies] and N positions are needed, found " +
                     x.shape().to_string() + ", " + std::to_string(positions.size()) + " positions, " +
                     std::to_string(heads) + " heads and " + std::to_string(frequencies.size()) +
                     " frequencies");
  return apply(detail::RopeOp<T, B>{positions, frequencies, heads}, x);
}

}  // namespace attune
