// The CUDA runtime calls that are emulated. Link this instead of libcudart.
//
// Work in a stream runs only when something waits for it, so that a missing wait shows as stale or
// NaN data. Streams are independent, the null stream too, and cudaMemcpy waits for all of them.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include <emulation/engine.hpp>

namespace cuda_emulation {
namespace {

struct Stream {
  std::deque<std::function<void()>> queue;
  size_t done = 0, total = 0;
  int device = 0;
};
struct Event {
  Stream* stream = nullptr;
  size_t position = 0;
  bool timed = true;
};

Stream null_stream;
std::vector<Stream*> streams{&null_stream};
std::vector<Stream*> retired;                  // kept: an event may still name a destroyed stream
std::map<const void*, size_t> dynamic_limits;  // per kernel, raised by cudaFuncSetAttribute
cudaError_t last_error = cudaSuccess;
int chosen_device = 0;
size_t drain_count = 0;

Stream* stream_of(cudaStream_t s) { return s ? reinterpret_cast<Stream*>(s) : &null_stream; }

cudaError_t record(cudaError_t e) {
  if (e != cudaSuccess) last_error = e;
  return e;
}

// Of the errors recorded, a synchronisation returns only a kernel's failure, as on a device.
cudaError_t sticky_error() { return last_error == cudaErrorLaunchFailure ? last_error : cudaSuccess; }

void run_queue(Stream* s, size_t end = SIZE_MAX) {
  MemoryWindow window(s->device);
  while (!s->queue.empty() && s->done < end) {
    auto work = std::move(s->queue.front());
    s->queue.pop_front();
    ++s->done;
    try {
      work();
    } catch (...) {  // nothing that was queued runs after a failure
      for (Stream* x : streams) {
        x->done += x->queue.size();
        x->queue.clear();
      }
      throw;
    }
  }
}

void run_all() {
  const std::vector<Stream*> order =
      config().reverse ? std::vector<Stream*>(streams.rbegin(), streams.rend()) : streams;
  for (Stream* s : order) run_queue(s);
}

// Destructors free memory and streams, so these calls report a failure instead of throwing it.
template <class F>
cudaError_t reporting(F f) {
  try {
    f();
    return cudaSuccess;
  } catch (const Error& e) {
    std::fprintf(stderr, "cuda_emulation: DETECTED %s\n", e.what());
    return record(cudaErrorLaunchFailure);
  }
}

void copy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return;
  MemoryWindow window;
  auto check = [&](const void* p, bool device) {
    if (is_device_range(p, 1) != device) fail("copy: the kind does not match the pointers");
    if (device && !is_device_range(p, bytes)) fail("copy: past the end of a device allocation");
  };
  if (kind != cudaMemcpyDefault) {
    check(target, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice);
    check(source, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice);
  }
  std::memcpy(target, source, bytes);
}

}  // namespace

size_t drains() { return drain_count; }
int current_device() { return chosen_device; }

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  Stream* s = stream_of(stream);
  if (s != &null_stream && s->device != chosen_device) fail("work for a stream of another device");
  s->queue.push_back(std::move(work));
  ++s->total;
  if (!config().lazy_streams) run_queue(s);
  return cudaSuccess;
}

cudaError_t submit(const cudaLaunchConfig_t& launch, const char* name, const void* kernel,
                   std::function<void()> body) {
  const dim3 g = launch.gridDim, b = launch.blockDim;
  const uint64_t threads = uint64_t{b.x} * b.y * b.z;
  const size_t dynamic_bytes = launch.dynamicSmemBytes;
  const auto limit = dynamic_limits.find(kernel);
  if (!g.x || !g.y || !g.z || g.x > 0x7fffffff || g.y > 65535 || g.z > 65535) {
    return record(cudaErrorInvalidConfiguration);
  }
  if (!threads || threads > 1024 || b.z > 64) return record(cudaErrorInvalidConfiguration);
  if (dynamic_bytes > (limit == dynamic_limits.end() ? 48 << 10 : limit->second)) {
    return record(cudaErrorInvalidValue);
  }
  return enqueue(launch.stream, [=, body = std::move(body)] { run_kernel(g, b, dynamic_bytes, name, body); });
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

extern "C" {  // a signature that differs from NVIDIA's declaration does not compile

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const bool fits = bytes <= config().memory_bytes && device_bytes() <= config().memory_bytes - bytes;
  *p = fits ? device_allocate(bytes) : nullptr;
  return *p ? cudaSuccess : record(cudaErrorMemoryAllocation);
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  *p = std::malloc(bytes);
  return *p ? cudaSuccess : record(cudaErrorMemoryAllocation);
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  *total = config().memory_bytes;
  *available = *total - device_bytes();
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  ++drain_count;
  return reporting([=] {
    run_all();
    device_free(p);
  });
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) { return cudaMalloc(p, bytes); }
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  return reporting([=] { enqueue(stream, [=] { device_free(p); }); });
}

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  ++drain_count;
  run_all();
  copy(target, source, bytes, kind);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return enqueue(stream, [=] { copy(target, source, bytes, kind); });
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  return enqueue(stream, [=] {
    if (bytes && !is_device_range(p, bytes)) fail("memset: not within a device allocation");
    MemoryWindow window;
    std::memset(p, value, bytes);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  streams.push_back(new Stream);
  streams.back()->device = chosen_device;
  *stream = reinterpret_cast<cudaStream_t>(streams.back());
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Stream* s = stream_of(stream);
  const cudaError_t e = reporting([=] { run_queue(s); });
  std::erase(streams, s);
  retired.push_back(s);
  return e;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++drain_count;
  run_queue(stream_of(stream));
  return sticky_error();
}
cudaError_t cudaDeviceSynchronize() {
  ++drain_count;
  run_all();
  return sticky_error();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = reinterpret_cast<cudaEvent_t>(new Event{nullptr, 0, !(flags & cudaEventDisableTiming)});
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Stream* s = stream_of(stream);
  Event& e = *reinterpret_cast<Event*>(event);
  e.stream = s;
  e.position = s->total;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Event e = *reinterpret_cast<Event*>(event);
  return e.stream ? enqueue(stream, [=] { run_queue(e.stream, e.position); }) : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Event& e = *reinterpret_cast<Event*>(event);
  if (e.stream && e.position == e.stream->total) ++drain_count;
  if (e.stream) run_queue(e.stream, e.position);
  return sticky_error();
}

// There is no time here: each piece of work counts as one millisecond.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Event &b = *reinterpret_cast<Event*>(begin), &e = *reinterpret_cast<Event*>(end);
  if (!b.stream || b.stream != e.stream || !b.timed || !e.timed)
    return record(cudaErrorInvalidResourceHandle);
  if (e.stream->done < e.position) return cudaErrorNotReady;
  *milliseconds = static_cast<float>(e.position - b.position);
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
    if (value < 0 || static_cast<size_t>(value) > config().max_shared_bytes) {
      return record(cudaErrorInvalidValue);
    }
    dynamic_limits[kernel] = static_cast<size_t>(value);
  }
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t) { return "CUDA error (emulated)"; }
const char* cudaGetErrorName(cudaError_t e) {
  return e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "an emulated error";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = config().device_status == cudaSuccess ? config().devices : 0;
  return record(config().device_status);
}
cudaError_t cudaSetDevice(int ordinal) {
  if (ordinal < 0 || ordinal >= config().devices) return record(cudaErrorInvalidDevice);
  chosen_device = ordinal;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* ordinal) {
  *ordinal = chosen_device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->major = config().compute_major;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = config().memory_bytes;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = config().driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

}  // extern "C"
