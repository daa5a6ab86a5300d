#pragma once

#include <tuple>

#include <attune/ops/add_norm.hpp>
#include <attune/ops/rms_norm.hpp>

namespace attune {

/// As torch.nn.RMSNorm over the last dimension: weight [C].
template <class T, class B>
struct RmsNorm {
  Parameter<T, B> weight;
  float eps = 1e-6f;

  RmsNorm() = default;
  RmsNorm(const B& device, std::int64_t features, float epsilon)
      : weight(device, {features}, Init::ones), eps(epsilon) {}

  Tensor<T, B> operator()(const Tensor<T, B>& x) const { return rms_norm(x, weight, eps); }
  /// The sum residual + x and its norm.
  std::tuple<Tensor<T, B>, Tensor<T, B>> with_sum(const Tensor<T, B>& x, const Tensor<T, B>& residual) const {
    return add_rms_norm(x, residual, weight, eps);
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("weight", self.weight);
  }
};

}  // namespace attune
