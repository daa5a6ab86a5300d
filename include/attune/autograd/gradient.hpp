#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/tensor/detached.hpp>
#include <attune/tensor/graph.hpp>
#include <attune/tensor/parameter.hpp>

namespace attune {

/// Where an operation's backward writes the gradient of one input; false when nobody wants it.
///
/// The first writer assigns and later ones add: target() is the buffer, accumulate() says which of the two
/// the kernel has to do. A kernel that can only assign goes through write(). For a parameter, T is Wide of
/// the parameter's type. When one tensor is two inputs of an operation, the second gradient accumulates if it
/// is asked after the first was written; a kernel that writes several gradients at once fills arrays of its
/// own and hands them to adopt().
template <class T, class B>
class Gradient {
 public:
  Gradient() = default;
  /// Of a tensor; null: not wanted.
  explicit Gradient(std::shared_ptr<Variable<B>> variable) : variable_(std::move(variable)) {}
  /// Of a parameter, or of some rows of one.
  template <class U>
  requires std::is_same_v<T, Wide<U>>
  explicit Gradient(const Parameter<U, B>& parameter)
      : state_(parameter.state()),
        shape_(parameter.shape()),
        offset_(parameter.row_begin() *
                (parameter.shape().size() / std::max<std::int64_t>(1, parameter.shape()[0]))) {}

  explicit operator bool() const { return variable_ || state_; }
  const B& device() const { return variable_ ? variable_->device : state_->value.device(); }
  const Shape& shape() const { return variable_ ? variable_->shape : shape_; }

  bool accumulate() {
    prepare();
    return *accumulate_;
  }
  /// The same for a kernel that adds to the rows `ids` of a matrix and leaves the others alone (negative ids
  /// are passed over): where the backend wants to know which rows of a parameter's gradient are zero, the
  /// target is made ready for adding without clearing all of it.
  bool accumulate_rows(std::span<const std::int32_t> ids) {
    if constexpr (requires { requires B::wants_zero_rows; }) {
      if (state_ && !accumulate_ && shape_ == state_->shape) {
        if (!state_->has_grad) clear_rows();
        use_target(true);
        if (!state_->grad_rows.empty())
          for (const std::int32_t id : ids)
            if (id >= 0) state_->grad_rows[static_cast<std::size_t>(id)] = 1;
      }
    }
    return accumulate();
  }
  /// 1 to add to the target, 0 to overwrite it.
  float beta() { return accumulate() ? 1.0f : 0.0f; }

  /// Contiguous and in the input's shape; garbage unless accumulate().
  const Detached<T, B>& target() {
    prepare();
    if (!target_) {
      target_ = Detached<T, B>(device(), shape());
      variable_->grad = target_.storage();
    }
    return target_;
  }

  /// Calls `assign(out)` with an array that it has to fill, and adds that where needed. May be called again,
  /// as adopt() may: contributions add up.
  template <class F>
  void write(const F& assign) {
    if (accumulate()) {
      const Detached<T, B> contribution(device(), shape());
      assign(contribution);
      add(contribution);
    } else {
      assign(target());
    }
    written();
  }

  /// Takes an existing array for the gradient, without a copy when it is a tensor's first contribution.
  void adopt(const Detached<T, B>& gradient) {
    if (accumulate() || !variable_ || !gradient.contiguous()) {
      add(gradient);
    } else {
      variable_->grad = gradient.own_storage();
    }
    written();
  }

 private:
  void prepare() {
    if (accumulate_) return;
    if (variable_) {
      accumulate_ = static_cast<bool>(variable_->grad);
      if (*accumulate_) {
        const bool shared = !variable_->grad.unique();
        target_ = Detached<T, B>(variable_->grad, shape());
        if (shared) {  // somebody else still reads it: leave theirs alone
          target_ = target_.clone();
          variable_->grad = target_.storage();
        }
      }
      return;
    }
    make_memory();
    state_->grad_rows.clear();
    state_->grad_is_new = false;
    const bool whole = shape_ == state_->shape;
    if (!state_->has_grad && !whole) device().zero(state_->grad.data(), state_->grad.bytes());
    use_target(state_->has_grad || !whole);
  }

  void make_memory() {
    if (state_->grad) return;
    state_->grad = Storage<B>(device(), static_cast<std::size_t>(state_->shape.size()) * sizeof(T));
    state_->grad_rows.clear();
  }
  void use_target(bool accumulate) {
    accumulate_ = accumulate;
    state_->has_grad = true;
    target_ = Detached<T, B>(state_->grad.slice(static_cast<std::size_t>(offset_) * sizeof(T),
                                                static_cast<std::size_t>(shape_.size()) * sizeof(T)),
                             shape_);
  }
  /// Makes the whole gradient zero, of which most rows may be known to be zero.
  void clear_rows() {
    make_memory();
    std::vector<std::uint8_t>& rows = state_->grad_rows;
    const std::size_t bytes = state_->grad.bytes(), row_bytes = rows.empty() ? 0 : bytes / rows.size();
    if (std::exchange(state_->grad_is_new, false))
      device().expect_few_writes(state_->grad.data(), bytes);
    else if (rows.empty())
      device().zero(state_->grad.data(), bytes);
    for (std::size_t row = 0; row < rows.size(); ++row)
      if (rows[row]) device().zero(state_->grad.data() + row * row_bytes, row_bytes);
    rows.assign(static_cast<std::size_t>(shape_[0]), 0);
  }

  /// Whatever comes next adds to what is there.
  void written() {
    accumulate_.reset();
    target_ = {};
  }

  void add(const Detached<T, B>& contribution) {
    device().copy_strided(contribution.const_view(), target().view(), accumulate());
  }

  std::shared_ptr<Variable<B>> variable_;
  std::shared_ptr<ParameterState<B>> state_;
  Shape shape_;
  std::int64_t offset_ = 0;
  Detached<T, B> target_;
  std::optional<bool> accumulate_;
};

}  // namespace attune
