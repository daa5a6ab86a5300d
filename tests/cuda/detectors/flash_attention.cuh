#pragma once
#include "common.cuh"

// Causal attention forward on q, k, v, o [batch * heads, S, Depth] and lse [batch * heads, S].
// A thread owns one query row in registers; tiles of Keys rows of k and v are in shared memory.
// Grid: (ceil(S / Rows), batch * heads). Dynamic shared memory: 2 * Keys * Depth * sizeof(T).
template <class T, int Rows, int Keys, int Depth, Defect D = Defect::none>
__global__ void __launch_bounds__(Rows)
    flash_forward(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
                  T* __restrict__ o, float* __restrict__ lse, int S, float scale) {
  constexpr int N = Vector<T>::size;
  ATTUNE_DYNAMIC_SHARED(T, tiles);
  T *ks = tiles, *vs = tiles + Keys * Depth;
  const size_t base = size_t(blockIdx.y) * S * Depth;
  const int row = blockIdx.x * Rows + threadIdx.x;

  float query[Depth], acc[Depth];
  float largest = -1e30f, sum = 0.f;
#pragma unroll
  for (int d = 0; d < Depth; ++d) {
    query[d] = row < S ? to_float(q[base + size_t(row) * Depth + d]) * scale : 0.f;
    acc[d] = 0.f;
  }
  const int block_end = int(blockIdx.x + 1) * Rows, keys_end = block_end < S ? block_end : S;
  for (int first = 0; first < keys_end; first += Keys) {
    for (int e = threadIdx.x * N; e < Keys * Depth; e += Rows * N) {
      if (first + e / Depth < S) {
        port::cp_async16(ks + e, k + base + size_t(first) * Depth + e);
        port::cp_async16(vs + e, v + base + size_t(first) * Depth + e);
      } else {
        Vector<T> zero;
        for (int i = 0; i < N; ++i) zero.v[i] = from_float<T>(0.f);
        store16(ks + e, zero);
        store16(vs + e, zero);
      }
    }
    port::cp_async_commit();
    if (D != Defect::missing_copy_wait) port::cp_async_wait<0>();
    port::sync_block();
    for (int j = 0; j < Keys; ++j) {
      if (first + j > row || first + j >= S) break;
      float score = 0.f;
#pragma unroll
      for (int d = 0; d < Depth; ++d) score += query[d] * to_float(ks[j * Depth + d]);
      const float new_largest = fmaxf(largest, score);
      const float p = expf(score - new_largest);
      const float correction = expf(largest - new_largest);
      sum = sum * correction + p;
      largest = new_largest;
#pragma unroll
      for (int d = 0; d < Depth; ++d) {
        acc[d] = acc[d] * correction + p * to_float(vs[j * Depth + d]);
      }
    }
    if (D != Defect::missing_sync) port::sync_block();  // the tiles are about to be overwritten
  }
  if (row < S) {
#pragma unroll
    for (int d = 0; d < Depth; ++d) o[base + size_t(row) * Depth + d] = from_float<T>(acc[d] / sum);
    lse[size_t(blockIdx.y) * S + row] = largest + logf(sum);
  }
}
