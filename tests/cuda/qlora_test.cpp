// Adapters on a quantised base on the CUDA backend against the CPU.
#include <doctest/doctest.h>

#include <cmath>

#include "peft/quantized_base.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

TEST_CASE("Cuda: training adapters on quantised blocks gives the CPU's losses, gradients and logits") {
  tested_device();
  const TemporaryDirectory directory;
  const std::string path = write_gguf(directory, BlockType::q4_1);
  const auto found = train<LlamaForCausalLM<float, Cuda>>(path, true);
  const auto expected = train<LlamaForCausalLM<float, Cpu>>(path, true);
  REQUIRE(found.size() == expected.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(found[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  CHECK(std::sqrt(difference / size) < 1e-4);
  CHECK(found[0] == doctest::Approx(expected[0]).epsilon(1e-5));
}
