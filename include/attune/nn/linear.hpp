#pragma once

#include <cstdint>
#include <memory>

#include <attune/nn/linear_adapter.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/unary.hpp>

namespace attune {

/// y = x W^T + b, as torch.nn.Linear: weight [out, in], bias [out]. Adapters change y when there are any.
template <class T, class B>
struct Linear {
  Parameter<T, B> weight, bias;
  std::shared_ptr<LinearAdapters<T, B>> adapters{};

  Linear() = default;
  /// `fused` layers of equal size in one: see Parameter.
  Linear(const B& device, std::int64_t in_features, std::int64_t out_features, bool with_bias = true,
         int fused = 1)
      : weight(device, {out_features, in_features}, Init::normal, fused),
        adapters(std::make_shared<LinearAdapters<T, B>>()) {
    weight.state()->may_be_quantized = fused == 1;
    if (with_bias) bias = Parameter<T, B>(device, {out_features}, Init::zeros, fused);
  }

  Tensor<T, B> operator()(const Tensor<T, B>& x, Unary activation = Unary::identity) const {
    if (!has_adapters()) return linear(x, weight, bias, activation);
    Tensor<T, B> y = linear(x, weight, bias);
    for (const auto& slot : adapters->slots) {
      if (!slot.active || slot.row_begin < weight.row_begin() || slot.row_end > weight.row_end()) continue;
      const std::int64_t begin = slot.row_begin - weight.row_begin(), end = slot.row_end - weight.row_begin();
      y = slot.adapter->adapted(y, x, begin, weight.rows(begin, end), bias ? bias.rows(begin, end) : bias);
    }
    return activation == Unary::identity ? y : unary(activation, y);
  }

  bool has_adapters() const { return adapters && !adapters->slots.empty(); }

  /// Some output features as a layer of their own, sharing the parameters and adapters.
  Linear rows(std::int64_t begin, std::int64_t end) const {
    Linear part;
    part.weight = weight.rows(begin, end);
    if (bias) part.bias = bias.rows(begin, end);
    part.adapters = adapters;
    return part;
  }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("weight", self.weight);
    part("bias", self.bias);
    if (!self.adapters) return;
    for (auto& slot : self.adapters->slots) {
      if (slot.row_begin != self.weight.row_begin() || slot.row_end != self.weight.row_end()) continue;
      for (auto& own : slot.adapter->parts()) part(own.name + "." + slot.name + ".weight", own.parameter);
      part("lora_dropout." + slot.name, slot.adapter->dropout);
    }
  }
};

}  // namespace attune
