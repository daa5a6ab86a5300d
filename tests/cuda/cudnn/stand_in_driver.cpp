// A library that calls itself libcuda.so.1, for the tests alone: with it loaded, cuDNN compiles plans on a
// machine without a driver. Loading a kernel succeeds and gives nothing; all else that cuDNN's libraries look
// up says that the driver is a stub. Nothing can run with it.

namespace {

constexpr int success = 0, stub_library = 34;  // of CUresult
char token;

}  // namespace

extern "C" {

int cuLibraryLoadData(void** library, const void*, void*, void*, unsigned, void*, void*, unsigned) {
  *library = &token;
  return success;
}
int cuLibraryGetKernel(void** kernel, void*, const char*) {
  *kernel = &token;
  return success;
}
int cuLibraryUnload(void*) { return success; }

int cuCtxGetCurrent() { return stub_library; }
int cuCtxGetLimit() { return stub_library; }
int cuCtxPopCurrent() { return stub_library; }
int cuCtxPushCurrent() { return stub_library; }
int cuDeviceGet() { return stub_library; }
int cuDeviceGetCount() { return stub_library; }
int cuDriverGetVersion() { return stub_library; }
int cuGetErrorName() { return stub_library; }
int cuGetErrorString() { return stub_library; }
int cuKernelGetAttribute() { return stub_library; }
int cuKernelGetFunction() { return stub_library; }
int cuKernelSetAttribute() { return stub_library; }
int cuLaunchCooperativeKernel() { return stub_library; }
int cuLaunchKernel() { return stub_library; }
int cuLaunchKernelEx() { return stub_library; }
int cuLibraryLoadFromFile() { return stub_library; }
int cuLinkAddData() { return stub_library; }
int cuLinkComplete() { return stub_library; }
int cuLinkCreate() { return stub_library; }
int cuLinkDestroy() { return stub_library; }
int cuOccupancyMaxPotentialClusterSize() { return stub_library; }
int cuStreamGetCtx() { return stub_library; }

}  // extern "C"
