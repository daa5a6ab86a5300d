// Attention by the installed cuDNN on this machine's GPU, and by the own kernels, against the CPU.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <cuda_runtime_api.h>

#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/cudnn/attention.hpp>

#include "attention_runs.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;
using namespace attune::testing::attention_runs;

namespace {

bool same_bits(const Results& a, const Results& b) {
  const auto same = [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof x[0]) == 0;
  };
  return same(a.y, b.y) && same(a.gradients, b.gradients) && same(a.lse, b.lse);
}

std::vector<std::int32_t> many_lengths() {
  std::vector<std::int32_t> lengths;
  for (std::int32_t i = 0; i < 37; ++i) lengths.push_back(1 + 97 * i % 128);
  return lengths;
}

/// Whether cuDNN is expected to take all of these cases: it is there, and on compute capability 9.
bool takes_all(const Cuda& device) {
  int major = 0;
  cuda::check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.ordinal()),
              "cudaDeviceGetAttribute");
  return major == 9 && cuda::cudnn::describe(device.context()).starts_with("cuDNN");
}

/// Every case by cuDNN where it is installed and by the own kernels; both give the same bits twice.
void check_both(const std::vector<std::int32_t>& lengths) {
  const Cuda device = tested_device();
  std::uint64_t cases = 0, before = cuda::cudnn::executions();
  for_each_case(lengths, [&](const Case& c) {
    ++cases;
    const Results expected = run(Cpu(), c);
    for (const bool allowed : {true, false}) {
      CAPTURE(allowed);
      device.context().allow_cudnn(allowed);
      const Results found = run(device, c);
      check_equal(found, expected);
      CHECK(same_bits(run(device, c), found));
    }
  });
  device.context().allow_cudnn(true);
  const std::uint64_t graphs = cuda::cudnn::executions() - before;
  if (takes_all(device)) CHECK(graphs == 4 * cases);  // forward and backward, twice
  MESSAGE(cuda::cudnn::describe(device.context()), ": ", graphs, " graphs in ", 2 * cases,
          " forwards and backwards each");
}

}  // namespace

TEST_CASE("Cuda: attention by cuDNN and by own kernels, with an empty sequence") {
  check_both({5, 0, 1, 50});
}
TEST_CASE("Cuda: attention by cuDNN and by own kernels, sequences of one length") {
  check_both(std::vector<std::int32_t>(16, 128));
}
TEST_CASE("Cuda: attention by cuDNN and by own kernels, many sequences") { check_both(many_lengths()); }
TEST_CASE("Cuda: attention by cuDNN and by own kernels, long sequences") { check_both({511, 1024, 77, 300}); }
