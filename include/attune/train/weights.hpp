#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

namespace detail {

/// Makes what is computed with the rounded master again, and tells the graph.
template <class B>
void round_master(const NamedParameter<B>& parameter) {
  const ParameterState<B>& state = *parameter.state;
  if (state.dtype == DType::bf16) {
    const Detached<bfloat16, B> value(
        state.value.slice(static_cast<std::size_t>(parameter.offset()) * sizeof(bfloat16),
                          static_cast<std::size_t>(parameter.size()) * sizeof(bfloat16)),
        parameter.shape());
    state.value.device().cast(std::span<const float>(parameter.master().span()), value.span());
  }
  state.value.mark_changed();
}

/// Copies as many floats on a device.
template <class B>
void copy_floats(const Detached<float, B>& from, const Detached<float, B>& to) {
  from.device().copy(to.data(), from.data(), static_cast<std::size_t>(from.size()) * sizeof(float));
}

}  // namespace detail

/// A copy of the masters of all trainable parameters, to go back to: the best weights of a run.
template <class B>
class WeightSnapshot {
 public:
  /// Empty until save(). Throws GraphError for a float64 parameter.
  explicit WeightSnapshot(const ParameterList<B>& parameters) {
    for (const auto& parameter : parameters)
      if (parameter.trainable()) {
        parameter.master();
        parameters_.push_back(parameter);
      }
  }

  bool saved() const { return !values_.empty() || parameters_.empty(); }
  void save() {
    if (values_.empty()) {
      std::vector<Detached<float, B>> copies;  // all or none, should the memory run out
      for (const auto& parameter : parameters_) copies.push_back(parameter.master().clone());
      values_ = std::move(copies);
    } else {
      for (std::size_t i = 0; i < values_.size(); ++i)
        detail::copy_floats(parameters_[i].master(), values_[i]);
    }
  }
  /// Throws TrainingError when nothing was saved.
  void restore() const {
    if (!saved()) throw TrainingError("WeightSnapshot: there is nothing to restore before the first save()");
    for (std::size_t i = 0; i < values_.size(); ++i) {
      detail::copy_floats(values_[i], parameters_[i].master());
      detail::round_master(parameters_[i]);
    }
  }

 private:
  std::vector<NamedParameter<B>> parameters_;
  std::vector<Detached<float, B>> values_;
};

}  // namespace attune
