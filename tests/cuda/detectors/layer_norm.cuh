#pragma once
#include "common.cuh"

// One block per row of x [rows, cols]; cols is a multiple of Vector<T>::size.
template <class T, int Threads, Defect D = Defect::none>
__global__ void __launch_bounds__(Threads)
    layer_norm_forward(const T* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ beta,
                       T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, int cols,
                       float epsilon) {
  constexpr int N = Vector<T>::size;
  ATTUNE_SHARED(float, scratch, Threads / 32);
  const T* xr = x + size_t(blockIdx.x) * cols;
  T* yr = y + size_t(blockIdx.x) * cols;

  float sum = 0.f;
  if (D == Defect::early_exit && int(threadIdx.x) >= cols / N) return;
  if (D == Defect::uninitialised_shared) sum += scratch[threadIdx.x & 1] * 0.f;
  for (int i = threadIdx.x * N; i < cols; i += Threads * N) {
    const int shift = D == Defect::misaligned_vector && i + N < cols ? 1 : D == Defect::read_past_end ? N : 0;
    const Vector<T> v = load16(xr + i + shift);
    for (int k = 0; k < N; ++k) sum += to_float(v.v[k]);
  }
  if (D == Defect::lane_missing && (threadIdx.x & 31) != 31) sum = warp_sum(sum);
  if (D == Defect::divergent_barrier) {
    if (threadIdx.x < 32) {
      port::sync_block();
    } else {
      port::sync_block();
    }
  }
  const float m = block_sum<Threads, D>(sum, scratch) / cols;

  float squares = 0.f;
  for (int i = threadIdx.x * N; i < cols; i += Threads * N) {
    const Vector<T> v = load16(xr + i);
    for (int k = 0; k < N; ++k) {
      const float d = to_float(v.v[k]) - m;
      squares += d * d;
    }
  }
  const float r = port::rsqrt(block_sum<Threads, D>(squares, scratch) / cols + epsilon);

  for (int i = threadIdx.x * N; i < cols; i += Threads * N) {
    const Vector<T> v = load16(xr + i), g = load16(gamma + i), b = load16(beta + i);
    Vector<T> out;
    for (int k = 0; k < N; ++k) {
      out.v[k] = from_float<T>((to_float(v.v[k]) - m) * r * to_float(g.v[k]) + to_float(b.v[k]));
    }
    store16(yr + i + (D == Defect::write_past_end ? N : 0), out);
  }
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}

// Blocks stride over the rows. Each writes dx and its own sums for dgamma and dbeta to partial
// [2][gridDim.x][cols]; the last block to finish adds them up, in a fixed order, so the result does
// not depend on which block that is. *counter is 0 before and after.
// Dynamic shared memory: 2 * cols floats.
template <class T, int Threads, Defect D = Defect::none>
__global__ void __launch_bounds__(Threads)
    layer_norm_backward(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ gamma,
                        const float* __restrict__ mean, const float* __restrict__ rstd, T* __restrict__ dx,
                        float* partial, float* dgamma, float* dbeta, unsigned* counter, int rows, int cols) {
  ATTUNE_SHARED(float, scratch, Threads / 32);
  ATTUNE_SHARED(int, is_last, 1);
  ATTUNE_DYNAMIC_SHARED(float, sums);  // [2][cols]; column c belongs to thread c % Threads
  for (int c = threadIdx.x; c < 2 * cols; c += Threads) sums[c] = 0.f;
  port::sync_block();  // sums[cols + c] may have been cleared by another thread

  for (int r = blockIdx.x; r < rows; r += gridDim.x) {
    const size_t row = size_t(r) * cols;
    const float m = mean[r], s = rstd[r];
    float s1 = 0.f, s2 = 0.f;
    for (int c = threadIdx.x; c < cols; c += Threads) {
      const float normalised = (to_float(x[row + c]) - m) * s;
      const float g = to_float(dy[row + c]) * to_float(gamma[c]);
      s1 += g;
      s2 += g * normalised;
    }
    s1 = block_sum<Threads>(s1, scratch) / cols;
    s2 = block_sum<Threads>(s2, scratch) / cols;
    for (int c = threadIdx.x; c < cols; c += Threads) {
      const float d = to_float(dy[row + c]);
      const float normalised = (to_float(x[row + c]) - m) * s;
      dx[row + c] = from_float<T>(s * (d * to_float(gamma[c]) - s1 - normalised * s2));
      if (D == Defect::race_between_blocks) {
        dgamma[c] += d * normalised;
        dbeta[c] += d;
      } else {
        sums[c] += d * normalised;
        sums[cols + c] += d;
      }
    }
  }
  if (D == Defect::race_between_blocks) return;

  if (D == Defect::misplaced_fence) port::fence_device();  // publishes nothing of what follows
  for (int c = threadIdx.x; c < cols; c += Threads) {
    partial[size_t(blockIdx.x) * cols + c] = sums[c];
    partial[size_t(gridDim.x + blockIdx.x) * cols + c] = sums[cols + c];
  }
  port::sync_block();
  if (threadIdx.x == 0) {
    // Fences are cumulative: this one publishes what the whole block wrote before the barrier. It
    // must stand after the barrier; one fence per thread before it would not cover the others.
    if (D != Defect::missing_fence && D != Defect::misplaced_fence) port::fence_device();
    is_last[0] = port::atomic_add(counter, 1u) == gridDim.x - 1;
    port::fence_device();  // the partial sums are read only after the counter
  }
  port::sync_block();
  if (!is_last[0]) return;
  for (int c = threadIdx.x; c < cols; c += Threads) {
    float dg = 0.f, db = 0.f;
    for (unsigned k = 0; k < gridDim.x; ++k) {
      dg += partial[size_t(k) * cols + c];
      db += partial[size_t(gridDim.x + k) * cols + c];
    }
    dgamma[c] = dg;
    dbeta[c] = db;
  }
  if (threadIdx.x == 0) port::atomic_exchange(counter, 0u);  // atomic, as every access to it
}
