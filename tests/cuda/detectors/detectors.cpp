// cuda_detectors CASE [depth] [reverse] [seed=N] [eager] [open]
// CASE "good" runs the sample kernels against double references; every other case has a planted
// defect (or host misuse) and must be noticed. Exit: 0 nothing noticed, 1 wrong numbers,
// 3 CUDA error code, 4 the emulator threw Error, 86 fault on the host; sanitizers have their own.
#include <emulation/emulator.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "device_array.hpp"
#include "flash_attention.cuh"
#include "layer_norm.cuh"
#include "mma_tile.cuh"

namespace {

bool wrong = false;
std::mt19937 random_source(7);

double value(float x) { return x; }
double value(bf16 x) { return __bfloat162float(x); }

template <class T>
std::vector<T> random_values(size_t n) {
  std::normal_distribution<float> normal;
  std::vector<T> values(n);
  for (auto& x : values) x = T(normal(random_source));
  return values;
}

template <class T>
void compare(const char* what, const std::vector<double>& want, const std::vector<T>& got, double tolerance) {
  const double e = worst_error(want, got, [](T x) { return value(x); });
  std::printf("  %-24s %-5s max rel err %.2g%s\n", what, sizeof(T) == 4 ? "fp32" : "bf16", e,
              e <= tolerance ? "" : "  WRONG");
  wrong |= !(e <= tolerance);
}

template <class T, Defect D = Defect::none>
void layer_norm(int rows, int cols, double tolerance) {
  constexpr int Threads = 128, Blocks = 5;
  constexpr float epsilon = 1e-5f;
  const size_t n = size_t(rows) * cols;
  const auto x = random_values<T>(n), dy = random_values<T>(n);
  const auto gamma = random_values<T>(cols), beta = random_values<T>(cols);

  const DeviceArray<T> d_x(x), d_dy(dy), d_gamma(gamma), d_beta(beta);
  DeviceArray<T> d_y(n), d_dx(n);
  DeviceArray<float> d_mean(rows), d_rstd(rows), d_partial(size_t(2) * Blocks * cols);
  DeviceArray<float> d_dgamma(cols), d_dbeta(cols);
  DeviceArray<unsigned> d_counter(std::vector<unsigned>{0u});
  if (D == Defect::race_between_blocks) {
    CHECK_CUDA(cudaMemsetAsync(d_dgamma.get(), 0, cols * sizeof(float), nullptr));
    CHECK_CUDA(cudaMemsetAsync(d_dbeta.get(), 0, cols * sizeof(float), nullptr));
  }
  const auto forward = launch_config(rows, Threads);
  CHECK_CUDA(ATTUNE_LAUNCH(forward, (layer_norm_forward<T, Threads, D>), d_x.get(), d_gamma.get(),
                           d_beta.get(), d_y.get(), d_mean.get(), d_rstd.get(), cols, epsilon));
  const auto backward = launch_config(Blocks, Threads, 2 * cols * sizeof(float));
  CHECK_CUDA(ATTUNE_LAUNCH(backward, (layer_norm_backward<T, Threads, D>), d_dy.get(), d_x.get(),
                           d_gamma.get(), d_mean.get(), d_rstd.get(), d_dx.get(), d_partial.get(),
                           d_dgamma.get(), d_dbeta.get(), d_counter.get(), rows, cols));
  CHECK_CUDA(cudaDeviceSynchronize());

  std::vector<double> y(n), dx(n), dgamma(cols), dbeta(cols);
  for (int r = 0; r < rows; ++r) {
    const size_t row = size_t(r) * cols;
    double mean = 0, variance = 0, s1 = 0, s2 = 0;
    for (int c = 0; c < cols; ++c) mean += value(x[row + c]) / cols;
    for (int c = 0; c < cols; ++c) variance += std::pow(value(x[row + c]) - mean, 2) / cols;
    const double s = 1 / std::sqrt(variance + epsilon);
    auto normalised = [&](int c) { return (value(x[row + c]) - mean) * s; };
    for (int c = 0; c < cols; ++c) {
      const double d = value(dy[row + c]), g = d * value(gamma[c]);
      y[row + c] = normalised(c) * value(gamma[c]) + value(beta[c]);
      s1 += g / cols;
      s2 += g * normalised(c) / cols;
      dgamma[c] += d * normalised(c);
      dbeta[c] += d;
    }
    for (int c = 0; c < cols; ++c) {
      dx[row + c] = s * (value(dy[row + c]) * value(gamma[c]) - s1 - normalised(c) * s2);
    }
  }
  compare("layer_norm y", y, d_y.to_host(), tolerance);
  compare("layer_norm dx", dx, d_dx.to_host(), tolerance);
  compare("layer_norm dgamma", dgamma, d_dgamma.to_host(), tolerance);
  compare("layer_norm dbeta", dbeta, d_dbeta.to_host(), tolerance);
}

template <class T, Defect D = Defect::none>
void flash(int batch_heads, int S, double tolerance) {
  constexpr int Depth = 32, Rows = 64, Keys = 32;
  const float scale = 1 / std::sqrt(float(Depth));
  const size_t n = size_t(batch_heads) * S * Depth;
  const auto q = random_values<T>(n), k = random_values<T>(n), v = random_values<T>(n);
  const DeviceArray<T> d_q(q), d_k(k), d_v(v);
  DeviceArray<T> d_o(n);
  DeviceArray<float> d_lse(size_t(batch_heads) * S);
  const auto config =
      launch_config(dim3((S + Rows - 1) / Rows, batch_heads), Rows, 2 * Keys * Depth * sizeof(T));
  CHECK_CUDA(ATTUNE_LAUNCH(config, (flash_forward<T, Rows, Keys, Depth, D>), d_q.get(), d_k.get(), d_v.get(),
                           d_o.get(), d_lse.get(), S, scale));
  CHECK_CUDA(cudaDeviceSynchronize());

  std::vector<double> o(n), lse(size_t(batch_heads) * S), p(S);
  for (int h = 0; h < batch_heads; ++h) {
    for (int i = 0; i < S; ++i) {
      const size_t base = size_t(h) * S * Depth;
      double largest = -INFINITY, sum = 0;
      for (int j = 0; j <= i; ++j) {
        p[j] = 0;
        for (int d = 0; d < Depth; ++d) {
          p[j] += value(q[base + i * Depth + d]) * value(k[base + j * Depth + d]) * scale;
        }
        largest = std::max(largest, p[j]);
      }
      for (int j = 0; j <= i; ++j) sum += p[j] = std::exp(p[j] - largest);
      for (int j = 0; j <= i; ++j) {
        for (int d = 0; d < Depth; ++d) {
          o[base + i * Depth + d] += p[j] / sum * value(v[base + j * Depth + d]);
        }
      }
      lse[size_t(h) * S + i] = largest + std::log(sum);
    }
  }
  compare("flash o", o, d_o.to_host(), tolerance);
  compare("flash lse", lse, d_lse.to_host(), tolerance);
}

void tensor_core_tile() {
  constexpr int K = 64;
  const auto a = random_values<bf16>(16 * K), bt = random_values<bf16>(8 * K);
  const DeviceArray<bf16> d_a(a), d_bt(bt);
  DeviceArray<float> d_c(16 * 8);
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 32), mma_tile<K>, d_a.get(), d_bt.get(), d_c.get()));
  CHECK_CUDA(cudaDeviceSynchronize());
  std::vector<double> c(16 * 8);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int k = 0; k < K; ++k) c[i * 8 + j] += value(a[i * K + k]) * value(bt[j * K + k]);
    }
  }
  compare("mma_m16n8k16 tile", c, d_c.to_host(), 1e-5);
}

