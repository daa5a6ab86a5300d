#pragma once

#include <cstdint>
#include <limits>
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

/// What lies as whole packs in both arrays, counted in packs. False where it does not.
template <class S>
bool in_packs(const S* from, const S* to, CopyDims& dims) {
  constexpr int64_t size = pack_size<S>;
  const int last = dims.rank - 1;
  if (last < 0 || dims.from[last] != 1 || dims.to[last] != 1 || dims.extent[last] % size != 0) return false;
  if (!is_aligned16(from) || !is_aligned16(to)) return false;
  for (int dim = 0; dim < last; ++dim)
    if (dims.from[dim] % size != 0 || dims.to[dim] % size != 0) return false;
  dims.extent[last] /= size;
  for (int dim = 0; dim < last; ++dim) {
    dims.from[dim] /= size;
    dims.to[dim] /= size;
  }
  return true;
}

/// to = from or to += from, of the first `count` elements but no more than `Size`.
template <int Size, class S>
__device__ __forceinline__ void copy_pack(const S* from, S* to, int64_t count, bool accumulate,
                                          bool aligned) {
  if (accumulate) {
    Pack<S> pack = load_pack(from, count, aligned);
    const Pack<S> before = load_pack(to, count, aligned);
    for (int k = 0; k < Size; ++k) pack.v[k] += before.v[k];
    store_pack(to, pack, count, aligned);
  } else if (Size == pack_size<S> && aligned && count >= Size) {
    *reinterpret_cast<uint4*>(port::aligned16(to)) = *reinterpret_cast<const uint4*>(port::aligned16(from));
  } else {
    for (int k = 0; k < Size; ++k)
      if (k < count) to[k] = from[k];
  }
}

/// The same for arrays of any strides. A thread copies `Size` elements that lie side by side, a pack or one;
/// dims and count are in such pieces. `Index` holds the count.
template <class S, int Size, class Index>
__global__ void __launch_bounds__(span_threads)
    copy_strided_kernel(const S* from, S* to, CopyDims dims, Index count, bool accumulate) {
  for (Index i = Index{blockIdx.x} * span_threads + threadIdx.x; i < count;
       i += Index{gridDim.x} * span_threads) {
    Index rest = i;
    int64_t at_from = 0, at_to = 0;
    for (int dim = dims.rank - 1; dim >= 0; --dim) {
      const Index extent = static_cast<Index>(dims.extent[dim]), outer = rest / extent;
      const auto index = static_cast<int64_t>(rest - outer * extent);
      at_from += index * dims.from[dim];
      at_to += index * dims.to[dim];
      rest = outer;
    }
    copy_pack<Size>(from + at_from * Size, to + at_to * Size, Size, accumulate, true);
  }
}

/// And for arrays without gaps.
template <class S>
struct CopySpan {
  const S* from;
  S* to;
  bool accumulate, aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    copy_pack<pack_size<S>>(from + at, to + at, count, accumulate, aligned);
  }
};

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

template <class S, int Size, class Index>
void launch_copy_strided(const Context& context, const S* from, S* to, const CopyDims& dims, int64_t count,
                         bool accumulate) {
  const auto config = launch_config(context, grid_for(ceil_div(count, span_threads)), span_threads);
  check(ATTUNE_LAUNCH(config, (copy_strided_kernel<S, Size, Index>), from, to, dims,
                      static_cast<Index>(count), accumulate),
        "copy_strided");
}

template <class T>
void Layout<T>::copy_strided(StridedView<const T> from, StridedView<T> to, bool accumulate) const {
  using S = Scalar<T>;
  const std::int64_t count = from.shape.size();
  if (count == 0) return;
  const Context& context = context_of(*this);
  const S* const source = raw(from.data);
  S* const target = raw(to.data);
  CopyDims dims = copy_dims(from.shape, from.strides, to.strides);
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();  // divided faster than 64 bits are
  if (dims.rank == 0 || (dims.rank == 1 && dims.from[0] == 1 && dims.to[0] == 1))
    launch_over_span<S>(
        context, count,
        CopySpan<S>{source, target, accumulate, is_aligned16(source) && is_aligned16(target)});
  else if (count > most)
    launch_copy_strided<S, 1, std::int64_t>(context, source, target, dims, count, accumulate);
  else if (in_packs(source, target, dims))
    launch_copy_strided<S, pack_size<S>, std::uint32_t>(context, source, target, dims, count / pack_size<S>,
                                                        accumulate);
  else
    launch_copy_strided<S, 1, std::uint32_t>(context, source, target, dims, count, accumulate);
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
