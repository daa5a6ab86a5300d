// How fast each kernel of the CPU backend is on the shapes of a training step of a small BERT, and the
// optimizer's passes over MiniLM's 22.7 million parameters. Each call is timed between two measurements of
// what bounds it: products count GFLOPS and `peak`, the share of the arithmetic peak; all others GBps, every
// array once, and `memory`, the share of the bandwidth of a stream (above 1: the arrays were still in cache).
// All are medians.

#include <benchmark/benchmark.h>
#include <attune/backend/cpu/cpu.hpp>

#include "peak.hpp"
#include "suites/kernel_cases_step.hpp"

namespace {

using namespace attune;
using namespace attune::testing;

/// Times `run`, which does `flop` operations, or moves `bytes` if there are none.
template <class F>
void time_calls(benchmark::State& state, bool in_bfloat16, double flop, double bytes, const F& run) {
  const auto bound = [&] { return flop > 0 ? bench::peak(in_bfloat16) : bench::bandwidth(); };
  const double work = (flop > 0 ? flop : bytes) * 1e-9;
  run();
  std::vector<double> speeds, shares;
  for (auto _ : state) {
    const double before = bound();
    run();  // the caches hold what the call before this one left there
    const double begin = bench::now();
    run();
    const double seconds = bench::now() - begin;
    state.SetIterationTime(seconds);
    speeds.push_back(work / seconds);
    if (before > 0) shares.push_back(2 * work / seconds / (before + bound()));
  }
  state.counters[flop > 0 ? "GFLOPS" : "GBps"] = bench::median(speeds);
  if (!shares.empty()) state.counters[flop > 0 ? "peak" : "memory"] = bench::median(shares);
}

template <class T>
void measure(benchmark::State& state, const KernelCase<Cpu>& kernel_case) {
  const Cpu device;
  Arguments<Cpu, T> arguments(device, kernel_case.arrays, initial_values<T>(kernel_case));
  time_calls(state, std::is_same_v<T, bfloat16>, kernel_case.flop, kernel_case.moved<T>(),
             [&] { kernel_case.in<T>()(device, arguments); });
}

/// 22.7 million parameters in one arena.
void measure_optimizer(benchmark::State& state, bool steps) {
  constexpr std::int64_t size = 346 * 65536;
  const Cpu device;
  std::vector<float> arrays[4];
  for (auto& array : arrays) array.assign(size, 1e-3f);
  const ArenaView arena{arrays[0].data(), arrays[1].data(), arrays[2].data(), arrays[3].data()};
  std::vector<ParameterChunk> chunks;
  for (std::int64_t at = 0; at < size; at += 65536) chunks.push_back({at, 65536});
  const std::vector<AdamWGroup> groups{{1e-5f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.1f, 0.001f}};
  float norm = 0;
  time_calls(state, false, 0, static_cast<double>(size) * (steps ? 28 : 4), [&] {
    if (steps)
      device.adamw(arena, chunks, groups, nullptr);
    else
      device.grad_norm(arena, chunks, &norm);
  });
}

template <class F, class... Args>
void add(const std::string& name, F function, const Args&... args) {
  benchmark::RegisterBenchmark(name.c_str(), function, args...)
      ->Unit(benchmark::kMicrosecond)
      ->UseManualTime()
      ->Iterations(9);
}

}  // namespace

int main(int argc, char** argv) {
  static KernelTable<Cpu> table;
  add_step_cases(table);
  for (const KernelCase<Cpu>& kernel_case : table.cases()) {
    add(kernel_case.name + "/float", measure<float>, std::cref(kernel_case));
    add(kernel_case.name + "/bfloat16", measure<bfloat16>, std::cref(kernel_case));
  }
  add("adamw", measure_optimizer, true);
  add("grad_norm", measure_optimizer, false);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("instruction set", std::string(name_of(cpu::active_isa())));
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