void good() {
  layer_norm<float>(9, 768, 2e-5);
  layer_norm<float>(3, 200, 2e-5);  // cols not a multiple of the block, fewer rows than blocks
  layer_norm<bf16>(9, 768, 2e-2);
  flash<float>(2, 150, 2e-5);  // S a multiple of neither tile
  flash<bf16>(2, 150, 2e-2);
  tensor_core_tile();
}

// ---- host misuse ----

template <int>
__global__ void add_one(float* p, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) p[i] += 1.f;
}
template <int>
__global__ void warp_sum_of_block(float* p) {
  const float sum = warp_sum(1.f);
  if (threadIdx.x == 0) p[0] = sum;
}
template <int>
__global__ void recurse(float* p) {
  volatile char frame[1 << 20];
  for (int i = (1 << 20) - 64; i >= 0; i -= 64) frame[i] = 1;
  p[0] = frame[64];
}

void read_before_sync() {
  cudaStream_t stream;
  CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  DeviceArray<float> d(std::vector<float>(4, 5.f));
  std::vector<float> h(4, -1.f);
  CHECK_CUDA(cudaMemcpyAsync(h.data(), d.get(), 16, cudaMemcpyDeviceToHost, stream));
  compare("copy", {5.0}, std::vector<float>{h[0]}, 0);
  CHECK_CUDA(cudaStreamSynchronize(stream));
}
void missing_event() {  // one stream reads what the other has not been made to finish
  cudaStream_t producer, consumer;
  CHECK_CUDA(cudaStreamCreateWithFlags(&producer, cudaStreamNonBlocking));
  CHECK_CUDA(cudaStreamCreateWithFlags(&consumer, cudaStreamNonBlocking));
  DeviceArray<float> d(std::vector<float>(32, 1.f));
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 32, 0, producer), add_one<0>, d.get(), 32));
  std::vector<float> h(32);
  CHECK_CUDA(cudaMemcpyAsync(h.data(), d.get(), 128, cudaMemcpyDeviceToHost, consumer));
  CHECK_CUDA(cudaStreamSynchronize(consumer));
  compare("consumer", std::vector<double>(32, 2.0), h, 0);
}
void host_dereference() {
  DeviceArray<float> d(std::vector<float>(100, 1.f));
  std::printf("%f\n", static_cast<double>(d.get()[3]));
}
void host_argument() {
  std::vector<float> h(32);
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 32), add_one<0>, h.data(), 32));
}
void freed_argument() {
  float* p = nullptr;
  CHECK_CUDA(cudaMalloc(reinterpret_cast<void**>(&p), 128));
  CHECK_CUDA(cudaFree(p));
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 32), add_one<0>, p, 32));
}
void double_free() {
  float* p = nullptr;
  CHECK_CUDA(cudaMalloc(reinterpret_cast<void**>(&p), 128));
  CHECK_CUDA(cudaFree(p));
  CHECK_CUDA(cudaFree(p));
}
void too_much_shared() {
  DeviceArray<float> d(32);
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 32, 60000), add_one<0>, d.get(), 32));
}
void copy_past_end() {
  DeviceArray<float> d(100);
  std::vector<float> h(101);
  CHECK_CUDA(cudaMemcpy(d.get(), h.data(), 404, cudaMemcpyHostToDevice));
}
void ragged_block() {
  DeviceArray<float> d(1);
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 48), warp_sum_of_block<0>, d.get()));
  CHECK_CUDA(cudaDeviceSynchronize());
}
void stack_overflow() {
  DeviceArray<float> d(1);
  CHECK_CUDA(ATTUNE_LAUNCH(launch_config(1, 32), recurse<0>, d.get()));
  CHECK_CUDA(cudaDeviceSynchronize());
}

