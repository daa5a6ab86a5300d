// Matrix products of the layers of MiniLM (384, 1536) and BERT-base (768, 3072): forward (NT), gradient of
// the input (NN) and of the weight (TN), over numbers of tokens. Each product is timed between two
// measurements of the machine's arithmetic peak; `peak` is the median share of it, `GFLOPS` the median speed.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include <attune/backend/cpu/gemm.hpp>
#include <attune/backend/cpu/memory.hpp>
#include <attune/core/random.hpp>

#include "peak.hpp"

namespace {

using namespace attune;

/// Memory like a tensor's, filled with random numbers.
template <class T>
class Array {
 public:
  explicit Array(std::int64_t size)
      : bytes_(static_cast<std::size_t>(size) * sizeof(T)),
        data_(static_cast<T*>(cpu::host_memory().allocate(bytes_))) {
    RandomStream random(1);
    for (std::int64_t i = 0; i < size; ++i) data_[i] = T(2.0f * random.uniform() - 1.0f);
  }
  ~Array() { cpu::host_memory().deallocate(data_, bytes_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

enum class Kind { forward, forward_packed, forward_gelu, input_gradient, weight_gradient };

/// A layer of `inputs` x `outputs` features on `tokens` rows.
template <class T>
void measure(benchmark::State& state, Kind kind, std::int64_t tokens, std::int64_t inputs,
             std::int64_t outputs) {
  const Array<T> x(tokens * inputs), y(tokens * outputs), pre(tokens * outputs), weight(inputs * outputs),
      bias(outputs);
  const Array<float> weight_grad(inputs * outputs);
  const MatrixView<T> x_view{x.data(), tokens, inputs, inputs}, y_view{y.data(), tokens, outputs, outputs};
  const MatrixView<T> pre_view{pre.data(), tokens, outputs, outputs};
  const MatrixView<T> weight_view{weight.data(), outputs, inputs, inputs};
  const MatrixView<float> weight_grad_view{weight_grad.data(), outputs, inputs, inputs};
  cpu::PackedMatrix<T> packed;
  if (kind == Kind::forward_packed) packed = cpu::PackedMatrix<T>(weight_view, true);
  cpu::GemmEpilogue<T> epilogue;
  epilogue.bias = bias.data();
  epilogue.activation = Unary::gelu;
  epilogue.pre_activation = pre_view;

  const auto run = [&] {
    switch (kind) {
      case Kind::forward:
        return cpu::gemm(x_view, weight_view, y_view, {.transpose_b = true});
      case Kind::forward_packed:
        return cpu::gemm(x_view, packed, y_view);
      case Kind::forward_gelu:
        return cpu::gemm(x_view, weight_view, y_view, {.transpose_b = true}, epilogue);
      case Kind::input_gradient:
        return cpu::gemm(y_view, weight_view, x_view, MatmulOptions{});
      case Kind::weight_gradient:
        return cpu::gemm(y_view, x_view, weight_grad_view, {.transpose_a = true});
    }
  };
  run();
  const double work = 2.0 * static_cast<double>(tokens * inputs * outputs) * 1e-9;
  std::vector<double> speeds, shares;
  for (auto _ : state) {
    const double before = bench::peak(std::is_same_v<T, bfloat16>);
    const double begin = bench::now();
    run();
    const double seconds = bench::now() - begin;
    const double after = bench::peak(std::is_same_v<T, bfloat16>);
    state.SetIterationTime(seconds);
    speeds.push_back(work / seconds);
    if (before + after > 0) shares.push_back(2 * work / seconds / (before + after));
  }
  state.counters["GFLOPS"] = bench::median(speeds);
  if (!shares.empty()) state.counters["peak"] = bench::median(shares);
}

}  // namespace

int main(int argc, char** argv) {
  const struct {
    const char* name;
    Kind kind;
  } kinds[] = {{"forward", Kind::forward},
               {"forward_packed", Kind::forward_packed},
               {"forward_gelu", Kind::forward_gelu},
               {"input_gradient", Kind::input_gradient},
               {"weight_gradient", Kind::weight_gradient}};
  for (const auto& kind : kinds)
    for (const std::int64_t hidden : {384, 768})
      for (const bool down : {false, true})
        for (const std::int64_t tokens : {1, 4, 16, 64, 256, 2048, 8192}) {
          const std::int64_t inputs = down ? 4 * hidden : hidden, outputs = down ? hidden : 4 * hidden;
          const std::string name = std::string("/") + kind.name + "/" + std::to_string(tokens) + "x" +
                                   std::to_string(inputs) + "x" + std::to_string(outputs);
          const auto add = [&](const std::string& type, auto function) {
            benchmark::RegisterBenchmark((type + name).c_str(), function, kind.kind, tokens, inputs, outputs)
                ->UseManualTime()
                ->Unit(benchmark::kMicrosecond)
                ->Iterations(15);
          };
          add("float", measure<float>);
          add("bfloat16", measure<bfloat16>);
        }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("instruction set", std::string(name_of(cpu::active_isa())));
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
