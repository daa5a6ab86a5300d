#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/cpu/isa.hpp>

namespace attune::bench {

/// Milliseconds of calls, until the device is done with each.
struct StepTimes {
  double median = 0.0, min = 0.0, max = 0.0;
  double processor = 0.0;  ///< of all this process's threads, median
};

/// Calls `once()` `warmup` times, and `iterations` times more that count.
template <class B, class F>
StepTimes time_steps(const B& device, int warmup, int iterations, const F& once) {
  std::vector<double> times, processor_times;
  for (int iteration = 0; iteration < warmup + iterations; ++iteration) {
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t processor_begin = std::clock();
    once();
    device.synchronize();
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - begin;
    if (iteration < warmup) continue;
    times.push_back(taken.count());
    processor_times.push_back(1e3 * static_cast<double>(std::clock() - processor_begin) / CLOCKS_PER_SEC);
  }
  std::sort(times.begin(), times.end());
  std::sort(processor_times.begin(), processor_times.end());
  return {times[times.size() / 2], times.front(), times.back(), processor_times[processor_times.size() / 2]};
}

/// What a run was on, for its JSON line: the instruction set, or the device's name.
inline std::string where(const Cpu&) { return std::string(cpu::name_of(cpu::active_isa())); }
template <class B>
std::string where(const B& device) {
  return device.context().device_name();
}

}  // namespace attune::bench
