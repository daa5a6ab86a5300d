#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <attune/tensor/detached.hpp>

namespace attune {

/// How a parameter begins when no checkpoint has it.
/// sinusoidal: row p is the sine and cosine of p / 10000^(2i/C), in turn (Vaswani et al. 2017,
/// arXiv:1706.03762, 3.5).
enum class Init : std::uint8_t { zeros, ones, normal, sinusoidal };

/// What the handles of one parameter share. The scalar type is data here, so that parameters of several types
/// can be listed, moved into an optimizer's arena and saved together.
template <class B>
struct ParameterState {
  Shape shape;
  DType dtype = DType::f32;           ///< the type that is computed in
  Storage<B> value;                   ///< in `dtype`, or the blocks of a quantised matrix
  std::optional<BlockType> blocks{};  ///< what `value` then holds: frozen, and read by products alone
  Storage<B> master;  ///< in Wide<dtype>; the same memory as `value` when the types agree; empty when frozen
  Storage<B> grad;    ///< in Wide<dtype>; empty until the first backward
  bool has_grad = false;     ///< false: `grad` holds nothing that counts, the first writer overwrites it
  bool grad_is_new = false;  ///< `grad` is all zero, memory that nobody has touched
  /// For each row of a table, whether its gradient in `grad` may differ from zero; empty: any row's may.
  std::vector<std::uint8_t> grad_rows;
  std::uint64_t owner = 0;  ///< the optimizer that holds it in its arena
  Init init = Init::zeros;
  bool may_be_quantized = false;   ///< all its readers are products that can read blocks
  bool stored_transposed = false;  ///< a checkpoint holds the matrix as [columns, rows]: GPT-2's "Conv1D"
  std::int64_t zero_row =
      -1;  ///< begins as zeros whatever `init` says (an embedding's padding_idx); -1: none
  /// For each row range that has its own name, whether it trains. One range unless the parameter is fused.
  struct Part {
    std::int64_t row_begin, row_end;
    bool trainable;
  };
  std::vector<Part> parts;

  bool trainable() const {
    for (const Part& part : parts)
      if (part.trainable) return true;
    return false;
  }
};

/// A matrix in quantised blocks on a device.
template <class B>
struct DeviceBlocks {
  Storage<B> storage;
  BlockType type = BlockType::q8_0;
  std::int64_t rows = 0, cols = 0;

  explicit operator bool() const { return static_cast<bool>(storage); }
  BlockView view() const { return {storage.data(), rows, cols, type}; }
};

/// A trainable array of a module: a handle, copies share it. It owns a float master (Wide<T>) from loading
/// on, and a value rounded to T when T is narrower. Its gradient is Wide<T> and accumulates.
///
/// rows(begin, end) is a handle of some rows with its own name in the checkpoint: query, key and value can be
/// one matrix for the kernels and three parameters for everybody else.
template <class T, class B>
class Parameter {
 public:
  using value_type = T;

  Parameter() = default;
  /// Uninitialised, trainable. Shape [rows, ...]. `fused` > 1 says that so many parameters of equal size lie
  /// here one below the other, each under its own name.
  Parameter(const B& device, const Shape& shape, Init init = Init::zeros, int fused = 1)
      : state_(std::make_shared<ParameterState<B>>()), rows_(extent(shape)) {
    const auto count = static_cast<std::size_t>(shape.size());
    state_->shape = shape;
    state_->dtype = dtype_of<T>;
    state_->master = Storage<B>(device, count * sizeof(Wide<T>));
    state_->value = std::is_same_v<T, Wide<T>> ? state_->master : Storage<B>(device, count * sizeof(T));
    state_->init = init;
    for (int part = 0; part < fused; ++part)
      state_->parts.push_back({rows_ / fused * part, rows_ / fused * (part + 1), true});
  }

  explicit operator bool() const { return state_ != nullptr; }
  const std::shared_ptr<ParameterState<B>>& state() const { return state_; }
  std::int64_t row_begin() const { return begin_; }
  std::int64_t row_end() const { return begin_ + rows_; }
  bool whole() const { return rows_ == extent(state_->shape); }
  Shape shape() const {
    Shape shape = state_->shape;
    if (shape.rank() > 0) shape[0] = rows_;
    return shape;
  }
  std::int64_t size() const { return shape().size(); }
  const B& device() const { return state_->value.device(); }
  Parameter rows(std::int64_t begin, std::int64_t end) const {
    if (begin < 0 || begin > end || end > rows_)
      throw ShapeError("Parameter::rows: no rows " + std::to_string(begin) + " .. " + std::to_string(end) +
                       " in " + shape().to_string());
    Parameter part = *this;
    part.begin_ += begin;
    part.rows_ = end - begin;
    return part;
  }

