#pragma once

#include <attune/backend/cuda/kernels/activation.cuh>
#include <attune/backend/cuda/kernels/philox.cuh>

// Elementwise kernels: see Elementwise in backend.hpp. One pack of 16 bytes a thread and turn.

namespace attune::cuda {

template <class S>
struct UnaryForward {
  Unary op;
  const S* x;
  S* y;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    Pack<S> pack = load_pack(x + at, count, aligned);
    apply_unary(op, pack.v);
    store_pack(y + at, pack, count, aligned);
  }
};

template <class S>
struct UnaryBackward {
  Unary op;
  const S* saved;  ///< null when the operation saves nothing
  const S* dy;
  S* dx;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    Pack<S> pack = load_pack(dy + at, count, aligned), from{};
    if (saved) from = load_pack(saved + at, count, aligned);
    multiply_by_slopes(op, from.v, pack.v);
    store_pack(dx + at, pack, count, aligned);
  }
};

template <class S>
struct BinaryForward {
  Binary op;
  Rows<const S> a, b;
  Rows<S> c;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<S> x = load_pack(a.row(row) + column, count, a.aligned);
    const Pack<S> y = load_pack(b.row(row) + column, count, b.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) {
      switch (op) {
        case Binary::add:
          x.v[k] += y.v[k];
          break;
        case Binary::subtract:
          x.v[k] -= y.v[k];
          break;
        case Binary::multiply:
          x.v[k] *= y.v[k];
          break;
        case Binary::divide:
          x.v[k] /= y.v[k];
          break;
      }
    }
    store_pack(c.row(row) + column, x, count, c.aligned);
  }
};

template <class S>
struct Axpby {
  float alpha, beta;
  const float* factor;  ///< alpha on the device, unless null
  const S* x;
  S* y;
  bool aligned;
  __device__ void operator()(int64_t at, int64_t count) const {
    Pack<S> pack = load_pack(x + at, count, aligned);
    const float by = factor ? *factor : alpha;
    for (float& value : pack.v) value *= by;
    if (beta != 0.0f) {
      const Pack<S> before = load_pack(y + at, count, aligned);
      for (int k = 0; k < Pack<S>::size; ++k) pack.v[k] += beta * before.v[k];
    }
    store_pack(y + at, pack, count, aligned);
  }
};

template <class S>
struct DropoutForward {
  Dropout dropout;
  Rows<const S> x;
  Rows<S> y;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<S> pack = load_pack(x.row(row) + column, count, x.aligned);
    dropout.apply(pack, row, column);
    store_pack(y.row(row) + column, pack, count, y.aligned);
  }
};

template <class S>
struct SwigluForward {
  Rows<const S> gate, up;
  Rows<S> y;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<S> pack = load_pack(gate.row(row) + column, count, gate.aligned);
    const Pack<S> factor = load_pack(up.row(row) + column, count, up.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) pack.v[k] = pack.v[k] * sigmoid(pack.v[k]) * factor.v[k];
    store_pack(y.row(row) + column, pack, count, y.aligned);
  }
};

template <class S>
struct SwigluBackward {
  Rows<const S> gate, up, dy;
  Rows<S> dgate, dup;
  __device__ void operator()(int64_t row, int64_t column, int64_t count) const {
    Pack<S> g = load_pack(gate.row(row) + column, count, gate.aligned);
    Pack<S> u = load_pack(up.row(row) + column, count, up.aligned);
    const Pack<S> d = load_pack(dy.row(row) + column, count, dy.aligned);
    for (int k = 0; k < Pack<S>::size; ++k) {
      const float x = g.v[k];
      g.v[k] = d.v[k] * u.v[k] * silu_slope(x);
      u.v[k] = d.v[k] * x * sigmoid(x);
    }
    store_pack(dgate.row(row) + column, g, count, dgate.aligned);
    store_pack(dup.row(row) + column, u, count, dup.aligned);
  }
};

template <class T>
void Elementwise<T>::unary(Unary op, std::span<const T> x, std::span<T> y) const {
  launch_over_span<Scalar<T>>(context_of(*this), static_cast<std::int64_t>(x.size()),
                              UnaryForward<Scalar<T>>{op, raw(x.data()), raw(y.data()),
                                                      is_aligned16(x.data()) && is_aligned16(y.data())});
}

template <class T>
void Elementwise<T>::unary_backward(Unary op, std::span<const T> saved, std::span<const T> dy,
                                    std::span<T> dx) const {
  const T* needed = saves(op) == Saves::nothing ? nullptr : saved.data();
  launch_over_span<Scalar<T>>(
      context_of(*this), static_cast<std::int64_t>(dy.size()),
      UnaryBackward<Scalar<T>>{op, raw(needed), raw(dy.data()), raw(dx.data()),
                               is_aligned16(needed) && is_aligned16(dy.data()) && is_aligned16(dx.data())});
}

template <class T>
void Elementwise<T>::binary(Binary op, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) const {
  launch_over_rows<Scalar<T>>(context_of(*this), c.rows, c.cols,
                              BinaryForward<Scalar<T>>{op, rows_of(a), rows_of(b), rows_of(c)});
}

template <class T>
void Elementwise<T>::axpby(float alpha, std::span<const T> x, float beta, std::span<T> y) const {
  launch_over_span<Scalar<T>>(context_of(*this), static_cast<std::int64_t>(x.size()),
                              Axpby<Scalar<T>>{alpha, beta, nullptr, raw(x.data()), raw(y.data()),
                                               is_aligned16(x.data()) && is_aligned16(y.data())});
}

template <class T>
void Elementwise<T>::axpby(const Wide<T>* alpha, std::span<const T> x, float beta, std::span<T> y) const {
  launch_over_span<Scalar<T>>(context_of(*this), static_cast<std::int64_t>(x.size()),
                              Axpby<Scalar<T>>{1.0f, beta, alpha, raw(x.data()), raw(y.data()),
                                               is_aligned16(x.data()) && is_aligned16(y.data())});
}

template <class T>
void Elementwise<T>::dropout(MatrixView<const T> x, DropoutView dropout, MatrixView<T> y) const {
  launch_over_rows<Scalar<T>>(context_of(*this), y.rows, y.cols,
                              DropoutForward<Scalar<T>>{Dropout(dropout), rows_of(x), rows_of(y)});
}

template <class T>
void Elementwise<T>::swiglu(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<T> y) const {
  launch_over_rows<Scalar<T>>(context_of(*this), y.rows, y.cols,
                              SwigluForward<Scalar<T>>{rows_of(gate), rows_of(up), rows_of(y)});
}

template <class T>
void Elementwise<T>::swiglu_backward(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<const T> dy,
                                     MatrixView<T> dgate, MatrixView<T> dup) const {
  launch_over_rows<Scalar<T>>(
      context_of(*this), dy.rows, dy.cols,
      SwigluBackward<Scalar<T>>{rows_of(gate), rows_of(up), rows_of(dy), rows_of(dgate), rows_of(dup)});
}

}  // namespace attune::cuda
