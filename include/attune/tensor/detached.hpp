#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/error.hpp>
#include <attune/core/shape.hpp>
#include <attune/tensor/storage.hpp>

namespace attune {

/// A strided array on a device that takes no part in any graph: what kernels work on.
///
/// Only a Detached yields views. A Tensor does not, so code that calls a kernel without giving its backward
/// has to say `detach()` first. Copies share memory; clone() does not.
template <class T, class B>
class Detached {
 public:
  using value_type = T;

  Detached() = default;
  /// Uninitialised memory of the given shape.
  Detached(const B& device, const Shape& shape)
      : storage_(device, static_cast<std::size_t>(shape.size()) * sizeof(T)),
        shape_(shape),
        strides_(shape.contiguous_strides()) {}
  /// A contiguous array over existing memory.
  Detached(Storage<B> storage, const Shape& shape)
      : storage_(std::move(storage)), shape_(shape), strides_(shape.contiguous_strides()) {}

  static Detached from_values(const B& device, const Shape& shape, std::span<const T> values) {
    if (static_cast<std::int64_t>(values.size()) != shape.size())
      throw ShapeError("from_values: shape " + shape.to_string() + " needs " + std::to_string(shape.size()) +
                       " values, found " + std::to_string(values.size()));
    Detached result(device, shape);
    if (!values.empty()) device.upload(result.data(), values.data(), values.size_bytes());
    return result;
  }
  static Detached full(const B& device, const Shape& shape, double value) {
    Detached result(device, shape);
    device.fill(result.span(), value);
    return result;
  }

  explicit operator bool() const { return static_cast<bool>(storage_); }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  std::int64_t size() const { return shape_.size(); }
  const B& device() const { return storage_.device(); }
  const Storage<B>& storage() const { return storage_; }
  /// The part of the storage that a contiguous array lies in.
  Storage<B> own_storage() const {
    return storage_.slice(static_cast<std::size_t>(offset_) * sizeof(T),
                          static_cast<std::size_t>(size()) * sizeof(T));
  }
  T* data() const { return reinterpret_cast<T*>(storage_.data()) + offset_; }

  bool contiguous() const {
    std::int64_t stride = 1;
    for (int dim = rank() - 1; dim >= 0; --dim) {
      if (shape_[dim] != 1 && strides_[dim] != stride) return false;
      stride *= shape_[dim];
    }
    return true;
  }

  /// All elements in a row. Throws ShapeError unless contiguous.
  std::span<T> span() const {
    if (!contiguous()) throw ShapeError("span: a contiguous array is needed, found " + describe());
    return {data(), static_cast<std::size_t>(size())};
  }
  StridedView<T> view() const { return {data(), shape_, strides_}; }
  StridedView<const T> const_view() const { return {data(), shape_, strides_}; }

  /// The leading dimensions folded into rows: [..., C] as [rows, C]. Throws ShapeError when the strides do
  /// not allow it.
  MatrixView<T> matrix() const {
    const std::optional<std::int64_t> distance = row_distance();
    if (!distance) throw ShapeError("matrix: rows must lie at one distance, found " + describe());
    MatrixView<T> view{data(), 1, shape_.back(), *distance};
    for (int dim = 0; dim < rank() - 1; ++dim) view.rows *= shape_[dim];
    return view;
  }
  /// Whether matrix() can be had.
  bool has_matrix() const { return row_distance().has_value(); }

  /// The same elements in a new shape; one extent may be -1. Shares memory; throws ShapeError unless
  /// contiguous.
  Detached reshape(Shape shape) const {
    std::int64_t known = 1;
    int open = -1;
    for (int dim = 0; dim < shape.rank(); ++dim) {
      if (shape[dim] == -1 && open < 0) {
        open = dim;
      } else {
        known *= shape[dim];
      }
    }
    if (open >= 0 && known != 0) shape[open] = size() / known;
    const bool negative =
        std::any_of(shape.begin(), shape.end(), [](std::int64_t extent) { return extent < 0; });
    if (negative || shape.size() != size() || !contiguous())
      throw ShapeError("reshape: cannot view " + describe() + " as " + shape.to_string());
    Detached result = *this;
    result.shape_ = shape;
    result.strides_ = shape.contiguous_strides();
    return result;
  }

