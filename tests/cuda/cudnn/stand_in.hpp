#pragma once

#include <dlfcn.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <attune/backend/cuda/cudnn/attention_plans.inl.hpp>

#include "cudnn/interpreter.hpp"

namespace attune::testing {

/// The newest cuDNN with which these tests are known to work: they skip where a newer one refuses the
/// stand-in.
inline constexpr std::size_t newest_known_version = 92600;

/// A device as cuDNN describes it in JSON. The format is not documented: NVIDIA means it to be read from a
/// real device. The numbers are those of an A100 and an H100, as far as they are public, and serve for
/// nothing but planning.
inline std::string device_description(int architecture) {
  const bool hopper = architecture >= 90;
  return std::string(R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],)") +
         R"("regsPerBlock":65536,"warpSize":32,"maxSharedMemoryPerBlock":49152,)" +
         R"("reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,)" +
         R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)" +
         R"("supportCoopLaunch":1,"cudaDeviceId":0,"driverVer":13000,"totalGlobalMem":85017624576,)" +
         (hopper
              ? R"("multiProcessorCount":132,"maxSharedMemoryPerBlockOptin":232448,"smClockRateKHz":1980000,)"
                R"("memClockRateKHz":2619000,"l2CacheSize":52428800,"deviceVer":900,)"
                R"("deviceName":"NVIDIA H100 80GB HBM3"})"
              : R"("multiProcessorCount":108,"maxSharedMemoryPerBlockOptin":166912,"smClockRateKHz":1410000,)"
                R"("memClockRateKHz":1593000,"l2CacheSize":41943040,"deviceVer":800,)"
                R"("deviceName":"NVIDIA A100-SXM4-80GB"})");
}

/// What any cuDNN of version 9 can plan.
inline cuda::cudnn::AttentionProblem simplest_problem() {
  cuda::cudnn::AttentionProblem problem;
  problem.storage = cuda::cudnn::Storage::padded;
  problem.batch = 2;
  problem.query_length = problem.key_length = 128;
  problem.heads = problem.kv_heads = 2;
  problem.head_size = 64;
  problem.q_stride = problem.k_stride = problem.v_stride = problem.y_stride = 128;
  problem.lse_stride = 2;
  return problem;
}

/// The installed library with the interpreter in place of execution; null, and why, when it cannot be used.
inline const cuda::cudnn::Api* stand_in_api(std::string& why_not) {
  static std::string reason;
  static const std::optional<cuda::cudnn::Api> api = []() -> std::optional<cuda::cudnn::Api> {
    if (!dlopen(ATTUNE_STAND_IN_DRIVER, RTLD_NOW | RTLD_GLOBAL)) {
      reason = dlerror();
      return {};
    }
    try {
      return interpreting_api(cuda::cudnn::installed_api());
    } catch (const DeviceError& error) {
      reason = error.what();
      return {};
    }
  }();
  why_not = reason;
  return api ? &*api : nullptr;
}

/// Plans for a device of that architecture (80 or 90), none of which is there. `change(api)` puts other
/// functions in the place of the library's.
inline std::unique_ptr<cuda::cudnn::AttentionPlans> stand_in_plans(
    int architecture, std::string& why_not, const std::function<void(cuda::cudnn::Api&)>& change = {}) {
  const cuda::cudnn::Api* installed = stand_in_api(why_not);
  if (!installed) return nullptr;
  static std::deque<cuda::cudnn::Api> apis;  // plans point to theirs
  cuda::cudnn::Api& api = apis.emplace_back(*installed);
  try {
    cuda::cudnn::Descriptor properties(api, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "device description");
    const std::string text = device_description(architecture);
    properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(text)).finalize();
    cuda::cudnn::Target target;
    target.handle = interpreter_handle();
    target.compute_major = architecture / 10;
    auto plans = std::make_unique<cuda::cudnn::AttentionPlans>(api, target, std::move(properties));
    if (api.version() > newest_known_version && !plans->find(simplest_problem())) {
      why_not = plans->why_not();
      return nullptr;
    }
    if (change) change(api);
    return plans;
  } catch (const cuda::cudnn::CudnnError& error) {
    why_not = error.what();
    return nullptr;
  }
}

}  // namespace attune::testing
