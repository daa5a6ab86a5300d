// The context: memory, uploads, and what is said when a device is missing.
#include <doctest/doctest.h>

#include <numeric>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/log.hpp>
#include <attune/device.hpp>

#include "tested_device.hpp"

using namespace attune;
using cuda::DeviceMemory;

TEST_CASE("DeviceMemory: blocks are split, joined and used again") {
  testing::tested_device();
  DeviceMemory memory(0);
  void* const a = memory.allocate(1000);
  void* const b = memory.allocate(5000);
  CHECK(static_cast<char*>(b) - static_cast<char*>(a) == 1024);  // cut from one segment
  CHECK(memory.stats().current == 6000);
  CHECK(memory.stats().reserved == std::size_t{2} << 20);
  CHECK(memory.stats().system_allocations == 1);
  CHECK(memory.stats().cached == (std::size_t{2} << 20) - 1024 - 5120);
  memory.deallocate(a, 1000);
  CHECK(memory.allocate(900) == a);  // the smallest block that fits
  memory.deallocate(b, 5000);
  memory.deallocate(a, 900);
  void* const whole = memory.allocate(std::size_t{1} << 20);  // the neighbours have joined
  CHECK(whole == a);
  memory.deallocate(whole, std::size_t{1} << 20);

  void* const large = memory.allocate((std::size_t{1} << 20) + 1);
  CHECK(memory.stats().reserved == std::size_t{18} << 20);
  memory.deallocate(large, (std::size_t{1} << 20) + 1);
  CHECK(memory.stats().current == 0);
  CHECK(memory.stats().peak > std::size_t{1} << 20);
  memory.reset_peak();
  CHECK(memory.stats().peak == 0);
  memory.release_cached();
  CHECK(memory.stats().reserved == 0);
  CHECK(memory.stats().cached == 0);
  memory.deallocate(nullptr, 10);
}

TEST_CASE("DeviceMemory: blocks never overlap, whatever the order of requests") {
  testing::tested_device();
  DeviceMemory memory(0);
  struct Used {
    char* data;
    std::size_t bytes;
  };
  std::vector<Used> used;
  RandomStream random(5);
  std::size_t bytes_in_use = 0;
  for (int turn = 0; turn < 3000; ++turn) {
    if (used.empty() || random.uniform() < 0.55f) {
      const std::size_t bytes = random.uniform() < 0.9f ? random.below(100000) : random.below(8 << 20);
      char* const data = static_cast<char*>(memory.allocate(bytes));
      CHECK(reinterpret_cast<std::uintptr_t>(data) % 16 == 0);
      for (const Used& other : used)
        if (data < other.data + other.bytes && other.data < data + bytes) FAIL("blocks overlap");
      used.push_back({data, bytes});
      bytes_in_use += bytes;
    } else {
      const std::size_t at = random.below(used.size());
      memory.deallocate(used[at].data, used[at].bytes);
      bytes_in_use -= used[at].bytes;
      used[at] = used.back();
      used.pop_back();
    }
    if (memory.stats().current != bytes_in_use) FAIL("wrong count");
  }
  for (const Used& block : used) memory.deallocate(block.data, block.bytes);
  memory.release_cached();
  CHECK(memory.stats().reserved == 0);
}

TEST_CASE("DeviceMemory: when the device is full, kept blocks go back; then the error names the bytes") {
  testing::tested_device();
  std::size_t& limit = cuda_emulation::config().memory_bytes;
  const std::size_t before = limit;
  limit = std::size_t{64} << 20;
  DeviceMemory memory(0);
  const std::size_t size = std::size_t{40} << 20;
  memory.deallocate(memory.allocate(size), size);
  void* const larger = memory.allocate(size + (size >> 2));  // does not fit beside the kept block
  CHECK(memory.stats().reserved == size + (size >> 2));
  CHECK_THROWS_WITH_AS(memory.allocate(std::size_t{30} << 20),
                       "cuda: cannot allocate 31457280 bytes on device 0: 52428800 bytes are in use, "
                       "52428800 reserved; 14680064 "
                       "of 67108864 bytes are free",
                       DeviceError);
  CHECK_THROWS_AS(memory.allocate(~std::size_t{0}), DeviceError);
  void* const fits =
      memory.allocate(std::size_t{10} << 20);  // what is asked for, where a segment is too large
  memory.deallocate(fits, std::size_t{10} << 20);
  memory.deallocate(larger, size + (size >> 2));
  memory.release_cached();
  limit = before;
}

