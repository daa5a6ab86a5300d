#pragma once

#include <tuple>

#include <attune/ops/add_norm.hpp>
#include <attune/ops/layer_norm.hpp>

namespace attune {

/// As torch.nn.LayerNorm over the last dimension: weight and bias [C].
template <class T, class B>
struct LayerNorm {
  Parameter<T, B> weight, bias;
  float eps = 1e-5f;

  LayerNorm() = default;
  LayerNorm(const B& device, std::int64_t features, float epsilon)
      : weight(device, {features}, Init::ones), bias(device, {features}, Init::zeros), eps(epsilon) {}

  Tensor<T, B> operator()(const Tensor<T, B>& x) const { return layer_norm(x, weight, bias, eps); }
  /// layer_norm(residual + dropout(x)).
  Tensor<T, B> operator()(const Tensor<T, B>& x, const DropoutMask<B>& mask,
                          const Tensor<T, B>& residual) const {
    return dropout_add_layer_norm(x, mask, residual, weight, bias, eps);
  }
  /// The sum residual + dropout(x) and its norm.
  std::tuple<Tensor<T, B>, Tensor<T, B>> with_sum(const Tensor<T, B>& x, const DropoutMask<B>& mask,
                                                  const Tensor<T, B>& residual) const {
    return add_layer_norm(x, mask, residual, weight, bias, eps);
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("weight", self.weight);
    part("bias", self.bias);
  }
};

}  // namespace attune
