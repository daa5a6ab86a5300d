#pragma once

#include <attune/backend/backend.hpp>
#include <attune/backend/cuda/kernels/philox.cuh>

// What attention is asked for, as its kernels see it.

namespace attune::cuda {

/// AttentionOptions as a kernel argument.
struct AttentionShape {
  const int32_t *query_offsets, *key_offsets, *key_positions;
  int heads, kv_heads, head_size;
  float scale;
  bool causal;
  int64_t window, query_offset;
  Dropout dropout;

  explicit AttentionShape(const AttentionOptions& options)
      : query_offsets(options.query_segments.offsets),
        key_offsets(options.key_segments.offsets),
        key_positions(options.key_segments.positions),
        heads(static_cast<int>(options.heads)),
        kv_heads(static_cast<int>(options.kv_heads)),
        head_size(static_cast<int>(options.head_size)),
        scale(options.scale),
        causal(options.causal),
        window(options.window),
        query_offset(options.query_offset),
        dropout(options.dropout) {
    constexpr std::int64_t most = 65535;  // blocks in a grid's third direction
    if (options.query_segments.count > most)
      throw DeviceError("cuda: attention: at most " + std::to_string(most) + " sequences at once, found " +
                        std::to_string(options.query_segments.count));
  }

  /// Query i of a sequence sees its keys first_key(i) .. last_key(i) - 1; neither falls as i grows.
  __device__ __forceinline__ int64_t last_key(int64_t i, int64_t keys) const {
    if (!causal) return keys;
    const int64_t end = i + query_offset + 1;
    return end < 0 ? 0 : end < keys ? end : keys;
  }
  __device__ __forceinline__ int64_t first_key(int64_t i, int64_t keys) const {
    if (window <= 0) return 0;
    const int64_t begin = i + query_offset - window + 1, end = last_key(i, keys);
    return begin < 0 ? 0 : begin < end ? begin : end;
  }
  /// What dropout multiplies a weight with; rows are those of the packed matrices.
  __device__ __forceinline__ float factor(int64_t query_row, int64_t key_row, int head) const {
    if (!dropout.on) return 1.0f;
    const auto position = static_cast<uint32_t>(key_positions[key_row]);
    const Words words = dropout.words(query_row, position / 4, static_cast<uint32_t>(head + 1));
    const uint32_t low = position & 1 ? words.v[1] : words.v[0],
                   high = position & 1 ? words.v[3] : words.v[2];
    return dropout.factor(position & 2 ? high : low);
  }
};

/// The rows of a block's sequence in the packed matrices.
struct SequenceRows {
  int64_t query_begin, query_count, key_begin, key_count;

  __device__ __forceinline__ SequenceRows(const AttentionShape& shape, unsigned sequence)
      : query_begin(uniform(shape.query_offsets[sequence])),
        query_count(uniform(shape.query_offsets[sequence + 1]) - query_begin),
        key_begin(uniform(shape.key_offsets[sequence])),
        key_count(uniform(shape.key_offsets[sequence + 1]) - key_begin) {}
  /// Of a grid with the sequences in its third direction.
  __device__ __forceinline__ explicit SequenceRows(const AttentionShape& shape)
      : SequenceRows(shape, blockIdx.z) {}
};

/// More than 48 KiB of shared memory must be asked for by kernel.
template <class... Params>
cudaLaunchConfig_t attention_config(const Context& context, void (*kernel)(Params...), dim3 grid,
                                    unsigned threads, std::size_t bytes) {
  const auto config = launch_config(context, grid, threads, bytes);
  if (bytes > std::size_t{48} << 10)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "attention: shared memory");
  return config;
}

}  // namespace attune::cuda
