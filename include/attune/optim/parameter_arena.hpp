#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/backend/backend.hpp>
#include <attune/core/error.hpp>
#include <attune/optim/parameter_group.hpp>

namespace attune::detail {

inline std::uint64_t next_optimizer_id() {
  static std::atomic<std::uint64_t> counter{0};
  return counter.fetch_add(1, std::memory_order_relaxed) + 1;
}

/// Masters, gradients and moments of the parameters that an optimizer trains, each kind in one flat array, so
/// that a step is one pass over a table of chunks.
///
/// Whole states are moved, so that fused parameters stay in one piece; chunks cover what trains and nothing
/// else. The handles of a parameter share its state and therefore see the move.
template <class B>
class ParameterArena {
 public:
  static constexpr std::int64_t chunk_size = 65536;

  /// One name of a parameter list that trains.
  struct Entry {
    NamedParameter<B> parameter;
    std::int32_t group = 0;
    std::int64_t steps = 0;   // updates that it has had
    std::int64_t offset = 0;  // of its first element in the arena
    std::size_t first_chunk = 0, last_chunk = 0;
    /// For each row of a table, whether its moments may differ from zero; empty: any row's may.
    std::vector<std::uint8_t> moment_rows{};

    /// Whether it is a matrix, all of which is this entry.
    bool is_table() const {
      const ParameterState<B>& state = *parameter.state;
      return state.shape.rank() == 2 && parameter.size() == state.shape.size() && state.parts.size() == 1 &&
             parameter.row_size() > 0 && parameter.row_size() <= chunk_size;
    }
    std::size_t rows() const { return static_cast<std::size_t>(parameter.state->shape[0]); }
  };

  ParameterArena(const std::string& optimizer, const std::vector<ParameterGroup<B>>& groups, int moments)
      : optimizer_(optimizer), id_(next_optimizer_id()) {
    std::int64_t total = 0;
    for (std::size_t group = 0; group < groups.size(); ++group)
      for (const auto& parameter : groups[group].parameters)
        add(parameter, static_cast<std::int32_t>(group), total);
    if (entries_.empty())
      throw ConfigError(optimizer_ + ": none of the parameters trains; there is nothing to optimize");

    const auto bytes = static_cast<std::size_t>(total) * sizeof(float);
    const B device = entries_[0].parameter.state->value.device();
    // All memory first: when there is not enough, the parameters stay with the optimizer that they have.
    master_ = common_block(bytes);
    if (!master_) master_ = Storage<B>(device, bytes);
    grad_ = Storage<B>::zeroed(device, bytes);
    for (int moment = 0; moment < moments; ++moment)
      moments_[static_cast<std::size_t>(moment)] = Storage<B>::zeroed(device, bytes);
    for (Entry& entry : entries_) {
      entry.offset = offsets_.at(entry.parameter.state) + entry.parameter.offset();
      cut(entry);
      if (entry.is_table()) entry.moment_rows.assign(entry.rows(), 0);
    }
    for (const auto& [state, offset] : offsets_) take_over(device, *state, offset);
    // What the parameters lay in before has sizes that nothing else asks for.
    if constexpr (requires { B::release_cached_memory(); }) B::release_cached_memory();
  }

  const B& device() const { return master_.device(); }
  std::vector<Entry>& entries() { return entries_; }
  const std::vector<Entry>& entries() const { return entries_; }
  const std::vector<ParameterChunk>& chunks() const { return chunks_; }

  ArenaView view() const {
    return {floats(master_), floats(grad_), floats(moments_[0]), floats(moments_[1])};
  }
  /// The rows of one array of moments that belong to an entry.
  Detached<float, B> moment(const Entry& entry, std::size_t which) const {
    return Detached<float, B>(
        moments_[which].slice(static_cast<std::size_t>(entry.offset) * sizeof(float),
                              static_cast<std::size_t>(entry.parameter.size()) * sizeof(float)),
        entry.parameter.shape());
  }

