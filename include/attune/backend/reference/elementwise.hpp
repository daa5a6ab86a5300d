#pragma once

#include <span>

#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Elementwise {
  void unary(Unary op, std::span<const T> x, std::span<T> y) const {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = T(apply(op, double(x[i])));
  }

  /// dx = dy f'(x)
  void unary_backward(Unary op, std::span<const T> saved, std::span<const T> dy, std::span<T> dx) const {
    for (std::size_t i = 0; i < dy.size(); ++i) {
      const double slope =
          saves(op) == Saves::nothing ? derivative(op, 0.0) : derivative(op, double(saved[i]));
      dx[i] = T(double(dy[i]) * slope);
    }
  }

  void binary(Binary op, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) const {
    for (std::int64_t row = 0; row < c.rows; ++row)
      for (std::int64_t column = 0; column < c.cols; ++column) {
        const double x = double(a.row(row)[column]), y = double(b.row(row)[column]);
        double value = 0.0;
        switch (op) {
          case Binary::add:
            value = x + y;
            break;
          case Binary::subtract:
            value = x - y;
            break;
          case Binary::multiply:
            value = x * y;
            break;
          case Binary::divide:
            value = x / y;
            break;
        }
        c.row(row)[column] = T(value);
      }
  }

  void axpby(float alpha, std::span<const T> x, float beta, std::span<T> y) const {
    const Wide<T> factor = alpha;
    axpby(&factor, x, beta, y);
  }
  void axpby(const Wide<T>* alpha, std::span<const T> x, float beta, std::span<T> y) const {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double scaled = double(*alpha) * double(x[i]);
      y[i] = T(beta == 0.0f ? scaled : scaled + double{beta} * double(y[i]));
    }
  }

  /// Srivastava et al., "Dropout", JMLR 2014, with survivors scaled so that the mean stays.
  void dropout(MatrixView<const T> x, DropoutView dropout, MatrixView<T> y) const {
    for (std::int64_t row = 0; row < y.rows; ++row)
      for (std::int64_t column = 0; column < y.cols; ++column) {
        const double factor = dropout_factor(dropout, row, column);
        y.row(row)[column] = T(factor == 0.0 ? 0.0 : double(x.row(row)[column]) * factor);
      }
  }

  /// y = silu(gate) up. Shazeer, "GLU variants improve transformer", arXiv:2002.05202.
  void swiglu(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<T> y) const {
    for (std::int64_t row = 0; row < y.rows; ++row)
      for (std::int64_t column = 0; column < y.cols; ++column)
        y.row(row)[column] =
            T(apply(Unary::silu, double(gate.row(row)[column])) * double(up.row(row)[column]));
  }

  /// dgate = dy up silu'(gate), dup = dy silu(gate)
  void swiglu_backward(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<const T> dy,
                       MatrixView<T> dgate, MatrixView<T> dup) const {
    for (std::int64_t row = 0; row < dy.rows; ++row)
      for (std::int64_t column = 0; column < dy.cols; ++column) {
        const double g = double(gate.row(row)[column]), u = double(up.row(row)[column]);
        const double upstream = double(dy.row(row)[column]);
        dgate.row(row)[column] = T(upstream * u * derivative(Unary::silu, g));
        dup.row(row)[column] = T(upstream * apply(Unary::silu, g));
      }
  }
};

}  // namespace attune::reference
