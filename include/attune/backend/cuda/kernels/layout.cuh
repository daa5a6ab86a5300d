#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/scatter.cuh>

// Copies, casts, and rows by number: see Layout in backend.hpp.

namespace attune::cuda {

/// Extents and strides of a copy, with as few dimensions as there can be.
struct CopyDims {
  int rank = 0;
  int64_t extent[Shape::max_rank], from[Shape::max_rank], to[Shape::max_rank];
};

/// Drops extents of 1 and joins dimensions that lie as one in both arrays.
inline CopyDims copy_dims(const Shape& shape, const Shape& from, const Shape& to) {
  CopyDims dims;
  for (int dim = 0; dim < shape.rank(); ++dim) {
    if (shape[dim] == 1) continue;
    const int last = dims.rank - 1;
    if (last >= 0 && dims.from[last] == shape[dim] * from[dim] && dims.to[last] == shape[dim] * to[dim]) {
      dims.extent[last] *= shape[dim];
      dims.from[last] = from[dim];
      dims.to[last] = to[dim];
    } else {
      dims.extent[dims.rank] = shape[dim];
      dims.from[dims.rank] = from[dim];
      dims.to[dims.rank++] = to[dim];
    }
  }
  return dims;
}

template <class S>
__global__ void __launch_bounds__(span_threads)
    copy_strided_kernel(const S* from, S* to, CopyDims dims, int64_t count, bool accumulate) {
  for (int64_t i = int64_t{blockIdx.x} * span_threads + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * span_threads) {
    int64_t rest = i, at_from = 0, at_to = 0;
    for (int dim = dims.rank - 1; dim >= 0; --dim) {
      const int64_t outer = rest / dims.extent[dim], index = rest - outer * dims.extent[dim];
      at_from += index * dims.from[dim];
      at_to += index * dims.to[dim];
      rest = outer;
    }
    to[at_to] = accumulate ? from_float<S>(to_float(to[at_to]) + to_float(from[at_from])) : from[at_from];
  }
}

/// As many elements at once as a pack of the narrower type has.
template <class From, class To>
struct Cast {
  using Narrow = std::conditional_t<(sizeof(From) < sizeof(To)), From, To>;
  const From* from;
  To* to;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    float values[pack_size<Narrow>];
    load_packs(from + at, count, aligned, values);
    store_packs(to + at, values, count, aligned);
  }
};

template <class S>
struct Fill {
  S* y;
  float value;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    Pack<S> pack;
    for (float& element : pack.v) element = value;
    store_pack(y + at, pack, count, aligned);
  }
};

template <class S>
struct GatherRows {
  Rows<const S> table;
  const int32_t* ids;
  Rows<S> rows;
  bool accumulate;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<S> pack = load_pack(table.row(ids[row]) + column, count, table.aligned);
    if (accumulate) {
      const Pack<S> before = load_pack(rows.row(row) + column, count, rows.aligned);
      for (int k = 0; k < Pack<S>::size; ++k) pack.v[k] += before.v[k];
    }
    store_pack(rows.row(row) + column, pack, count, rows.aligned);
  }
};

struct ZeroRows {
  Rows<float> rows;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    store_pack(rows.row(row) + column, Pack<float>{}, count, rows.aligned);
  }
};

template <class T>
void Layout<T>::copy_strided(StridedView<const T> from, StridedView<T> to, bool accumulate) const {
  const std::int64_t count = from.shape.size();
  if (count == 0) return;
  Context& context = context_of(*this);
  const CopyDims dims = copy_dims(from.shape, from.strides, to.strides);
  const auto config = launch_config(context, grid_for(ceil_div(count, span_threads)), span_threads);
  check(ATTUNE_LAUNCH(config, copy_strided_kernel<Scalar<T>>, raw(from.data), raw(to.data), dims, count,
                      accumulate),
        "copy_strided");
}

template <class T>
void Layout<T>::cast(std::span<const T> from, std::span<W> to) const {
  using Kernel = Cast<Scalar<T>, W>;
  launch_over_span<typename Kernel::Narrow>(
      context_of(*this), static_cast<std::int64_t>(from.size()),
      Kernel{raw(from.data()), to.data(), is_aligned16(from.data()) && is_aligned16(to.data())});
}

template <class T>
void Layout<T>::cast(std::span<const OtherWide<T>> from, std::span<T> to) const {
  if constexpr (!std::is_same_v<T, W>) {
    using Kernel = Cast<W, Scalar<T>>;
    launch_over_span<typename Kernel::Narrow>(
        context_of(*this), static_cast<std::int64_t>(from.size()),
        Kernel{from.data(), raw(to.data()), is_aligned16(from.data()) && is_aligned16(to.data())});
  }
}

template <class T>
void Layout<T>::fill(std::span<T> y, double value) const {
  launch_over_span<Scalar<T>>(
      context_of(*this), static_cast<std::int64_t>(y.size()),
      Fill<Scalar<T>>{raw(y.data()), static_cast<float>(value), is_aligned16(y.data())});
}

template <class T>
void Layout<T>::gather_rows(MatrixView<const T> table, std::span<const std::int32_t> ids, MatrixView<T> rows,
                            bool accumulate) const {
  launch_over_rows<Scalar<T>>(context_of(*this), rows.rows, rows.cols,
                              GatherRows<Scalar<T>>{rows_of(table), ids.data(), rows_of(rows), accumulate});
}

template <class T>
void Layout<T>::scatter_add_rows(MatrixView<const T> rows, std::span<const std::int32_t> ids,
                                 MatrixView<W> sums, bool accumulate) const {
  Context& context = context_of(*this);
  if (!accumulate) launch_over_rows<float>(context, sums.rows, sums.cols, ZeroRows{rows_of(sums)});
  if (rows.rows == 0 || rows.cols == 0) return;
  scatter_rows(context, rows_of(rows), rows.cols, ids, rows_of(sums), accumulate);
}

}  // namespace attune::cuda
