// How many pieces of work operations put into the device's stream, which the emulator counts.
#include <doctest/doctest.h>

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include <attune/backend/cuda/check.hpp>
#include <attune/tensor/detached.hpp>

#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

/// How many kernels, products and copies a call puts into the stream.
template <class F>
int work_of(const Cuda& device, const F& call) {
  cudaEvent_t begin, end;
  cuda::check(cudaEventCreateWithFlags(&begin, cudaEventDefault), "event");
  cuda::check(cudaEventCreateWithFlags(&end, cudaEventDefault), "event");
  cudaEventRecord(begin, device.context().stream());
  call();
  cudaEventRecord(end, device.context().stream());
  cudaEventSynchronize(end);
  float pieces = 0.0f;
  cuda::check(cudaEventElapsedTime(&pieces, begin, end), "elapsed");
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return static_cast<int>(pieces);
}

template <class T>
void check_products(int with_gelu, int with_bias_gradient) {
  const Cuda device = tested_device();
  const auto ones = [&](std::int64_t rows, std::int64_t cols) {
    return Detached<T, Cuda>::full(device, {rows, cols}, 0.5);
  };
  const auto x = ones(6, 16), w = ones(24, 16), dy = ones(6, 16), w2 = ones(16, 24), pre = ones(6, 24),
             y = ones(6, 24);
  const auto bias = Detached<T, Cuda>::full(device, {24}, 0.5);
  const auto sums = Detached<float, Cuda>::full(device, {24}, 0.0);
  const auto linear = [&](Unary activation, MatrixView<T> saved) {
    return work_of(device, [&] {
      device.linear(x.matrix(), w.matrix(), std::span<const T>(bias.span()), activation, saved, y.matrix());
    });
  };
  CHECK(linear(Unary::identity, {}) == 1);
  CHECK(linear(Unary::gelu_tanh, {}) == with_gelu);
  CHECK(linear(Unary::gelu_tanh, pre.matrix()) == with_gelu);
  CHECK(linear(Unary::gelu, pre.matrix()) == 2);
  const auto backward = [&](std::span<float> bias_grad, bool accumulate) {
    return work_of(device, [&] {
      matmul_activation_backward<Cuda, T>(device, dy.matrix(), w2.matrix(), Unary::gelu_tanh, pre.matrix(),
                                          y.matrix(), bias_grad, accumulate);
    });
  };
  CHECK(backward({}, false) == 1);
  CHECK(backward(sums.span(), false) == with_bias_gradient);
  CHECK(backward(sums.span(), true) == 2);
}

}  // namespace

TEST_CASE("Cuda: bias and gelu's tanh form are part of the product, and their gradients") {
  check_products<float>(2, 1);     // the library's gelu is not exact to a float
  check_products<bfloat16>(1, 2);  // it would round the sums of the gradient: a kernel of our own
}