  /// Dimensions in a new order. Shares memory.
  Detached permute(std::span<const int> order) const {
    Detached result = *this;
    std::vector<bool> seen(static_cast<std::size_t>(rank()));
    bool valid = static_cast<int>(order.size()) == rank();
    for (std::size_t dim = 0; valid && dim < order.size(); ++dim) {
      valid = order[dim] >= 0 && order[dim] < rank() && !seen[static_cast<std::size_t>(order[dim])];
      if (!valid) break;
      seen[static_cast<std::size_t>(order[dim])] = true;
      result.shape_[static_cast<int>(dim)] = shape_[order[dim]];
      result.strides_[static_cast<int>(dim)] = strides_[order[dim]];
    }
    if (!valid)
      throw ShapeError("permute: the order must name each dimension of " + shape_.to_string() + " once");
    return result;
  }

  /// Indices begin .. end of one dimension. Shares memory.
  Detached slice(int dim, std::int64_t begin, std::int64_t end) const {
    if (dim < 0 || dim >= rank() || begin < 0 || begin > end || end > shape_[dim])
      throw ShapeError("slice: no indices " + std::to_string(begin) + " .. " + std::to_string(end) +
                       " in dimension " + std::to_string(dim) + " of " + shape_.to_string());
    Detached result = *this;
    result.offset_ += begin * strides_[dim];
    result.shape_[dim] = end - begin;
    return result;
  }

  /// Repeats extents of 1 (and adds leading dimensions) without copying. Throws ShapeError when the shapes do
  /// not fit.
  Detached expand(const Shape& shape) const {
    const int added = shape.rank() - rank();
    Detached result = *this;
    result.shape_ = shape;
    result.strides_ = shape;
    bool fits = added >= 0;
    for (int dim = 0; fits && dim < shape.rank(); ++dim) {
      const bool own = dim >= added;
      const bool same = own && shape_[dim - added] == shape[dim];
      fits = same || !own || shape_[dim - added] == 1;
      result.strides_[dim] = same ? strides_[dim - added] : 0;
    }
    if (!fits) throw ShapeError("expand: cannot repeat " + shape_.to_string() + " to " + shape.to_string());
    return result;
  }

  /// A contiguous copy.
  Detached clone() const {
    Detached copy(device(), shape_);
    if (size() == 0) return copy;
    if (contiguous())
      device().copy(copy.data(), data(), static_cast<std::size_t>(size()) * sizeof(T));
    else if constexpr (requires { device().copy_strided(const_view(), copy.view(), false); })
      device().copy_strided(const_view(), copy.view(), false);
    else
      throw ShapeError("clone: integers must be contiguous, found " + describe());
    return copy;
  }
  /// Itself when already contiguous, else a copy.
  Detached contiguous_copy() const { return contiguous() ? *this : clone(); }

  /// The values on the host, row-major.
  std::vector<T> to_vector() const {
    const Detached whole = contiguous_copy();
    std::vector<T> values(static_cast<std::size_t>(size()));
    if (!values.empty()) device().download(values.data(), whole.data(), values.size() * sizeof(T));
    return values;
  }
  /// The single value. Throws ShapeError for any other size.
  T item() const {
    if (size() != 1) throw ShapeError("item: one element is needed, found " + describe());
    T value;
    device().download(&value, data(), sizeof(T));
    return value;
  }

  /// Overwrites the values in place and tells the graph that they changed.
  void copy_from(std::span<const T> values) const {
    if (static_cast<std::int64_t>(values.size()) != size())
      throw ShapeError("copy_from: " + describe() + " needs " + std::to_string(size()) + " values, found " +
                       std::to_string(values.size()));
    if (!values.empty()) device().upload(span().data(), values.data(), values.size_bytes());
    storage_.mark_changed();
  }

  std::string describe() const {
    return "shape " + shape_.to_string() +
           (contiguous() ? std::string() : " with strides " + strides_.to_string());
  }

 private:
  /// How far apart the rows of matrix() are; nothing when that differs.
  std::optional<std::int64_t> row_distance() const {
    if (size() == 0 || rank() == 0) return shape_.back();
    if (shape_.back() > 1 && strides_[rank() - 1] != 1) return std::nullopt;
    std::optional<std::int64_t> distance;
    std::int64_t rows = 1;
    for (int dim = rank() - 2; dim >= 0; --dim) {
      if (shape_[dim] == 1) continue;
      if (!distance) distance = strides_[dim];
      if (strides_[dim] != *distance * rows) return std::nullopt;
      rows *= shape_[dim];
    }
    return distance.value_or(shape_.back());
  }

  Storage<B> storage_;
  Shape shape_;
  Shape strides_;
  std::int64_t offset_ = 0;
};

}  // namespace attune
