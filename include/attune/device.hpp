#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <attune/backend/cpu/cpu.hpp>
#include <attune/core/error.hpp>

namespace attune {

/// Calls f with the named backend and returns what it returns: "cpu", "cuda", or "auto" for the best that is there.
/// The only place where a program's device is decided at run time. Throws DeviceError for "cuda" when the program was
/// built without it, and ConfigError for another name.
template <class F>
decltype(auto) with_device(std::string_view name, F&& f) {
  if (name == "cuda")
    throw DeviceError("with_device: \"cuda\" is not built in; link attune::cuda, or use \"cpu\" or \"auto\"");
  if (name != "cpu" && name != "auto")
    throw ConfigError("with_device: expected \"auto\", \"cpu\" or \"cuda\", found \"" + std::string(name) + "\"");
  return std::forward<F>(f)(Cpu());
}

}  // namespace attune