  /// Fills in what is known of an entry's rows, of chunks that are all its own.
  void tell_rows(const Entry& entry, std::span<ParameterChunk> chunks) const {
    const std::vector<std::uint8_t>& grads = entry.parameter.state->grad_rows;
    if (grads.empty() || !entry.is_table()) return;
    for (ParameterChunk& chunk : chunks) {
      chunk.row_size = entry.parameter.row_size();
      const std::int64_t row = (chunk.offset - entry.offset) / chunk.row_size;
      chunk.row_grads = grads.data() + row;
      if (!entry.moment_rows.empty()) chunk.row_moments = entry.moment_rows.data() + row;
    }
  }
  /// Looks which rows of a table, whose gradient is zero in most rows, have moments.
  void find_moment_rows(Entry& entry) const {
    if (entry.parameter.state->grad_rows.empty() || !entry.is_table()) return;
    if (!entry.moment_rows.empty()) {
      if (entry.steps == 0) expect_few_writes(entry);
      return;
    }
    const auto row_size = static_cast<std::size_t>(entry.parameter.row_size());
    entry.moment_rows.assign(entry.rows(), 0);
    for (const Storage<B>& moment : moments_) {
      if (!moment) continue;
      const float* row = floats(moment) + entry.offset;
      for (std::uint8_t& known : entry.moment_rows) {
        if (std::any_of(row, row + row_size, [](float value) { return value != 0.0f; })) known = 1;
        row += row_size;
      }
    }
  }
  /// Before the first step: its moments are memory that nobody has touched.
  void expect_few_writes(const Entry& entry) const {
    if constexpr (requires(const B& device, void* data) { device.expect_few_writes(data, std::size_t{}); }) {
      for (const Storage<B>& moment : moments_)
        if (moment)
          device().expect_few_writes(floats(moment) + entry.offset,
                                     static_cast<std::size_t>(entry.parameter.size()) * sizeof(float));
    }
  }
  /// After a step: rows with a gradient have moments now.
  static void add_moment_rows(Entry& entry) {
    const std::vector<std::uint8_t>& grads = entry.parameter.state->grad_rows;
    if (grads.size() != entry.moment_rows.size()) return entry.moment_rows.clear();
    for (std::size_t row = 0; row < grads.size(); ++row) entry.moment_rows[row] |= grads[row];
  }

  /// The entries that have a gradient, by their numbers.
  std::vector<std::size_t> active() const {
    std::vector<std::size_t> result;
    for (std::size_t index = 0; index < entries_.size(); ++index)
      if (entries_[index].parameter.has_grad()) result.push_back(index);
    return result;
  }

  /// Throws GraphError when a parameter was taken over by a newer optimizer, or what trains has changed.
  void check_owned() const {
    for (const Entry& entry : entries_) {
      const std::uint64_t owner = entry.parameter.state->owner;
      if (owner == id_) continue;
      throw GraphError(optimizer_ + ": parameter " + entry.parameter.name +
                       (owner == 0 ? " was frozen or unfrozen after this optimizer was made; make a new one"
                                   : " now belongs to a newer optimizer; this one cannot step any more"));
    }
    for (const auto& parameter : frozen_)
      if (parameter.trainable() && parameter.state->owner == 0)
        throw GraphError(optimizer_ + ": parameter " + parameter.name +
                         " was unfrozen after this optimizer was made; make a new one");
  }

  /// Tells the graph that the parameters of these entries changed.
  void mark_changed(const std::vector<std::size_t>& changed) const {
    master_.mark_changed();
    for (const std::size_t index : changed) {
      const ParameterState<B>& state = *entries_[index].parameter.state;
      if (!state.value.shares_memory_with(master_)) state.value.mark_changed();
    }
  }

 private:
  static constexpr std::int64_t alignment = 16;  // floats: a cache line

  static float* floats(const Storage<B>& storage) { return reinterpret_cast<float*>(storage.data()); }

  void add(const NamedParameter<B>& parameter, std::int32_t group, std::int64_t& total) {
    const std::shared_ptr<ParameterState<B>>& state = parameter.state;
    if (!parameter.trainable()) {
      frozen_.push_back(parameter);
      return;
    }
    if (state->dtype == DType::f64)
      throw ConfigError(optimizer_ + ": parameter " + parameter.name +
                        " is float64; float and bfloat16 parameters can be trained");
    if (!state->master)
      throw GraphError(optimizer_ + ": parameter " + parameter.name +
                       " has no float master; make it trainable with set_trainable");
    if (!entries_.empty() && !(state->value.device() == entries_[0].parameter.state->value.device()))
      throw ConfigError(optimizer_ + ": parameters " + entries_[0].parameter.name + " and " + parameter.name +
                        " lie on different devices");
    for (const Entry& other : entries_)
      if (other.parameter.state == state && other.parameter.row_begin < parameter.row_end &&
          parameter.row_begin < other.parameter.row_end)
        throw ConfigError(optimizer_ + ": parameter " + parameter.name + " is listed twice" +
                          (other.parameter.name == parameter.name
                               ? std::string()
                               : ", the other time as " + other.parameter.name));
    if (offsets_.try_emplace(state, total).second)
      total += (state->shape.size() + alignment - 1) / alignment * alignment;
    entries_.push_back({parameter, group});
  }

