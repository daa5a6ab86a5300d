#pragma once

#include <attune/backend/cuda/cudnn/attention.hpp>
#include <attune/backend/cuda/kernels/common.cuh>

// What cuDNN needs to know of a batch's sequences, from their offsets, without the host's seeing them.

namespace attune::cuda::cudnn {

inline constexpr int table_threads = 128;

/// Grid: sequences of the batch and one more, a thread each.
static __global__ void __launch_bounds__(table_threads) sequence_tables_kernel(SequenceTables tables) {
  const int64_t b = int64_t{blockIdx.x} * table_threads + threadIdx.x;
  if (b > tables.batch) return;
  const bool present = b < tables.sequences;
  const int64_t at = present ? b : tables.sequences;  // surplus sequences begin where the last ends
  const int32_t query = tables.query_offsets[at], key = tables.key_offsets[at];
  if (b < tables.batch) {
    tables.query_lengths[b] = present ? tables.query_offsets[at + 1] - query : 0;
    tables.key_lengths[b] = present ? tables.key_offsets[at + 1] - key : 0;
  }
  for (int i = 0; i < tables.tensors; ++i) {
    const SequenceTables::Starts& starts = tables.starts[i];
    starts.begins[b] = static_cast<int32_t>((starts.keys ? key : query) * starts.stride);
  }
}

void fill_sequence_tables(Context& context, const SequenceTables& tables) {
  const auto config =
      launch_config(context, static_cast<unsigned>(ceil_div(tables.batch + 1, table_threads)), table_threads);
  check(ATTUNE_LAUNCH(config, sequence_tables_kernel, tables), "sequence tables");
}

}  // namespace attune::cuda::cudnn
