// Small helpers of the sample kernels' tests.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

inline void check_cuda(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return;
  std::printf("  %s -> CUDA error %d\n", what, static_cast<int>(e));
  std::exit(3);
}
#define CHECK_CUDA(call) check_cuda((call), #call)

// One allocation per tensor: overruns then hit a guard page instead of a neighbour.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : size_(n) {
    CHECK_CUDA(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T)));
  }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    CHECK_CUDA(cudaMemcpy(data_, host.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { static_cast<void>(cudaFree(data_)); }

  T* get() { return data_; }
  const T* get() const { return data_; }
  size_t size() const { return size_; }
  std::vector<T> to_host() const {
    std::vector<T> host(size_);
    CHECK_CUDA(cudaMemcpy(host.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

// max |got - want| / (1 + |want|); NaN counts as infinite.
template <class T, class ToFloat>
double worst_error(const std::vector<double>& want, const std::vector<T>& got, ToFloat to_float) {
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double e = std::fabs(want[i] - to_float(got[i])) / (1 + std::fabs(want[i]));
    if (!(e <= worst)) worst = std::isnan(e) ? INFINITY : e;
  }
  return worst;
}
