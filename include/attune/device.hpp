#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <attune/backend/cpu/cpu.hpp>
#include <attune/core/error.hpp>
#include <attune/core/log.hpp>

// Found by targets that link attune::cuda, and by nothing else.
#if __has_include(<attune_cuda_linked.hpp>)
#include <attune/backend/cuda/cuda.hpp>
#define ATTUNE_CUDA_LINKED 1
#endif

namespace attune {

/// Calls f with the named backend and returns what it returns: "cpu", "cuda", or "auto" for the best that is
/// there: the first GPU when the program links attune::cuda and there is one that it can use, else the CPU;
/// then the log says why.
/// The only place where a program's device is decided at run time. Throws DeviceError for "cuda" that says
/// what is missing (the link, the driver, the device), and ConfigError for another name.
template <class F>
decltype(auto) with_device(std::string_view name, F&& f) {
#ifdef ATTUNE_CUDA_LINKED
  if (name == "cuda" || (name == "auto" && cuda::device_is_usable(0))) return std::forward<F>(f)(Cuda());
  if (name == "auto") log(LogLevel::info, "with_device: on the CPU: " + cuda::why_no_device());
#endif
  if (name == "cuda")
    throw DeviceError("with_device: \"cuda\" is not built in; link attune::cuda, or use \"cpu\" or \"auto\"");
  if (name != "cpu" && name != "auto")
    throw ConfigError("with_device: expected \"auto\", \"cpu\" or \"cuda\", found \"" + std::string(name) +
                      "\"");
  return std::forward<F>(f)(Cpu());
}

}  // namespace attune

#undef ATTUNE_CUDA_LINKED
