#include "speed.hpp"

#include <cuda_runtime_api.h>

#include <attune/backend/cuda/check.hpp>
#include <attune/tensor/detached.hpp>

namespace attune::testing {

namespace {

class Event {
 public:
  Event() { cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDefault), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Cuda& device) const {
    cuda::check(cudaEventRecord(event_, device.context().stream()), "cudaEventRecord");
  }
  double microseconds_since(const Event& begin) const {
    cuda::check(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float milliseconds = 0.0f;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin.event_, event_), "cudaEventElapsedTime");
    return 1e3 * double{milliseconds};
  }

 private:
  cudaEvent_t event_ = nullptr;
};

template <class F>
double microseconds_of(const Cuda& device, int repetitions, const F& call) {
  call();
  const Event begin, end;
  begin.record(device);
  for (int i = 0; i < repetitions; ++i) call();
  end.record(device);
  return end.microseconds_since(begin) / repetitions;
}

template <class T>
void measure(const Cuda& device, const KernelCase<Cuda>& kernel_case, int repetitions,
             std::vector<Speed>& speeds) {
  Arguments<Cuda, T> arguments(device, kernel_case.arrays, initial_values<T>(kernel_case));
  const double time = microseconds_of(device, repetitions, [&] { kernel_case.in<T>()(device, arguments); });
  speeds.push_back({kernel_case.name, std::is_same_v<T, float> ? "float" : "bfloat16", time,
                    1e-3 * kernel_case.moved<T>() / time, 1e-3 * kernel_case.flop / time});
}

/// One step over `count` float parameters with bfloat16 copies.
Speed measure_adamw(const Cuda& device, std::int64_t count, int repetitions) {
  const auto zeros = [&] {
    const Detached<float, Cuda> values(device, {count});
    device.zero(values.span().data(), values.span().size_bytes());
    return values;
  };
  const Detached<float, Cuda> master = zeros(), grad = zeros(), first = zeros(), second = zeros();
  const Detached<bfloat16, Cuda> rounded(device, {count});
  constexpr std::int64_t chunk = std::int64_t{1} << 16;
  std::vector<ParameterChunk> chunks;
  for (std::int64_t at = 0; at < count; at += chunk)
    chunks.push_back({at, std::min(chunk, count - at), 0, rounded.span().data() + at, DType::bf16});
  const std::vector<AdamWGroup> groups{{1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 0.1f, 0.001f}};
  const ArenaView arena{master.span().data(), grad.span().data(), first.span().data(), second.span().data()};
  const double time = microseconds_of(device, repetitions, [&] {
    device.adamw(arena, std::span<const ParameterChunk>(chunks), std::span<const AdamWGroup>(groups),
                 nullptr);
  });
  // Reads four floats, writes three and the copy.
  const double bytes = double(count) * (7 * sizeof(float) + sizeof(bfloat16));
  return {"adamw " + std::to_string(count), "float", time, 1e-3 * bytes / time, 0.0};
}

}  // namespace

std::vector<Speed> measure_speed(const Cuda& device, const StepSizes& sizes, int repetitions) {
  KernelTable<Cuda> table;
  add_step_cases(table, sizes);
  std::vector<Speed> speeds;
  for (const KernelCase<Cuda>& kernel_case : table.cases()) {
    measure<float>(device, kernel_case, repetitions, speeds);
    measure<bfloat16>(device, kernel_case, repetitions, speeds);
  }
  speeds.push_back(measure_adamw(device, sizes.vocabulary * sizes.features, repetitions));
  return speeds;
}

}  // namespace attune::testing
