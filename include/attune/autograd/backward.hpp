#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/tensor/tensor.hpp>

namespace attune {

namespace detail {

/// The functions that `root` depends on, the last created first: an order in which each comes before its
/// inputs'. One created before `oldest` belongs to another graph, which must not be gone through.
template <class B>
std::vector<std::shared_ptr<Function<B>>> functions_behind(const Variable<B>& root, std::uint64_t oldest) {
  std::vector<std::shared_ptr<Function<B>>> found;
  std::unordered_set<const Function<B>*> seen;
  const auto visit = [&](const std::shared_ptr<Function<B>>& function) {
    if (!function || !seen.insert(function.get()).second) return;
    if (function->released)
      throw GraphError("backward: the graph through '" + std::string(function->name) +
                       "' was freed by an earlier backward; call that one with retain_graph = true");
    if (function->sequence < oldest)
      throw GraphError("checkpoint: the function uses a result of '" + std::string(function->name) +
                       "' that was computed outside of it and needs a gradient; make it an input");
    found.push_back(function);
  };
  visit(root.producer);
  for (std::size_t next = 0; next < found.size(); ++next) {
    const std::shared_ptr<Function<B>> function = found[next];
    for (const auto& input : function->inputs)
      if (input) visit(input->producer);
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return found;
}

template <class B>
void run_backward(const Variable<B>& root, bool retain_graph, std::uint64_t oldest) {
  std::vector<std::shared_ptr<Function<B>>> functions = functions_behind(root, oldest);
  // Held until their function has run: once a consumer is released nothing else may hold its inputs.
  std::vector<std::vector<std::shared_ptr<Variable<B>>>> outputs;
  for (const auto& function : functions) {
    outputs.emplace_back();
    for (const auto& weak : function->outputs) {
      outputs.back().push_back(weak.lock());
      // What a backward that ended in an exception left behind.
      if (outputs.back().back() && outputs.back().back().get() != &root) outputs.back().back()->grad = {};
    }
  }
  for (std::size_t i = 0; i < functions.size(); ++i) {
    Function<B>& function = *functions[i];
    const auto has_grad = [](const auto& output) { return output && output->grad; };
    if (std::any_of(outputs[i].begin(), outputs[i].end(), has_grad)) function.run();
    for (const auto& output : outputs[i]) {
      if (!has_grad(output)) continue;
      if (output->retain) output->retain(*output);
      output->grad = {};
    }
    if (!retain_graph) {
      function.release();
      function.inputs.clear();
      function.released = true;
    }
    functions[i].reset();
    outputs[i].clear();
  }
}

/// Tensor::backward() through functions that are not older than `oldest`.
template <class T, class B>
void backward_from(const Tensor<T, B>& y, const Detached<T, B>& gradient, bool retain_graph,
                   std::uint64_t oldest) {
  if (!y.requires_grad())
    throw GraphError("backward: nothing to differentiate, no tensor behind this one requires a gradient");
  if (!(gradient.shape() == y.shape()))
    throw ShapeError("backward: the gradient must have the tensor's shape " + y.shape().to_string() +
                     ", found " + gradient.shape().to_string());
  Variable<B>& variable = *y.variable();
  const Detached<T, B> seed = gradient.contiguous_copy();
  if (variable.grad && !variable.producer) {  // a leaf collects
    const Detached<T, B> sum = y.grad().clone();
    y.device().copy_strided(seed.const_view(), sum.view(), true);
    variable.grad = sum.storage();
  } else {
    variable.grad = seed.own_storage();
  }
  run_backward(variable, retain_graph, oldest);
}

}  // namespace detail

template <class T, class B>
void Tensor<T, B>::backward(const Detached<T, B>& gradient, bool retain_graph) const {
  detail::backward_from(*this, gradient, retain_graph, /*oldest=*/0);
}

template <class T, class B>
void Tensor<T, B>::backward(bool retain_graph) const {
  if (size() != 1) throw ShapeError("backward: a scalar is needed, found shape " + shape().to_string());
  if (!variable_)
    throw GraphError("backward: nothing to differentiate, no tensor behind this one requires a gradient");
  backward(Detached<T, B>::full(device(), shape(), 1.0), retain_graph);
}

}  // namespace attune