  /// The block in which all masters lie already and nothing else does, as place_together() makes it: they
  /// stay, at the offsets that they have. Empty when there is none. `bytes`: what they take.
  Storage<B> common_block(std::size_t bytes) {
    const std::byte *begin = nullptr, *end = nullptr;
    const Storage<B>* first = nullptr;
    long holders = 0;
    for (const auto& [state, offset] : offsets_) {
      const Storage<B>& master = state->master;
      if (first && !master.shares_memory_with(*first)) return {};
      if (!first || master.data() < begin) {
        first = &master;
        begin = master.data();
      }
      end = std::max(end, static_cast<const std::byte*>(master.data()) + master.bytes());
      holders += state->value.shares_memory_with(master) ? 2 : 1;
    }
    const auto size = static_cast<std::size_t>(end - begin);
    if (first->holders() != holders || size > bytes) return {};
    for (auto& [state, offset] : offsets_)
      offset = (state->master.data() - begin) / static_cast<std::ptrdiff_t>(sizeof(float));
    return first->slice(0, size);
  }

  void take_over(const B& device, ParameterState<B>& state, std::int64_t offset) const {
    const Storage<B> master = slice(master_, state, offset), grad = slice(grad_, state, offset);
    if (master.data() != state.master.data()) device.copy(master.data(), state.master.data(), master.bytes());
    if (state.value.data() == state.master.data()) state.value = master;
    state.master = master;
    if (state.has_grad) device.copy(grad.data(), state.grad.data(), grad.bytes());
    state.grad_is_new = !state.has_grad;
    if (!state.has_grad) state.grad_rows.clear();
    state.grad = grad;
    state.owner = id_;
  }
  static Storage<B> slice(const Storage<B>& arena, const ParameterState<B>& state, std::int64_t offset) {
    return arena.slice(static_cast<std::size_t>(offset) * sizeof(float),
                       static_cast<std::size_t>(state.shape.size()) * sizeof(float));
  }

  /// Chunks of an entry: the rows of it that train. Those of a table hold whole rows.
  void cut(Entry& entry) {
    const ParameterState<B>& state = *entry.parameter.state;
    const std::int64_t state_offset = entry.offset - entry.parameter.offset();
    const std::int64_t row_size = entry.parameter.row_size();
    const std::int64_t step = entry.is_table() ? chunk_size / row_size * row_size : chunk_size;
    entry.first_chunk = chunks_.size();
    for (const auto& part : state.parts) {
      if (!part.trainable) continue;
      const std::int64_t begin = std::max(part.row_begin, entry.parameter.row_begin) * row_size;
      const std::int64_t end = std::min(part.row_end, entry.parameter.row_end) * row_size;
      for (std::int64_t at = begin; at < end; at += step) {
        ParameterChunk chunk;
        chunk.offset = state_offset + at;
        chunk.size = std::min(step, end - at);
        chunk.group = entry.group;
        chunk.rounded_type = state.dtype;
        if (state.dtype != DType::f32)
          chunk.rounded = state.value.data() + static_cast<std::size_t>(at) * size_of(state.dtype);
        chunks_.push_back(chunk);
      }
    }
    entry.last_chunk = chunks_.size();
  }

  std::string optimizer_;
  std::uint64_t id_;
  std::vector<Entry> entries_;
  std::vector<NamedParameter<B>> frozen_;
  std::map<std::shared_ptr<ParameterState<B>>, std::int64_t> offsets_;
  Storage<B> master_, grad_;
  std::array<Storage<B>, 2> moments_;
  std::vector<ParameterChunk> chunks_;
};

}  // namespace attune::detail
