#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/random.hpp>

// The arguments of a kernel, described once and made for every backend and scalar type.

namespace attune::testing {

enum class Kind { value, wide, integer };  // T, Wide<T>, int32
enum class Role { input, output, updated };

/// How far an output may be from the exact result, in theory: with u = 2^-24, the unit roundoff of float, and
/// u_T that of the type it is stored in (2^-8 for bfloat16),
///   |y - exact| <= u_T (|exact| + stored + stored_sums M) + u (sums M + relative |exact| + absolute).
/// M is the sum of the magnitudes that a sum runs over, found by running the reference on |inputs|; so `sums`
/// is the number of roundings on the longest path of the sum (Higham, "Accuracy and stability of numerical
/// algorithms", 2nd ed., section 3.1). `stored` counts what passes through memory in T on the way,
/// `stored_sums` the same as a part of M.
struct Bound {
  double sums = 0.0;
  double relative = 0.0;
  double absolute = 0.0;
  double stored = 0.0;
  double stored_sums = 0.0;
  int magnitude_of = -1;  ///< the output whose M counts, when not this one; of the same layout
};

/// A matrix of `rows` rows; a vector is one row. Cells between cols and stride belong to nobody.
struct Array {
  Kind kind = Kind::value;
  Role role = Role::input;
  std::int64_t rows = 1, cols = 0, stride = 0;
  std::function<double(std::int64_t, RandomStream&)> fill{};
  Bound bound{};
  bool same_zeros = false;  ///< an output that is zero exactly where the reference's is

  std::int64_t storage() const { return rows == 0 ? 0 : stride == 0 ? cols : rows * stride; }
  bool is_cell(std::int64_t at) const { return stride == 0 || at % stride < cols; }
};

inline auto uniform(double low, double high) {
  return [=](std::int64_t, RandomStream& random) { return low + (high - low) * double(random.uniform()); };
}
inline auto constant(double value) {
  return [=](std::int64_t, RandomStream&) { return value; };
}
inline auto below(std::int64_t bound) {
  return [=](std::int64_t, RandomStream& random) {
    return double(random.below(static_cast<std::uint64_t>(bound)));
  };
}
inline auto listed(std::vector<std::int32_t> values) {
  return [=](std::int64_t at, RandomStream&) { return double(values[static_cast<std::size_t>(at)]); };
}

/// Inputs: a matrix, a vector, a vector of Wide<T>, integers. The stride is cols + gap.
template <class F>
Array matrix(std::int64_t rows, std::int64_t cols, std::int64_t gap, F fill) {
  return {Kind::value, Role::input, rows, cols, cols + gap, fill};
}
template <class F>
Array vector(std::int64_t n, F fill) {
  return {Kind::value, Role::input, 1, n, n, fill};
}
template <class F>
Array wide_vector(std::int64_t n, F fill) {
  return {Kind::wide, Role::input, 1, n, n, fill};
}
template <class F>
Array integers(std::int64_t n, F fill) {
  return {Kind::integer, Role::input, 1, n, n, fill};
}
inline Array integers(const std::vector<std::int32_t>& values) {
  return integers(static_cast<std::int64_t>(values.size()), listed(values));
}
inline Array out_matrix(std::int64_t rows, std::int64_t cols, std::int64_t gap, Bound bound = {}) {
  return {Kind::value, Role::output, rows, cols, cols + gap, constant(-77.0), bound};
}
inline Array out_vector(std::int64_t n, Bound bound = {}) { return out_matrix(1, n, 0, bound); }
inline Array out_wide(std::int64_t n, Bound bound = {}) {
  return {Kind::wide, Role::output, 1, n, n, constant(-77.0), bound};
}
/// An output that is read as well: the target of `accumulate`, `beta`, or of a kernel in place.
inline Array updated(Array array) {
  array.role = Role::updated;
  array.fill = uniform(-1.0, 1.0);
  return array;
}
inline Array as_wide(Array array) {
  array.kind = Kind::wide;
  return array;
}
inline Array with_same_zeros(Array array) {
  array.same_zeros = true;
  return array;
}

/// The double as it is stored: in T, or in Wide<T>.
template <class T>
double rounded(double value, Kind kind) {
  if (kind == Kind::integer) return value;
  if (kind == Kind::wide) return double(Wide<T>(value));
  return double(T(value));
}

/// Arrays on a device, handed to kernels as views.
template <class B, class T>
class Arguments {
 public:
  using value_type = T;

