// attune_gpu_selftest: the suites of the CUDA backend on this machine's GPU, then how fast its kernels are.
//
//     attune_gpu_selftest [--no-speed] [--small] [doctest's options]
//
// Ends with 0 when all passed, 77 where there is no GPU to test. --small measures on small shapes.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <attune/backend/cuda/check.hpp>
#include <attune/core/error.hpp>

#include "speed.hpp"
#include "tested_device.hpp"

namespace {

/// Long causal sequences, with heads that share keys and without.
std::vector<attune::testing::AttentionSizes> long_attention() {
  return {{8, 1024, 12, 12, 64, true},  {8, 1024, 12, 12, 64, true, 0.1f},  {8, 1024, 9, 3, 64, true},
          {4, 1024, 16, 16, 128, true}, {4, 1024, 16, 16, 128, true, 0.1f}, {4, 1024, 32, 8, 128, true}};
}

constexpr int skipped = 77;  // ctest is told that this stands for a test that was not run

struct TestOutcome {
  std::string name;
  bool passed;
  int checks;
  double seconds;
};
std::vector<TestOutcome>& outcomes() {
  static std::vector<TestOutcome> all;
  return all;
}

/// Remembers how each test case ended.
class OutcomeListener : public doctest::IReporter {
 public:
  explicit OutcomeListener(const doctest::ContextOptions&) {}
  void test_case_start(const doctest::TestCaseData& test) override { name_ = test.m_name; }
  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    outcomes().push_back({name_, stats.testCaseSuccess, stats.numAssertsCurrentTest, stats.seconds});
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  std::string name_;
};
REGISTER_LISTENER("outcomes", 1, OutcomeListener);

void print_outcomes() {
  std::printf("\n| suite | result | checks | seconds |\n|---|---|---:|---:|\n");
  for (const TestOutcome& outcome : outcomes())
    std::printf("| %s | %s | %d | %.2f |\n", outcome.name.c_str(), outcome.passed ? "passed" : "FAILED",
                outcome.checks, outcome.seconds);
}

void print_speeds(const std::vector<attune::testing::Speed>& speeds) {
  std::printf("\n| kernel | type | us | GB/s | GFLOP/s |\n|---|---|---:|---:|---:|\n");
  for (const auto& speed : speeds) {
    std::printf("| %s | %s | %.1f | %.0f |", speed.operation.c_str(), speed.type.c_str(), speed.microseconds,
                speed.gigabytes);
    if (speed.gigaoperations > 0.0)
      std::printf(" %.0f |\n", speed.gigaoperations);
    else
      std::printf(" |\n");
  }
}

int test(int argc, char** argv) {
  using namespace attune;
  bool speed = true, small = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--no-speed") speed = false;
    if (std::string_view(argv[i]) == "--small") small = true;
  }
  const Cuda device = testing::tested_device();
  int driver = 0, runtime = 0;
  cuda::check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  cuda::check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  std::printf("attune_gpu_selftest on %s (%s), driver CUDA %d.%d, runtime %d.%d\n",
              device.context().device_name().c_str(), device.name().c_str(), driver / 1000,
              driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);

  doctest::Context context(argc, argv);
  const int failed = context.run();
  if (context.shouldExit()) return failed;
  print_outcomes();
  if (speed)
    print_speeds(testing::measure_speed(
        device,
        small ? testing::StepSizes{2, 4, 16, 24, 2, 40, 3, {{1, 5, 4, 2, 4}}}
              : testing::StepSizes{32, 128, 768, 3072, 12, 30522, 600, long_attention()},
        small ? 2 : 20));
  std::size_t passed = 0;
  for (const TestOutcome& outcome : outcomes()) passed += outcome.passed;
  std::printf("\n%zu of %zu suites passed\n", passed, outcomes().size());
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    attune::Cuda();
  } catch (const attune::DeviceError& error) {
    std::printf("attune_gpu_selftest: skipped, there is no GPU to test: %s\n", error.what());
    return skipped;
  }
  try {
    return test(argc, argv);
  } catch (const attune::DeviceError& error) {
    std::printf("attune_gpu_selftest: %s\n", error.what());
    return 1;
  }
}
