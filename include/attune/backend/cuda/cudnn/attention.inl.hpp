#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/cudnn/attention.hpp>
#include <attune/backend/cuda/cudnn/attention_plans.inl.hpp>

namespace attune::cuda::cudnn {

std::int64_t bucketed(std::int64_t size, std::int64_t step) {
  const auto power =
      static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1))));
  const std::int64_t unit = std::max(step, power / 8);
  return (size + unit - 1) / unit * unit;
}

namespace {

/// A matrix of the call: what it is bound to, and how its rows lie.
struct Operand {
  std::int64_t id;
  const void* data;
  std::int64_t row_count, stride;
  bool keys = false;
};
template <class T>
Operand operand(std::int64_t id, MatrixView<T> view, bool keys = false) {
  return {id, view.data, view.rows, view.stride, keys};
}

/// More than this is not taken for one call: own kernels need none of it.
constexpr std::size_t most_workspace = std::size_t{1} << 30;

bool is_rectangle(const SegmentsView& segments) {
  return segments.tokens == segments.count * segments.max_length;
}

/// Whether cuDNN can take the call in that storage; what it says itself comes after that.
bool fits(Storage storage, bool backward, const AttentionOptions& options, const AttentionPlans& plans,
          std::span<const Operand> operands) {
  const SegmentsView &queries = options.query_segments, &keys = options.key_segments;
  const bool rectangles = is_rectangle(queries) && is_rectangle(keys);
  const int major = plans.target().compute_major;
  const std::size_t version = plans.api().version();
  // A backward in a fixed order: on compute capability 10 since 9.18.1, on 12 never.
  if (backward && (major == 12 || (major == 10 && version < 91801))) return false;
  if (storage == Storage::padded) {
    // Backwards before 9.26 read the log-sum-exp head by head, whatever its strides say (cudnn-frontend, pull
    // request 304): plans are made, and gradients are wrong.
    if (backward && version < 92600) return false;
    return rectangles && !(queries.max_length == 1 && keys.max_length == 1);
  }
  // Ragged log-sum-exps: not on 12; on 8 in the forward alone, and known to be right since 9.26.
  if (major == 12 || (major == 8 && (backward || version < 92600))) return false;
  if (!rectangles && queries.offsets != keys.offsets) return false;  // a query may be without keys
  for (const Operand& o : operands)                                  // begins are of 32 bits
    if (o.row_count * o.stride > std::numeric_limits<std::int32_t>::max()) return false;
  return true;
}

/// Everything that decides whether cuDNN is asked at all.
bool is_candidate(const AttentionOptions& options, std::span<const Operand> operands) {
  if (options.dropout || options.window > 0 || options.query_offset != 0) return false;
  if (options.head_size % 8 != 0 || options.head_size > 128) return false;
  if (options.query_segments.tokens == 0 || options.key_segments.max_length == 0) return false;
  for (const Operand& o : operands) {
    if (reinterpret_cast<std::uintptr_t>(o.data) % 16 != 0) return false;
    if (o.id != uid::lse && o.stride % 8 != 0) return false;
  }
  return true;
}

/// Where the parts of a call's workspace begin, each at a multiple of 256 bytes.
class WorkspaceLayout {
 public:
  std::size_t add(std::size_t bytes) {
    const std::size_t begin = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return begin;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

std::atomic<std::uint64_t> executed{0};

bool run(Context& context, AttentionPlans& plans, const AttentionProblem& problem,
         const AttentionOptions& options, std::span<const Operand> operands) {
  const Plan* plan = plans.find(problem);
  if (!plan) return false;
  const auto batch = static_cast<std::size_t>(problem.batch);
  WorkspaceLayout layout;
  const std::size_t inner = layout.add(plan->workspace_bytes());
  const std::size_t delta =
      layout.add(problem.backward
                     ? batch * static_cast<std::size_t>(problem.heads * problem.query_length) * sizeof(float)
                     : 0);
  const std::size_t lengths[] = {layout.add(batch * sizeof(std::int32_t)),
                                 layout.add(batch * sizeof(std::int32_t))};
  std::vector<std::size_t> begins;
  if (problem.storage == Storage::ragged)
    for (std::size_t i = 0; i < operands.size(); ++i)
      begins.push_back(layout.add((batch + 1) * sizeof(std::int32_t)));
  if (layout.bytes() > most_workspace) return false;

  const Workspace<char> workspace(context, layout.bytes());
  const auto integers = [&](std::size_t at) {
    return reinterpret_cast<std::int32_t*>(workspace.data() + at);
  };
  SequenceTables tables;
  tables.query_offsets = options.query_segments.offsets;
  tables.key_offsets = options.key_segments.offsets;
  tables.sequences = options.query_segments.count;
  tables.batch = problem.batch;
  tables.query_lengths = integers(lengths[0]);
  tables.key_lengths = integers(lengths[1]);
  for (const std::size_t at : begins) {
    const Operand& o = operands[static_cast<std::size_t>(tables.tensors)];
    tables.starts[tables.tensors++] = {integers(at), o.stride, o.keys};
  }
  fill_sequence_tables(context, tables);

  float scale = options.scale, hidden = -std::numeric_limits<float>::infinity(), one = 1.0f;
  std::vector<Plan::Binding> bindings{{uid::scale, &scale},
                                      {uid::hidden, &hidden},
                                      {uid::query_lengths, tables.query_lengths},
                                      {uid::key_lengths, tables.key_lengths}};
  if (problem.backward) {
    bindings.push_back({uid::one, &one});
    bindings.push_back({uid::delta, workspace.data() + delta});
  }
  for (const Operand& o : operands) bindings.push_back({o.id, const_cast<void*>(o.data)});
  for (std::size_t i = 0; i < begins.size(); ++i)
    bindings.push_back({uid::ragged + operands[i].id, integers(begins[i])});
  if (plans.target().handle)
    plans.api().check(plans.api().set_stream(plans.target().handle, context.stream()), "cudnnSetStream");
  plan->execute(plans.target().handle, bindings, workspace.data() + inner);
  ++executed;
  return true;
}

/// Tries the storages in turn. `problem` holds the strides.
bool try_storages(Context& context, AttentionProblem problem, const AttentionOptions& options,
                  std::span<const Operand> operands) {
  if (!context.cudnn_allowed() || !is_candidate(options, operands)) return false;
  AttentionPlans* plans = PlansOfDevices::instance().of(context);
  if (!plans) return false;
  const std::lock_guard lock(plans->mutex());
  select_device(context.ordinal());
  problem.causal = options.causal;
  problem.heads = options.heads;
  problem.kv_heads = options.kv_heads;
  problem.head_size = options.head_size;
  for (const Storage storage : {Storage::ragged, Storage::padded}) {
    if (!fits(storage, problem.backward, options, *plans, operands)) continue;
    const bool ragged = storage == Storage::ragged;
    problem.storage = storage;
    // Surplus sequences have no rows: what NVIDIA tests since 9.25.
    const bool rounds_count = ragged && plans->api().version() >= 92500;
    problem.batch = rounds_count ? bucketed(options.query_segments.count, 4) : options.query_segments.count;
    problem.query_length =
        ragged ? bucketed(options.query_segments.max_length, 64) : options.query_segments.max_length;
    problem.key_length =
        ragged ? bucketed(options.key_segments.max_length, 64) : options.key_segments.max_length;
    if (run(context, *plans, problem, options, operands)) return true;
  }
  return false;
}

}  // namespace

bool attention(Context& context, MatrixView<const bfloat16> q, MatrixView<const bfloat16> k,
               MatrixView<const bfloat16> v, const AttentionOptions& options, MatrixView<bfloat16> y,
               MatrixView<float> lse) {
  const Operand operands[] = {operand(uid::q, q), operand(uid::k, k, true), operand(uid::v, v, true),
                              operand(uid::y, y), operand(uid::lse, lse)};
  AttentionProblem problem;
  problem.q_stride = q.stride;
  problem.k_stride = k.stride;
  problem.v_stride = v.stride;
  problem.y_stride = y.stride;
  problem.lse_stride = lse.stride;
  return try_storages(context, problem, options, operands);
}

bool attention_backward(Context& context, MatrixView<const bfloat16> dy, MatrixView<const bfloat16> q,
                        MatrixView<const bfloat16> k, MatrixView<const bfloat16> v,
                        MatrixView<const bfloat16> y, MatrixView<const float> lse,
                        const AttentionOptions& options, MatrixView<bfloat16> dq, MatrixView<bfloat16> dk,
                        MatrixView<bfloat16> dv) {
  const Operand operands[] = {operand(uid::q, q),   operand(uid::k, k, true),   operand(uid::v, v, true),
                              operand(uid::y, y),   operand(uid::lse, lse),     operand(uid::dy, dy),
                              operand(uid::dq, dq), operand(uid::dk, dk, true), operand(uid::dv, dv, true)};
  AttentionProblem problem;
  problem.backward = true;
  problem.q_stride = q.stride;
  problem.k_stride = k.stride;
  problem.v_stride = v.stride;
  problem.y_stride = y.stride;
  problem.lse_stride = lse.stride;
  problem.dy_stride = dy.stride;
  problem.dq_stride = dq.stride;
  problem.dk_stride = dk.stride;
  problem.dv_stride = dv.stride;
  return try_storages(context, problem, options, operands);
}

std::string describe(const Context& context) {
  PlansOfDevices& all = PlansOfDevices::instance();
  const AttentionPlans* plans = all.of(context);
  if (!plans) return all.why_not();
  const std::size_t version = plans->api().version();
  std::string text = "cuDNN " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) +
                     "." + std::to_string(version % 100);
  if (!plans->why_not().empty()) text += "; not for every call: " + plans->why_not();
  return text;
}

std::uint64_t executions() { return executed; }

}  // namespace attune::cuda::cudnn