  /// values[i] are array i's storage.
  Arguments(const B& device, const std::vector<Array>& arrays, const std::vector<std::vector<double>>& values)
      : device_(device), arrays_(&arrays) {
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      const std::size_t bytes = values[i].size() * element_size(i);
      buffers_.emplace_back(device_.allocate(bytes), bytes);
      upload(static_cast<int>(i), values[i]);
    }
  }
  Arguments(const Arguments&) = delete;
  ~Arguments() {
    for (const auto& [data, bytes] : buffers_) device_.deallocate(data, bytes);
  }

  MatrixView<T> matrix(int i) const { return view<T>(i); }
  MatrixView<Wide<T>> wide_matrix(int i) const { return view<Wide<T>>(i); }
  std::span<T> span(int i) const { return {view<T>(i).data, size(i)}; }
  std::span<Wide<T>> wide(int i) const { return {view<Wide<T>>(i).data, size(i)}; }
  std::span<const std::int32_t> integers(int i) const { return {view<std::int32_t>(i).data, size(i)}; }
  std::span<std::int32_t> out_integers(int i) const { return {view<std::int32_t>(i).data, size(i)}; }
  StridedView<T> strided(int i, const Shape& shape, const Shape& strides, std::int64_t offset = 0) const {
    return {view<T>(i).data + offset, shape, strides};
  }

  std::vector<double> download(int i) const {
    switch ((*arrays_)[static_cast<std::size_t>(i)].kind) {
      case Kind::value:
        return download_as<T>(i);
      case Kind::wide:
        return download_as<Wide<T>>(i);
      case Kind::integer:
        return download_as<std::int32_t>(i);
    }
    return {};
  }

 private:
  template <class E>
  MatrixView<E> view(int i) const {
    const Array& array = (*arrays_)[static_cast<std::size_t>(i)];
    return {static_cast<E*>(buffers_[static_cast<std::size_t>(i)].first), array.rows, array.cols,
            array.stride};
  }
  std::size_t size(int i) const {
    return static_cast<std::size_t>((*arrays_)[static_cast<std::size_t>(i)].storage());
  }
  std::size_t element_size(std::size_t i) const {
    const Kind kind = (*arrays_)[i].kind;
    return kind == Kind::value ? sizeof(T) : kind == Kind::wide ? sizeof(Wide<T>) : sizeof(std::int32_t);
  }
  void upload(int i, const std::vector<double>& values) {
    switch ((*arrays_)[static_cast<std::size_t>(i)].kind) {
      case Kind::value:
        return upload_as<T>(i, values);
      case Kind::wide:
        return upload_as<Wide<T>>(i, values);
      case Kind::integer:
        return upload_as<std::int32_t>(i, values);
    }
  }
  template <class E>
  void upload_as(int i, const std::vector<double>& values) {
    std::vector<E> elements;
    for (const double value : values) elements.push_back(E(value));
    device_.upload(buffers_[static_cast<std::size_t>(i)].first, elements.data(), elements.size() * sizeof(E));
  }
  template <class E>
  std::vector<double> download_as(int i) const {
    std::vector<E> elements(size(i));
    device_.download(elements.data(), buffers_[static_cast<std::size_t>(i)].first,
                     elements.size() * sizeof(E));
    return {elements.begin(), elements.end()};
  }

  B device_;
  const std::vector<Array>* arrays_;
  std::vector<std::pair<void*, std::size_t>> buffers_;
};

}  // namespace attune::testing
