#pragma once

#include <attune/backend/cuda/kernels/common.cuh>

// Optimizer steps over a table of chunks: see OptimizerOps in backend.hpp. One launch a step; the clipping
// factor stays on the device.

namespace attune::cuda {

inline constexpr int step_threads = 256;
inline constexpr int blocks_per_chunk = 8;

/// The square of each chunk's 2-norm. Grid: chunks.
static __global__ void __launch_bounds__(step_threads)
    chunk_squares(const ParameterChunk* chunks, const float* grad, double* squares) {
  ATTUNE_SHARED(double, scratch, step_threads / 32);
  const ParameterChunk chunk = chunks[blockIdx.x];
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < chunk.size; i += step_threads) {
    const double gradient = static_cast<double>(grad[chunk.offset + i]);
    sum += gradient * gradient;
  }
  sum = block_sum<step_threads>(sum, scratch);
  if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(step_threads)
    finish_norm(const double* squares, int64_t count, float* norm) {
  ATTUNE_SHARED(double, scratch, step_threads / 32);
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < count; i += step_threads) sum += squares[i];
  sum = block_sum<step_threads>(sum, scratch);
  if (threadIdx.x == 0) *norm = static_cast<float>(sqrt(sum));
}

static __global__ void __launch_bounds__(32)
    clip_scale_kernel(const float* norm, float max_norm, float* scale) {
  if (threadIdx.x != 0) return;
  const float value = *norm, ratio = max_norm / (value + 1e-6f);
  *scale = fabsf(value) <= 3.4028235e38f ? (ratio < 1.0f ? ratio : 1.0f) : NAN;
}

__device__ __forceinline__ void store_rounded(const ParameterChunk& chunk, int64_t i, float value) {
  if (!chunk.rounded) return;
  if (chunk.rounded_type == DType::bf16)
    static_cast<bf16*>(chunk.rounded)[i] = from_float<bf16>(value);
  else
    static_cast<float*>(chunk.rounded)[i] = value;
}

/// Grid: (chunks, blocks_per_chunk).
template <class Group, class Update>
__global__ void __launch_bounds__(step_threads)
    step_kernel(const ParameterChunk* chunks, const Group* groups, const float* scale, ArenaView arena) {
  const float factor = scale ? *scale : 1.0f;
  if (factor != factor) return;  // a step that is skipped
  const ParameterChunk chunk = chunks[blockIdx.x];
  const Group group = groups[chunk.group];
#pragma unroll 1  // unrolled, the divisions spill
  for (int64_t i = int64_t{blockIdx.y} * step_threads + threadIdx.x; i < chunk.size;
       i += step_threads * blocks_per_chunk) {
    const int64_t at = chunk.offset + i;
    const float updated = Update()(group, arena, at, arena.grad[at] * factor);
    arena.master[at] = updated;
    store_rounded(chunk, i, updated);
  }
}

struct AdamWUpdate {
  __device__ __forceinline__ float operator()(const AdamWGroup& group, const ArenaView& arena, int64_t at,
                                              float gradient) const {
    const float p = arena.master[at] * (1.0f - group.lr * group.weight_decay);
    const float m = group.beta1 * arena.first_moment[at] + (1.0f - group.beta1) * gradient;
    const float v = group.beta2 * arena.second_moment[at] + (1.0f - group.beta2) * gradient * gradient;
    arena.first_moment[at] = m;
    arena.second_moment[at] = v;
    return p - group.lr * (m / group.bias_correction1) / (sqrtf(v / group.bias_correction2) + group.eps);
  }
};

struct SgdUpdate {
  __device__ __forceinline__ float operator()(const SgdGroup& group, const ArenaView& arena, int64_t at,
                                              float gradient) const {
    const float p = arena.master[at];
    gradient += group.weight_decay * p;
    if (group.momentum != 0.0f) {
      const float momentum =
          group.first ? gradient
                      : group.momentum * arena.first_moment[at] + (1.0f - group.dampening) * gradient;
      arena.first_moment[at] = momentum;
      gradient = group.nesterov ? gradient + group.momentum * momentum : momentum;
    }
    return p - group.lr * gradient;
  }
};

/// The table's copy on the device.
template <class Entry>
class DeviceTable {
 public:
  DeviceTable(Context& context, std::span<const Entry> entries) : memory_(context, entries.size()) {
    context.upload(memory_.data(), entries.data(), entries.size_bytes());
  }
  const Entry* data() const { return memory_.data(); }

 private:
  Workspace<Entry> memory_;
};

template <class Update, class Group>
void launch_step(Context& context, const ArenaView& arena, std::span<const ParameterChunk> chunks,
                 std::span<const Group> groups, const float* scale) {
  if (chunks.empty()) return;
  const DeviceTable<ParameterChunk> table(context, chunks);
  const DeviceTable<Group> group_table(context, groups);
  const dim3 grid(static_cast<unsigned>(chunks.size()), blocks_per_chunk);
  check(ATTUNE_LAUNCH(launch_config(context, grid, step_threads), (step_kernel<Group, Update>), table.data(),
                      group_table.data(), scale, arena),
        "optimizer step");
}

void Optimizer::grad_norm(ArenaView arena, std::span<const ParameterChunk> chunks, float* norm) const {
  Context& context = context_of(*this);
  const DeviceTable<ParameterChunk> table(context, chunks);
  const Workspace<double> squares(context, chunks.size());
  if (!chunks.empty())
    check(ATTUNE_LAUNCH(launch_config(context, static_cast<unsigned>(chunks.size()), step_threads),
                        chunk_squares, table.data(), static_cast<const float*>(arena.grad), squares.data()),
          "grad_norm");
  check(ATTUNE_LAUNCH(launch_config(context, 1, step_threads), finish_norm, squares.data(),
                      static_cast<int64_t>(chunks.size()), norm),
        "grad_norm");
}

void Optimizer::clip_scale(const float* norm, float max_norm, float* scale) const {
  check(ATTUNE_LAUNCH(launch_config(context_of(*this), 1, 32), clip_scale_kernel, norm, max_norm, scale),
        "clip_scale");
}

void Optimizer::adamw(ArenaView arena, std::span<const ParameterChunk> chunks,
                      std::span<const AdamWGroup> groups, const float* scale) const {
  launch_step<AdamWUpdate>(context_of(*this), arena, chunks, groups, scale);
}

void Optimizer::sgd(ArenaView arena, std::span<const ParameterChunk> chunks, std::span<const SgdGroup> groups,
                    const float* scale) const {
  launch_step<SgdUpdate>(context_of(*this), arena, chunks, groups, scale);
}

}  // namespace attune::cuda
