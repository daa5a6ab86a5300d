#pragma once

#include <span>

#include <attune/backend/backend.hpp>
#include <attune/tensor/detached.hpp>

namespace attune::detail {

/// factor * the sum of `losses`: one number on the device. By a multiplication, because axpby's factors are
/// float: too coarse where the losses are double.
template <class W, class B>
Detached<W, B> scaled_total(const Detached<W, B>& losses, double factor) {
  const B& device = losses.device();
  const Detached<W, B> total(device, {}), result(device, {}),
      scale = Detached<W, B>::full(device, {}, factor);
  device.total(std::span<const W>(losses.span()), total.data());
  device.binary(Binary::multiply, MatrixView<const W>(total.matrix()), MatrixView<const W>(scale.matrix()),
                result.matrix());
  return result;
}

}  // namespace attune::detail
