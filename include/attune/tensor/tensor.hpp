#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <attune/tensor/detached.hpp>
#include <attune/tensor/graph.hpp>

namespace attune {

/// A value in the computation graph, as torch.Tensor: copies share memory and gradient.
///
/// Elements are T (float, bfloat16; double on the reference backend); B is the backend. The operations are in
/// ops/.
template <class T, class B>
class Tensor {
 public:
  using value_type = T;
  using backend_type = B;

  Tensor() = default;
  /// A constant: gradients stop here. Explicit, so that no operation loses its gradient by accident.
  explicit Tensor(Detached<T, B> value) : value_(std::move(value)) {}
  /// For autograd: a value with its place in the graph.
  Tensor(Detached<T, B> value, std::shared_ptr<Variable<B>> variable)
      : value_(std::move(value)), variable_(std::move(variable)) {}

  /// A leaf with the given values, row-major.
  static Tensor from_values(const B& device, const Shape& shape, std::span<const T> values) {
    return Tensor(Detached<T, B>::from_values(device, shape, values));
  }
  static Tensor full(const B& device, const Shape& shape, double value) {
    return Tensor(Detached<T, B>::full(device, shape, value));
  }
  static Tensor zeros(const B& device, const Shape& shape) { return full(device, shape, 0.0); }

  explicit operator bool() const { return static_cast<bool>(value_); }
  const Shape& shape() const { return value_.shape(); }
  int rank() const { return value_.rank(); }
  std::int64_t size() const { return value_.size(); }
  const B& device() const { return value_.device(); }

  bool requires_grad() const { return variable_ != nullptr; }
  /// Makes a leaf collect its gradient (or stop). Throws GraphError on the result of an operation.
  Tensor& set_requires_grad(bool wanted = true) {
    if (variable_ && variable_->producer)
      throw GraphError("set_requires_grad: only leaves can change it; this tensor was computed by " +
                       std::string(variable_->producer->name));
    if (wanted != requires_grad())
      variable_ = wanted ? std::make_shared<Variable<B>>(device(), shape()) : nullptr;
    return *this;
  }
  /// Keeps the gradient of a computed tensor after backward(); several backward calls add up, as for a leaf.
  void retain_grad() const {
    if (!variable_) throw GraphError("retain_grad: this tensor needs no gradient");
    variable_->retain = [](Variable<B>& variable) {
      const Detached<T, B> gradient(variable.grad, variable.shape);
      if (!variable.retained) {
        variable.retained = variable.grad;
        return;
      }
      const Detached<T, B> sum = Detached<T, B>(variable.retained, variable.shape).clone();
      variable.device.copy_strided(gradient.const_view(), sum.view(), true);
      variable.retained = sum.storage();
    };
  }
  /// The gradient that backward() left, empty when there is none.
  Detached<T, B> grad() const {
    if (!variable_) return {};
    const Storage<B>& kept = variable_->producer ? variable_->retained : variable_->grad;
    return kept ? Detached<T, B>(kept, shape()) : Detached<T, B>();
  }
  void zero_grad() const {
    if (variable_) variable_->grad = variable_->retained = {};
  }

  /// The value without the graph; shares memory.
  const Detached<T, B>& detach() const { return value_; }
  const std::shared_ptr<Variable<B>>& variable() const { return variable_; }

  std::vector<T> to_vector() const { return value_.to_vector(); }
  T item() const { return value_.item(); }

  /// Adds the gradient of this scalar with respect to every leaf to that leaf's gradient. The graph is freed
  /// on the way unless it is retained. Throws GraphError when there is nothing to differentiate, the tensor
  /// is not a scalar, the graph was freed before, or a saved tensor was changed in place. Defined in
  /// autograd/backward.hpp.
  void backward(bool retain_graph = false) const;
  /// The same for a tensor of any shape, given the gradient of it.
  void backward(const Detached<T, B>& gradient, bool retain_graph = false) const;

 private:
  Detached<T, B> value_;
  std::shared_ptr<Variable<B>> variable_;
};

}  // namespace attune
