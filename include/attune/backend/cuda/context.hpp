#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>

#include <attune/backend/cuda/device_memory.hpp>

struct CUstream_st;
struct CUevent_st;

namespace attune::cuda {

/// How many devices can be used now.
int device_count();
/// Whether there is a device of that number, new enough for the kernels.
bool device_is_usable(int ordinal);
/// Why the first device cannot be used, for people: no driver, a driver that is too old, no device, an old
/// one. Empty when it can.
std::string why_no_device();

/// Pinned host memory through which uploads pass, so that the caller may change its copy at once and does not
/// wait for the device: while this works on a step, the arrays of the next batch are on their way. A ring of
/// sections; a section is used again when the copies out of it are done, which only an upload of more than
/// the whole ring waits for.
class StagingBuffer {
 public:
  static constexpr std::size_t section_bytes = std::size_t{1} << 19;
  static constexpr int sections = 8;

  StagingBuffer() = default;
  StagingBuffer(const StagingBuffer&) = delete;
  StagingBuffer& operator=(const StagingBuffer&) = delete;

  /// Copies from host to device in the stream's order.
  void upload(void* device, const void* host, std::size_t bytes, CUstream_st* stream);

 private:
  void next_section(CUstream_st* stream);

  std::mutex mutex_;
  char* memory_ = nullptr;
  CUevent_st* done_[sections] = {};
  int section_ = 0;
  std::size_t used_ = 0;
};

/// A device: its stream, in which all work of this library runs in order, and its memory. One for each device
/// in a process, made at first use and never destroyed.
class Context {
 public:
  /// Throws DeviceError that says what is missing.
  static Context& of(int ordinal);

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int ordinal() const { return ordinal_; }
  /// The device's name as NVIDIA gives it.
  const std::string& device_name() const { return name_; }
  /// Of which kernels make as many blocks as keep the device busy.
  int multiprocessors() const { return multiprocessors_; }
  /// The device's memory in bytes.
  std::size_t total_memory() const { return total_memory_; }
  CUstream_st* stream() const { return stream_; }
  DeviceMemory& memory() { return memory_; }
  /// Whether attention may use cuDNN, where it is installed: yes unless set.
  bool cudnn_allowed() const { return cudnn_allowed_; }
  void allow_cudnn(bool allowed) { cudnn_allowed_ = allowed; }

  void upload(void* device, const void* host, std::size_t bytes);
  void download(void* host, const void* device, std::size_t bytes);
  void copy(void* to, const void* from, std::size_t bytes);
  void zero(void* device, std::size_t bytes);
  /// Waits for all work.
  void synchronize();

 private:
  explicit Context(int ordinal);

  const int ordinal_;
  std::string name_;
  int multiprocessors_ = 1;
  std::size_t total_memory_ = 0;
  CUstream_st* stream_ = nullptr;
  std::atomic<bool> cudnn_allowed_{true};
  DeviceMemory memory_;
  StagingBuffer staging_;
};

/// Workspace for the kernels that are launched while it lives.
template <class T>
class Workspace {
 public:
  Workspace(Context& context, std::size_t count)
      : context_(context),
        bytes_(count * sizeof(T)),
        data_(static_cast<T*>(context.memory().allocate(bytes_))) {}
  ~Workspace() { context_.memory().deallocate(data_, bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  T* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  Context& context_;
  std::size_t bytes_;
  T* data_;
};

}  // namespace attune::cuda
