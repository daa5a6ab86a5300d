#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/context.hpp>
#include <attune/core/error.hpp>

namespace attune::cuda {

namespace {
constexpr int oldest_major = 8;  // Ampere: bfloat16 tensor cores, asynchronous copies
}

void check(int status, const char* what) {
  if (status == cudaSuccess) return;
  const auto error = static_cast<cudaError_t>(status);
  throw DeviceError(std::string("cuda: ") + what + ": " + cudaGetErrorString(error) + " (" +
                    cudaGetErrorName(error) + ")");
}

void select_device(int ordinal) { check(cudaSetDevice(ordinal), "cudaSetDevice"); }

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

bool device_is_usable(int ordinal) {
  cudaDeviceProp properties;
  return ordinal >= 0 && ordinal < device_count() &&
         cudaGetDeviceProperties(&properties, ordinal) == cudaSuccess && properties.major >= oldest_major;
}

std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    const auto version = [](int number) {
      return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
    };
    if (driver == 0) return "no NVIDIA driver is installed";
    return "the NVIDIA driver supports CUDA " + version(driver) + ", this program needs " + version(runtime);
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    return "the driver finds no NVIDIA device (is CUDA_VISIBLE_DEVICES set?)";
  if (status != cudaSuccess) return std::string("the driver says: ") + cudaGetErrorString(status);
  return device_is_usable(0) ? "" : "the first device is older than compute capability 8.0 (Ampere)";
}

void StagingBuffer::upload(void* device, const void* host, std::size_t bytes, CUstream_st* stream) {
  const std::lock_guard lock(mutex_);
  if (!memory_) {
    void* pinned = nullptr;
    check(cudaMallocHost(&pinned, section_bytes * sections), "cudaMallocHost for staging");
    memory_ = static_cast<char*>(pinned);
  }
  for (std::size_t at = 0; at < bytes;) {
    if (used_ == section_bytes || (used_ > 0 && used_ + bytes - at > section_bytes)) next_section(stream);
    const std::size_t part = std::min(bytes - at, section_bytes - used_);
    char* staged = memory_ + static_cast<std::size_t>(section_) * section_bytes + used_;
    std::memcpy(staged, static_cast<const char*>(host) + at, part);
    check(cudaMemcpyAsync(static_cast<char*>(device) + at, staged, part, cudaMemcpyHostToDevice, stream),
          "upload");
    at += part;
    used_ += std::min((part + 63) / 64 * 64, section_bytes - used_);
  }
}

void StagingBuffer::next_section(CUstream_st* stream) {
  if (!done_[section_])
    check(cudaEventCreateWithFlags(&done_[section_], cudaEventDisableTiming), "cudaEventCreate");
  check(cudaEventRecord(done_[section_], stream), "cudaEventRecord");
  section_ = (section_ + 1) % sections;
  used_ = 0;
  if (done_[section_]) check(cudaEventSynchronize(done_[section_]), "cudaEventSynchronize");
}

Context& Context::of(int ordinal) {
  static std::mutex mutex;
  // Never destroyed: arrays that outlive main's end still give their memory back.
  static auto& contexts = *new std::vector<std::unique_ptr<Context>>;
  const std::lock_guard lock(mutex);
  const int count = device_count();
  if (count == 0) throw DeviceError("cuda: no device can be used: " + why_no_device());
  if (ordinal < 0 || ordinal >= count)
    throw DeviceError("cuda: there is no device " + std::to_string(ordinal) + ", the last is " +
                      std::to_string(count - 1));
  if (contexts.size() < static_cast<std::size_t>(count)) contexts.resize(static_cast<std::size_t>(count));
  auto& context = contexts[static_cast<std::size_t>(ordinal)];
  if (!context) context.reset(new Context(ordinal));
  return *context;
}

Context::Context(int ordinal) : ordinal_(ordinal), memory_(ordinal) {
  select_device(ordinal);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  name_ = properties.name;
  multiprocessors_ = properties.multiProcessorCount;
  total_memory_ = properties.totalGlobalMem;
  if (properties.major < oldest_major)
    throw DeviceError("cuda: device " + std::to_string(ordinal) + " (" + name_ + ") has compute capability " +
                      std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                      "; 8.0 (Ampere) or later is needed");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}

void Context::upload(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  select_device(ordinal_);
  staging_.upload(device, host, bytes, stream_);
}

void Context::download(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  select_device(ordinal_);
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "download");
  synchronize();
}

void Context::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  select_device(ordinal_);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy");
}

void Context::zero(void* device, std::size_t bytes) {
  if (bytes == 0) return;
  select_device(ordinal_);
  check(cudaMemsetAsync(device, 0, bytes, stream_), "zero");
}

void Context::synchronize() { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

}  // namespace attune::cuda
