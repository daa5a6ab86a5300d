#pragma once

#include <cudnn_graph.h>

#include <string>

#include <attune/core/error.hpp>

namespace attune::cuda::cudnn {

/// cuDNN refused something.
class CudnnError : public DeviceError {
 public:
  CudnnError(cudnnStatus_t code, const std::string& message) : DeviceError(message), status(code) {}
  cudnnStatus_t status;
};

/// The functions of cuDNN's C backend API that are used here. A table and not calls, because the library is
/// loaded at run time where there is one, and because tests put an interpreter in its place.
struct Api {
  decltype(&cudnnGetVersion) version = nullptr;
  decltype(&cudnnGetErrorString) error_name = nullptr;
  decltype(&cudnnGetLastErrorString) last_error = nullptr;
  decltype(&cudnnCreate) create_handle = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;

  /// Throws CudnnError, naming what was done and the library's words, unless the status is success.
  void check(cudnnStatus_t status, const std::string& what) const;
};

/// 9.12: before it the forward writes the log-sum-exp where it likes, whatever the strides say
/// (cudnn-frontend, pull request 1023).
inline constexpr std::size_t oldest_version = 91200;

/// The functions of the installed libcudnn.so.9, loaded at the first call and kept. Throws DeviceError that
/// says what is missing when there is none, or one that is too old.
const Api& installed_api();

}  // namespace attune::cuda::cudnn

#include <dlfcn.h>

namespace attune::cuda::cudnn {

inline void Api::check(cudnnStatus_t status, const std::string& what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char detail[512] = {};
  if (last_error) last_error(detail, sizeof detail - 1);
  throw CudnnError(status,
                   "cuda: cuDNN: " + what + ": " + error_name(status) + (detail[0] ? ": " : "") + detail);
}

inline const Api& installed_api() {
  static const Api api = [] {
    void* const library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!library) throw DeviceError(std::string("cuda: cuDNN is not installed: ") + dlerror());
    Api found;
    const auto load = [library](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      if (!function) throw DeviceError(std::string("cuda: cuDNN: libcudnn.so.9 has no ") + name);
    };
    load(found.version, "cudnnGetVersion");
    load(found.error_name, "cudnnGetErrorString");
    load(found.last_error, "cudnnGetLastErrorString");
    load(found.create_handle, "cudnnCreate");
    load(found.set_stream, "cudnnSetStream");
    load(found.create, "cudnnBackendCreateDescriptor");
    load(found.destroy, "cudnnBackendDestroyDescriptor");
    load(found.set_attribute, "cudnnBackendSetAttribute");
    load(found.get_attribute, "cudnnBackendGetAttribute");
    load(found.finalize, "cudnnBackendFinalize");
    load(found.execute, "cudnnBackendExecute");
    if (found.version() < oldest_version)
      throw DeviceError("cuda: cuDNN: version " + std::to_string(oldest_version) +
                        " or later is needed, found " + std::to_string(found.version()));
    return found;
  }();
  return api;
}

}  // namespace attune::cuda::cudnn