// A test that fails must not disturb the next one in the same process.
void recovery() {
  auto expect_error = [](auto defect) {
    try {
      defect();
      std::printf("  a defect was not noticed: WRONG\n");
      wrong = true;
    } catch (const cuda_emulation::Error& e) {
      std::printf("  noticed: %.90s...\n", e.what());
    }
  };
  for (int i = 0; i < 3; ++i) {
    expect_error([] { layer_norm<float, Defect::divergent_barrier>(9, 768, 2e-5); });
    expect_error([] { layer_norm<float, Defect::lane_missing>(9, 768, 2e-5); });
    expect_error([] { layer_norm<float, Defect::write_past_end>(9, 768, 2e-5); });
    expect_error([] { layer_norm<float, Defect::early_exit>(9, 256, 2e-5); });
    good();
  }
}

template <Defect D>
void bad_layer_norm() {
  layer_norm<float, D>(9, D == Defect::early_exit ? 256 : 768, 2e-5);
}
template <Defect D>
void bad_flash() {
  flash<float, D>(2, 150, 2e-5);
}

const std::map<std::string, void (*)()> cases{
    {"good", good},
    {"recovery", recovery},
    {"missing_sync", bad_layer_norm<Defect::missing_sync>},
    {"missing_sync_tiles", bad_flash<Defect::missing_sync>},
    {"divergent_barrier", bad_layer_norm<Defect::divergent_barrier>},
    {"early_exit", bad_layer_norm<Defect::early_exit>},
    {"lane_missing", bad_layer_norm<Defect::lane_missing>},
    {"write_past_end", bad_layer_norm<Defect::write_past_end>},
    {"read_past_end", bad_layer_norm<Defect::read_past_end>},
    {"shared_past_end", bad_layer_norm<Defect::shared_past_end>},
    {"uninitialised_shared", bad_layer_norm<Defect::uninitialised_shared>},
    {"misaligned_vector", bad_layer_norm<Defect::misaligned_vector>},
    {"race_between_blocks", bad_layer_norm<Defect::race_between_blocks>},
    {"missing_fence", bad_layer_norm<Defect::missing_fence>},
    {"misplaced_fence", bad_layer_norm<Defect::misplaced_fence>},
    {"missing_copy_wait", bad_flash<Defect::missing_copy_wait>},
    {"ragged_block", ragged_block},
    {"stack_overflow", stack_overflow},
    {"host_dereference", host_dereference},
    {"host_argument", host_argument},
    {"freed_argument", freed_argument},
    {"double_free", double_free},
    {"copy_past_end", copy_past_end},
    {"too_much_shared", too_much_shared},
    {"read_before_sync", read_before_sync},
    {"missing_event", missing_event},
};

}  // namespace

int main(int argc, char** argv) {
  const auto chosen = cases.find(argc > 1 ? argv[1] : "good");
  if (chosen == cases.end()) {
    for (const auto& [name, run] : cases) std::printf("%s\n", name.c_str());
    return 2;
  }
  auto& config = cuda_emulation::config();
  for (int i = 2; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "depth") config.order = cuda_emulation::Order::depth;
    if (option == "reverse") config.reverse = true;
    if (option == "eager") config.lazy_streams = false;
    if (option == "open") config.isolate = false;
    if (option.rfind("seed=", 0) == 0) {
      config.shuffle = true;
      config.seed = static_cast<unsigned>(std::stoul(option.substr(5)));
    }
  }
  try {
    chosen->second();
  } catch (const cuda_emulation::Error& e) {
    std::printf("  DETECTED: %s\n", e.what());
    return 4;
  }
  return wrong ? 1 : 0;
}
