#pragma once

#include <attune/ops/linear.hpp>

namespace attune {

/// y = x W^T + b, as torch.nn.Linear: weight [out, in], bias [out].
template <class T, class B>
struct Linear {
  Parameter<T, B> weight, bias;

  Linear() = default;
  /// `fused` layers of equal size in one: see Parameter.
  Linear(const B& device, std::int64_t in_features, std::int64_t out_features, bool with_bias = true,
         int fused = 1)
      : weight(device, {out_features, in_features}, Init::normal, fused) {
    if (with_bias) bias = Parameter<T, B>(device, {out_features}, Init::zeros, fused);
  }

  Tensor<T, B> operator()(const Tensor<T, B>& x, Unary activation = Unary::identity) const {
    return linear(x, weight, bias, activation);
  }

  /// Some output features as a layer of their own, sharing the parameters.
  Linear rows(std::int64_t begin, std::int64_t end) const {
    Linear part;
    part.weight = weight.rows(begin, end);
    if (bias) part.bias = bias.rows(begin, end);
    return part;
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("weight", self.weight);
    part("bias", self.bias);
  }
};

}  // namespace attune
