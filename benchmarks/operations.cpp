// How long each kernel of the CPU backend takes, on the shapes of a training step of a small BERT.

#include <benchmark/benchmark.h>
#include <attune/backend/cpu/cpu.hpp>

#include "suites/kernel_cases_step.hpp"

namespace {

using namespace attune;
using namespace attune::testing;

template <class T>
void measure(benchmark::State& state, const KernelCase<Cpu>& kernel_case) {
  const Cpu device;
  Arguments<Cpu, T> arguments(device, kernel_case.arrays, initial_values<T>(kernel_case));
  for (auto _ : state) kernel_case.in<T>()(device, arguments);
}

}  // namespace

int main(int argc, char** argv) {
  static KernelTable<Cpu> table;
  add_step_cases(table);
  for (const KernelCase<Cpu>& kernel_case : table.cases()) {
    const auto add = [&](const char* type, auto function) {
      benchmark::RegisterBenchmark((kernel_case.name + "/" + type).c_str(), function, kernel_case)
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    };
    add("float", measure<float>);
    add("bfloat16", measure<bfloat16>);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
