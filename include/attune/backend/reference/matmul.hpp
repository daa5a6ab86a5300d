#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include <attune/backend/backend.hpp>
#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Matmul {
  using W = Wide<T>;

  void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, MatmulOptions options) const {
    multiply(a, b, c, options);
  }
  void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<W> c, MatmulOptions options) const
      requires(!std::same_as<T, Wide<T>>) {
    multiply(a, b, c, options);
  }

  /// y = f(x w^T + bias)
  void linear(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias, Unary activation,
              MatrixView<T> pre_activation, MatrixView<T> y) const {
    for (std::int64_t n = 0; n < y.rows; ++n)
      for (std::int64_t m = 0; m < y.cols; ++m) {
        double sum = bias.empty() ? 0.0 : double(bias[m]);
        for (std::int64_t k = 0; k < x.cols; ++k) sum += double(x.row(n)[k]) * double(weight.row(m)[k]);
        if (pre_activation) pre_activation.row(n)[m] = T(sum);
        y.row(n)[m] = T(apply(activation, sum));
      }
  }

  /// Products with a matrix in blocks: with its elements, one by one.
  void matmul(MatrixView<const T> a, BlockView b, MatrixView<T> c, MatmulOptions options) const {
    const std::vector<T> elements = block_elements_of(b);
    multiply(a, MatrixView<const T>{elements.data(), b.rows, b.cols, b.cols}, c, options);
  }
  void linear(MatrixView<const T> x, BlockView weight, std::span<const T> bias, Unary activation,
              MatrixView<T> pre_activation, MatrixView<T> y) const {
    const std::vector<T> elements = block_elements_of(weight);
    linear(x, MatrixView<const T>{elements.data(), weight.rows, weight.cols, weight.cols}, bias, activation,
           pre_activation, y);
  }

  /// dpre = dy f'(pre), dbias = its column sums
  void linear_activation_backward(Unary activation, MatrixView<const T> saved, MatrixView<const T> dy,
                                  MatrixView<T> dpre, std::span<W> bias_grad, bool accumulate) const {
    for (std::int64_t m = 0; m < dy.cols; ++m) {
      double sum = 0.0;
      for (std::int64_t n = 0; n < dy.rows; ++n) {
        const double slope = saves(activation) == Saves::nothing
                                 ? derivative(activation, 0.0)
                                 : derivative(activation, double(saved.row(n)[m]));
        const double gradient = double(dy.row(n)[m]) * slope;
        sum += gradient;
        dpre.row(n)[m] = T(gradient);
      }
      if (!bias_grad.empty()) bias_grad[m] = W(accumulate ? double(bias_grad[m]) + sum : sum);
    }
  }

  void bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const {
    for (std::int64_t m = 0; m < dy.cols; ++m) {
      double sum = accumulate ? double(bias_grad[m]) : 0.0;
      for (std::int64_t n = 0; n < dy.rows; ++n) sum += double(dy.row(n)[m]);
      bias_grad[m] = W(sum);
    }
  }

 private:
  static std::vector<T> block_elements_of(const BlockView& matrix) {
    std::vector<T> elements;
    for (std::int64_t row = 0; row < matrix.rows; ++row)
      for (std::int64_t col = 0; col < matrix.cols; ++col)
        elements.push_back(static_cast<T>(
            block_element(matrix.type, matrix.block(row, col), static_cast<int>(col % block_elements))));
    return elements;
  }

  template <class C>
  static void multiply(MatrixView<const T> a, MatrixView<const T> b, MatrixView<C> c,
                       const MatmulOptions& options) {
    const std::int64_t depth = options.transpose_a ? a.rows : a.cols;
    for (std::int64_t batch = 0; batch < options.batch; ++batch) {
      for (std::int64_t i = 0; i < c.rows; ++i)
        for (std::int64_t j = 0; j < c.cols; ++j) {
          double sum = 0.0;
          for (std::int64_t k = 0; k < depth; ++k)
            sum += double(options.transpose_a ? a.row(k)[i] : a.row(i)[k]) *
                   double(options.transpose_b ? b.row(j)[k] : b.row(k)[j]);
          C& target = c.row(i)[j];
          target = C(double{options.alpha} * sum +
                     (options.beta == 0.0f ? 0.0 : double{options.beta} * double(target)));
        }
      a.data += options.batch_stride_a;
      b.data += options.batch_stride_b;
      c.data += options.batch_stride_c;
    }
  }
};

}  // namespace attune::reference