TEST_CASE("Cuda: uploads leave the caller's memory at once, in order, beyond the staging buffer's size") {
  const Cuda device = testing::tested_device();
  constexpr std::size_t bytes = 100000;  // 6 MB in all, the staging buffer has 4
  std::vector<void*> blocks;
  std::vector<unsigned char> host(bytes);
  for (unsigned char i = 0; i < 60; ++i) {
    std::fill(host.begin(), host.end(), i);
    blocks.push_back(device.allocate(bytes));
    device.upload(blocks.back(), host.data(), bytes);
  }
  device.upload(blocks[0], host.data(), 1);
  for (unsigned char i = 0; i < 60; ++i) {
    device.download(host.data(), blocks[i], bytes);
    CHECK(host[0] == (i == 0 ? 59 : i));
    CHECK(host[bytes - 1] == i);
    device.deallocate(blocks[i], bytes);
  }
  std::vector<int> large(400000);
  std::iota(large.begin(), large.end(), 0);
  void* const block = device.allocate(large.size() * sizeof(int));
  device.upload(block, large.data(), large.size() * sizeof(int));
  std::vector<int> back(large.size());
  device.download(back.data(), block, back.size() * sizeof(int));
  CHECK(back == large);
  device.zero(block, 8);
  device.download(back.data(), block, 12);
  CHECK(back[0] == 0);
  CHECK(back[1] == 0);
  CHECK(back[2] == 2);
  device.deallocate(block, large.size() * sizeof(int));
}

TEST_CASE("Cuda: a missing device is named, with what is missing") {
  testing::tested_device();
  cuda_emulation::Config& config = cuda_emulation::config();
  const cuda_emulation::Config before = config;
  CHECK_THROWS_WITH_AS(Cuda(1), doctest::Contains("no device 1, the last is 0"), DeviceError);
  CHECK_THROWS_AS(Cuda(-1), DeviceError);
  config.device_status = cudaErrorInsufficientDriver;
  config.driver_version = 0;
  CHECK_THROWS_WITH_AS(Cuda(), doctest::Contains("no NVIDIA driver is installed"), DeviceError);
  config.driver_version = 11040;
  CHECK_THROWS_WITH_AS(Cuda(), doctest::Contains("the NVIDIA driver supports CUDA 11.4"), DeviceError);
  config.device_status = cudaErrorNoDevice;
  CHECK_THROWS_WITH_AS(Cuda(), doctest::Contains("finds no NVIDIA device"), DeviceError);
  CHECK(cuda::device_count() == 0);
  config = before;
  config.devices = 2;
  config.compute_major = 7;
  CHECK_THROWS_WITH_AS(Cuda(1), doctest::Contains("8.0 (Ampere) or later is needed"), DeviceError);
  config = before;
  CHECK(Cuda() == Cuda(0));
  CHECK(Cuda().name() == "cuda:0");
}

TEST_CASE("with_device: a program that links attune::cuda takes the GPU, or the CPU when there is none") {
  testing::tested_device();
  cuda_emulation::Config& config = cuda_emulation::config();
  const cuda_emulation::Config before = config;
  const auto name = [](const char* wanted) {
    return with_device(wanted, [](auto device) { return device.name(); });
  };
  CHECK(name("auto") == "cuda:0");
  CHECK(name("cuda") == "cuda:0");
  CHECK(name("cpu") == "cpu");
  std::string message;
  set_log_sink([&](LogLevel, std::string_view text) { message = text; });
  config.compute_major = 7;
  CHECK(name("auto") == "cpu");
  CHECK(message == "with_device: on the CPU: the first device is older than compute capability 8.0 (Ampere)");
  config.device_status = cudaErrorNoDevice;
  CHECK(name("auto") == "cpu");
  CHECK(message.find("the driver finds no NVIDIA device") != message.npos);
  set_log_sink({});
  CHECK_THROWS_WITH_AS(name("cuda"),
                       doctest::Contains("no device can be used: the driver finds no NVIDIA device"),
                       DeviceError);
  CHECK_THROWS_AS(name("gpu"), ConfigError);
  config = before;
}
