#pragma once

#include <algorithm>

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/dropout.hpp>
#include <attune/backend/cpu/elementwise.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

template <class T>
void Elementwise<T>::unary(Unary op, std::span<const T> x, std::span<T> y) const {
  parallel_chunks(static_cast<std::int64_t>(x.size()), task_size, [&](std::int64_t begin, std::int64_t end) {
    kernels().elements<T>().unary(op, x.data() + begin, y.data() + begin, end - begin);
  });
}

template <class T>
void Elementwise<T>::unary_backward(Unary op, std::span<const T> saved, std::span<const T> dy,
                                    std::span<T> dx) const {
  parallel_chunks(static_cast<std::int64_t>(dy.size()), task_size, [&](std::int64_t begin, std::int64_t end) {
    const T* const values = saves(op) == Saves::nothing ? nullptr : saved.data() + begin;
    kernels().elements<T>().unary_backward(op, values, dy.data() + begin, dx.data() + begin, end - begin);
  });
}

/// Calls f(row, begin, n) for pieces that cover a rows x cols matrix, each by one task.
template <class F>
void for_each_piece(std::int64_t rows, std::int64_t cols, const F& f) {
  if (cols <= task_size) {
    parallel_chunks(rows, rows_per_task(cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) f(row, std::int64_t{0}, cols);
    });
    return;
  }
  const std::int64_t pieces = (cols + task_size - 1) / task_size;
  parallel_for(rows * pieces, [&](std::int64_t task) {
    const std::int64_t begin = task % pieces * task_size;
    f(task / pieces, begin, std::min(task_size, cols - begin));
  });
}

template <class T>
void Elementwise<T>::binary(Binary op, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) const {
  for_each_piece(c.rows, c.cols, [&](std::int64_t row, std::int64_t begin, std::int64_t n) {
    kernels().elements<T>().combine(op, a.row(row) + begin, b.row(row) + begin, c.row(row) + begin, n);
  });
}

template <class T>
void Elementwise<T>::axpby(float alpha, std::span<const T> x, float beta, std::span<T> y) const {
  parallel_chunks(static_cast<std::int64_t>(x.size()), task_size, [&](std::int64_t begin, std::int64_t end) {
    kernels().elements<T>().axpby(alpha, x.data() + begin, beta, y.data() + begin, end - begin);
  });
}

template <class T>
void Elementwise<T>::dropout(MatrixView<const T> x, DropoutView dropout, MatrixView<T> y) const {
  parallel_chunks(y.rows, rows_per_task(y.cols), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const factors = scratch.take<float>(y.cols);
    for (std::int64_t row = begin; row < end; ++row) {
      const T* const in = x.row(row);
      T* const out = y.row(row);
      if (!dropout) {
        if (in != out) std::copy_n(in, y.cols, out);
        continue;
      }
      dropout_row(dropout, row, y.cols, factors);
      kernels().elements<T>().apply_factors(in, factors, out, y.cols);
    }
  });
}

template <class T>
void Elementwise<T>::swiglu(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<T> y) const {
  for_each_piece(y.rows, y.cols, [&](std::int64_t row, std::int64_t begin, std::int64_t n) {
    Scratch scratch;
    float* const silu = scratch.take<float>(n);
    float* const buffer = scratch.take<float>(n);
    activate(Unary::silu, as_floats(gate.row(row) + begin, n, buffer), silu, n);
    const float* const u = as_floats(up.row(row) + begin, n, buffer);
    float* const out = float_target(y.row(row) + begin, buffer);
    kernels().elements<float>().combine(Binary::multiply, silu, u, out, n);
    store(out, y.row(row) + begin, n);
  });
}

template <class T>
void Elementwise<T>::swiglu_backward(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<const T> dy,
                                     MatrixView<T> dgate, MatrixView<T> dup) const {
  for_each_piece(dy.rows, dy.cols, [&](std::int64_t row, std::int64_t begin, std::int64_t n) {
    Scratch scratch;
    const float* const g = as_floats(gate.row(row) + begin, n, scratch.take<float>(n));
    const float* const u = as_floats(up.row(row) + begin, n, scratch.take<float>(n));
    const float* const d = as_floats(dy.row(row) + begin, n, scratch.take<float>(n));
    float* const gate_grad =
        scratch.take<float>(n);  // computed beside the inputs: the outputs may be their memory
    float* const up_grad = scratch.take<float>(n);
    activate(Unary::silu, g, up_grad, n);
    activate_backward(Unary::silu, g, d, gate_grad, n);
    kernels().elements<float>().combine(Binary::multiply, up_grad, d, up_grad, n);
    kernels().elements<float>().combine(Binary::multiply, gate_grad, u, gate_grad, n);
    narrow(gate_grad, dgate.row(row) + begin, n);
    narrow(up_grad, dup.row(row) + begin, n);
  });
}

}  // namespace attune::cpu