  /// Whether any of these rows trains.
  bool trainable() const {
    for (const auto& part : state_->parts)
      if (part.trainable && part.row_begin < row_end() && part.row_end > row_begin()) return true;
    return false;
  }

  /// Stops these rows from training, when they are all of a part. See set_trainable() in parameter_list.hpp
  /// for more.
  void freeze() const {
    for (auto& part : state_->parts)
      if (part.row_begin >= begin_ && part.row_end <= row_end()) part.trainable = false;
    state_->owner = 0;  // an optimizer made before has chunks of these rows
  }

  /// What is computed with. Throws ConfigError for quantised blocks.
  Detached<T, B> value() const {
    if (quantized())
      throw ConfigError("Parameter: " + std::string(name_of(*state_->blocks)) +
                        " blocks are read by products alone");
    return part_of<T>(state_->value);
  }
  /// Whether it is a matrix in quantised blocks: blocks() is what is computed with.
  bool quantized() const { return state_->blocks.has_value(); }
  DeviceBlocks<B> blocks() const {
    const BlockView all{nullptr, 0, state_->shape[1], *state_->blocks};
    const auto row_bytes = static_cast<std::size_t>(all.row_bytes());
    return {state_->value.slice(static_cast<std::size_t>(begin_) * row_bytes,
                                static_cast<std::size_t>(rows_) * row_bytes),
            all.type, rows_, all.cols};
  }
  /// The float master; the value itself when the types agree. Empty for a frozen bfloat16 parameter.
  Detached<Wide<T>, B> master() const {
    return state_->master ? part_of<Wide<T>>(state_->master) : Detached<Wide<T>, B>();
  }
  /// The gradient; empty when no backward has reached it since zero_grad, and for frozen rows.
  Detached<Wide<T>, B> grad() const {
    state_->grad_rows.clear();  // the caller may write into it
    return state_->has_grad && trainable() ? part_of<Wide<T>>(state_->grad) : Detached<Wide<T>, B>();
  }
  /// Forgets the gradient, as an optimizer's zero_grad does for all its parameters.
  void zero_grad() const { state_->has_grad = false; }

  /// Overwrites the master with values from the host and rounds them to T. Quantised blocks become an
  /// ordinary array.
  void assign(std::span<const Wide<T>> values) const {
    if (quantized()) make_plain();
    const auto target = state_->master
                            ? part_of<Wide<T>>(state_->master)
                            : Detached<Wide<T>, B>(device(), shape());  // frozen: only the rounded copy stays
    target.copy_from(values);
    round();
    if constexpr (!std::is_same_v<T, Wide<T>>) {
      if (!state_->master) device().cast(std::span<const Wide<T>>(target.span()), value().span());
    }
  }
  /// Makes the value the rounded master again, after the master changed.
  void round() const {
    if constexpr (!std::is_same_v<T, Wide<T>>) {
      if (state_->master) device().cast(std::span<const Wide<T>>(master().span()), value().span());
    }
    state_->value.mark_changed();
  }

 private:
  void make_plain() const {
    if (!whole()) throw ConfigError("Parameter: some rows of quantised blocks cannot be assigned to");
    state_->value = Storage<B>(device(), static_cast<std::size_t>(size()) * sizeof(T));
    if constexpr (std::is_same_v<T, Wide<T>>) state_->master = state_->value;
    state_->blocks.reset();
  }
  static std::int64_t extent(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[0]; }

  template <class U>
  Detached<U, B> part_of(const Storage<B>& storage) const {
    const std::int64_t row_size =
        state_->shape.size() == 0 ? 0 : state_->shape.size() / extent(state_->shape);
    return Detached<U, B>(storage.slice(static_cast<std::size_t>(begin_ * row_size) * sizeof(U),
                                        static_cast<std::size_t>(rows_ * row_size) * sizeof(U)),
                          shape());
  }

  std::shared_ptr<ParameterState<B>> state_;
  std::int64_t begin_ = 0;
  std::int64_t rows_ = 0;
};

}  // namespace attune
