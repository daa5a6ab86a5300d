#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include <attune/backend/backend.hpp>
#include <attune/backend/cuda/context.hpp>

// Attention by cuDNN, where its library is installed and has a plan; elsewhere the callers use the kernels of
// kernels/attention.cuh. No cuDNN header is needed here. See docs/decisions/0009.

namespace attune::cuda::cudnn {

/// How the rows of a batch's sequences lie in memory. `ragged`: one behind the other, as in Segments.
/// `padded`: each sequence owns as many rows as the longest has.
enum class Storage { ragged, padded };

/// What an attention plan is made for; bfloat16 throughout. The batch and the lengths are upper bounds: the
/// lengths of an execution's sequences are read from device memory. Ragged plans are made for rounded bounds,
/// so that few of them serve all batches; surplus sequences have length 0.
struct AttentionProblem {
  bool backward = false;
  bool causal = false;
  Storage storage = Storage::ragged;
  std::int64_t batch = 0;
  std::int64_t query_length = 0, key_length = 0;
  std::int64_t heads = 1, kv_heads = 1, head_size = 0;
  /// Elements from a row to the next; the last four only in a backward.
  std::int64_t q_stride = 0, k_stride = 0, v_stride = 0, y_stride = 0, lse_stride = 0;
  std::int64_t dy_stride = 0, dq_stride = 0, dk_stride = 0, dv_stride = 0;

  friend auto operator<=>(const AttentionProblem&, const AttentionProblem&) = default;
};

/// The least bound at or above `size` for which plans are made: multiples of an eighth of the power of two
/// below, and of `step`.
std::int64_t bucketed(std::int64_t size, std::int64_t step);

/// y = attention(q, k, v) and its log-sum-exp, by cuDNN; false, and nothing done, when that cannot be: cuDNN
/// is missing or switched off (Context::allow_cudnn), has no plan, or the call has dropout, a window, an
/// offset, queries that may see no key, or rows that are not aligned to 16 bytes. Arguments as in
/// SequenceOps.
bool attention(Context& context, MatrixView<const bfloat16> q, MatrixView<const bfloat16> k,
               MatrixView<const bfloat16> v, const AttentionOptions& options, MatrixView<bfloat16> y,
               MatrixView<float> lse);
/// The backward likewise, by plans alone that give the same bits in every run.
bool attention_backward(Context& context, MatrixView<const bfloat16> dy, MatrixView<const bfloat16> q,
                        MatrixView<const bfloat16> k, MatrixView<const bfloat16> v,
                        MatrixView<const bfloat16> y, MatrixView<const float> lse,
                        const AttentionOptions& options, MatrixView<bfloat16> dq, MatrixView<bfloat16> dk,
                        MatrixView<bfloat16> dv);

/// "cuDNN 9.19.0" when attention on the device can use it, with its reason where it had no plan for a call;
/// else what is missing.
std::string describe(const Context& context);
/// How many graphs cuDNN has computed in this process: whether calls went to it.
std::uint64_t executions();

/// Bindings of sequences to a plan: for each of `batch` sequences the numbers of queries and keys, and for
/// each ragged tensor where its sequences begin.
struct SequenceTables {
  static constexpr int most = 10;
  struct Starts {
    std::int32_t* begins = nullptr;  ///< batch + 1, in elements of the tensor
    std::int64_t stride = 0;         ///< the tensor's elements a row
    bool keys = false;               ///< whether its rows are keys
  };
  const std::int32_t *query_offsets = nullptr, *key_offsets = nullptr;  ///< of `sequences` + 1 rows
  std::int64_t sequences = 0, batch = 0;
  std::int32_t *query_lengths = nullptr, *key_lengths = nullptr;  ///< batch
  Starts starts[most];
  int tensors = 0;
};
/// Fills them on the device; sequences past the last are empty. Body: kernels/sequence_tables.cuh.
void fill_sequence_tables(Context& context, const SequenceTables& tables);

}  // namespace attune::cuda::cudnn
