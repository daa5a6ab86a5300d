#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/tensor/parameter.hpp>

namespace attune {

/// Where a model's training stands, as far as its random numbers go. Shared by a model and its optimizer.
struct RunState {
  std::uint64_t seed = 0;  ///< of dropout
  std::uint64_t step = 0;  ///< optimizer steps done
  std::uint32_t samples =
      0;  ///< sequences seen since the last step: micro-batches draw the masks of the big batch
};

/// One entry of a parameter list: a name in the checkpoint and the rows that it names.
template <class B>
struct NamedParameter {
  std::string name;
  std::shared_ptr<ParameterState<B>> state;
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;

  std::int64_t row_size() const {
    const std::int64_t rows = state->shape.rank() == 0 ? 1 : state->shape[0];
    return rows == 0 ? 0 : state->shape.size() / rows;
  }
  Shape shape() const {
    Shape shape = state->shape;
    if (shape.rank() > 0) shape[0] = row_end - row_begin;
    return shape;
  }
  std::int64_t size() const { return (row_end - row_begin) * row_size(); }
  bool trainable() const {
    for (const auto& part : state->parts)
      if (part.trainable && part.row_begin < row_end && part.row_end > row_begin) return true;
    return false;
  }
  /// Where the rows begin in the state's arrays, in elements.
  std::int64_t offset() const { return row_begin * row_size(); }
  bool has_grad() const { return state->has_grad && trainable(); }

  /// The float master and the gradient. Throws GraphError for a double parameter, and the gradient when there
  /// is none.
  Detached<float, B> master() const { return floats(state->master, "master"); }
  Detached<float, B> grad() const {
    if (!has_grad()) throw GraphError("NamedParameter: " + name + " has no gradient");
    state->grad_rows.clear();  // the caller may write into it
    return floats(state->grad, "gradient");
  }

 private:
  Detached<float, B> floats(const Storage<B>& storage, const char* what) const {
    if (state->dtype == DType::f64 || !storage)
      throw GraphError("NamedParameter: " + name + " has no float " + what);
    return Detached<float, B>(storage.slice(static_cast<std::size_t>(offset()) * sizeof(float),
                                            static_cast<std::size_t>(size()) * sizeof(float)),
                              shape());
  }
};

/// Puts a matrix in quantised blocks, from the host, in the place of a parameter's values, which are freed.
/// It must be whole and not train.
template <class B>
void assign_blocks(const NamedParameter<B>& parameter, BlockType type, std::span<const std::byte> blocks) {
  ParameterState<B>& state = *parameter.state;
  const B device = state.value.device();
  state.value = state.master = {};
  state.value = Storage<B>(device, blocks.size());
  if (!blocks.empty()) device.upload(state.value.data(), blocks.data(), blocks.size());
  state.blocks = type;
}

/// What a model's parameters() returns: each parameter once, in the order of the model's parts.
template <class B>
struct ParameterList {
  std::vector<NamedParameter<B>> items;
  std::shared_ptr<RunState> run;

  auto begin() const { return items.begin(); }
  auto end() const { return items.end(); }
  std::size_t size() const { return items.size(); }
  /// The number of elements, of all parameters or of those that train.
  std::int64_t count(bool only_trainable = false) const {
    std::int64_t total = 0;
    for (const auto& item : items)
      if (!only_trainable || item.trainable()) total += item.size();
    return total;
  }
};

/// Moves the masters of parameters that train and hold nothing yet into one block of memory: an optimizer of
/// all of them leaves them where they are.
template <class B>
void place_together(const ParameterList<B>& parameters) {
  std::size_t total = 0;
  const auto for_each_master = [&](const auto& f) {
    total = 0;
    for (const auto& parameter : parameters) {
      ParameterState<B>& state = *parameter.state;
      if (parameter.row_begin > 0 || !state.trainable() || state.dtype == DType::f64) continue;
      f(state);
      total += (state.master.bytes() + 63) / 64 * 64;
    }
  };
  for_each_master([](const auto&) {});
  if (total == 0) return;
  const Storage<B> block(parameters.items.front().state->value.device(), total);
  for_each_master([&](ParameterState<B>& state) {
    const Storage<B> place = block.slice(total, state.master.bytes());
    if (state.value.shares_memory_with(state.master)) state.value = place;
    state.master = place;
  });
}

/// Makes a parameter train or not. When the last rows of a bfloat16 parameter stop training its float master
/// and its gradient are given up; when it begins again the master is the value as rounded. An optimizer made
/// before refuses to step afterwards. Throws ConfigError for quantised blocks, which do not train.
template <class B>
void set_trainable(const NamedParameter<B>& parameter, bool trainable) {
  ParameterState<B>& state = *parameter.state;
  if (trainable && state.blocks)
    throw ConfigError(parameter.name + " is kept in " + std::string(name_of(*state.blocks)) +
                      " blocks, which do not train; load the model without `quantized`");
  for (auto& part : state.parts)
    if (part.row_begin >= parameter.row_begin && part.row_end <= parameter.row_end)
      part.trainable = trainable;
  const auto count = static_cast<std::size_t>(state.shape.size());
  if (!state.trainable()) {
    state.grad = {};
    state.grad_rows.clear();
    state.grad_is_new = false;
    state.has_grad = false;
    if (state.dtype == DType::bf16) state.master = {};
  } else if (!state.master) {
    const B device = state.value.device();
    state.master = Storage<B>(device, count * sizeof(float));
    device.cast(std::span<const bfloat16>(reinterpret_cast<const bfloat16*>(state.value.data()), count),
                std::span<float>(reinterpret_cast<float*>(state.master.data()), count));
  }
  state.owner = 0;
}

}  // namespace attune
