#pragma once

#include <cstdint>
#include <span>

#include <attune/autograd/apply.hpp>
#include <attune/peft/wide_columns.hpp>

namespace attune::detail {

/// y = b + c (y - b) column by column, in y's own memory, with c = m / n: m is the magnitude and n the length
/// of the changed weight's rows, a constant for the gradient. dm = sum g (y - b) / m, and the input's
/// gradient is g c. Liu et al. 2024, arXiv:2402.09353, as peft/tuners/lora/dora.py.
template <class T, class B>
struct DoraScaleOp {
  static constexpr const char* name = "dora";
  using W = Wide<T>;
  std::int64_t column;
  Detached<W, B> lengths;  ///< n, [M]
  Detached<T, B> bias;     ///< b, [M] or empty
  Saved<T, B> y{};
  Saved<W, B> magnitude{};
  Detached<W, B> factors{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& input, const Detached<W, B>& m) {
    const B& device = input.device();
    const MatrixView<T> own = columns(input);
    factors = Detached<W, B>(device, m.shape());
    device.binary(Binary::divide, row(m, 1), row(lengths, 1),
                  MatrixView<W>{factors.data(), 1, m.size(), m.size()});
    const Detached<W, B> z = wide_copy<T>(device, own);
    by_row(Binary::subtract, z);
    device.binary(Binary::multiply, matrix(z), row(factors, own.rows), z.matrix());
    by_row(Binary::add, z);
    narrow_into<T>(z, own);
    if (needs.any) {
      y = input;
      magnitude = m;
    }
    return input;
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> dx, Gradient<W, B> dm) const {
    const B& device = dy.device();
    const Detached<W, B> g = wide_copy<T>(device, columns(dy));
    if (dm) {
      const Detached<W, B> z = wide_copy<T>(device, columns(y.get()));
      by_row(Binary::subtract, z);
      device.binary(Binary::multiply, matrix(z), matrix(g), z.matrix());
      const Detached<W, B> sums(device, magnitude.get().shape());
      device.bias_backward(matrix(z), sums.span(), false);
      dm.write([&](const Detached<W, B>& out) {
        device.binary(Binary::divide, row(sums, 1), row(magnitude.get(), 1),
                      MatrixView<W>{out.data(), 1, out.size(), out.size()});
      });
    }
    if (!dx) return;
    device.binary(Binary::multiply, matrix(g), row(factors, g.shape()[0]), g.matrix());
    const Detached<T, B> changed = dy.clone();
    narrow_into<T>(g, columns(changed));
    dx.adopt(changed);
  }

 private:
  static MatrixView<const W> matrix(const Detached<W, B>& m) { return m.matrix(); }
  static MatrixView<const W> row(const Detached<W, B>& values, std::int64_t rows) {
    return {values.data(), rows, values.size(), rows == 1 ? values.size() : 0};
  }
  MatrixView<T> columns(const Detached<T, B>& m) const {
    return m.matrix().columns(column, column + lengths.size());
  }
  /// z = z o b, nothing without a bias.
  void by_row(Binary function, const Detached<W, B>& z) const {
    if (!bias) return;
    const Detached<W, B> wide =
        wide_copy<T>(z.device(), MatrixView<const T>{bias.data(), 1, bias.size(), bias.size()});
    z.device().binary(function, matrix(z), row(wide, z.shape()[0]), z.matrix());
  }
};

}  // namespace attune::detail
