#pragma once

#include <algorithm>

#include <attune/autograd/apply.hpp>
#include <attune/backend/op_tags.hpp>
#include <attune/ops/view.hpp>

namespace attune {

namespace detail {

/// Equal shapes: y = a o b. add: da = db = dy; subtract: db = -dy; multiply: da = dy b, db = dy a;
/// divide: da = dy / b, db = -dy a / b^2 = -da y.
template <class T, class B>
struct BinaryOp {
  static constexpr const char* name = "binary";
  Binary function;
  Saved<T, B> a{}, b{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& left, const Detached<T, B>& right) {
    const Detached<T, B> x = left.contiguous_copy(), z = right.contiguous_copy();
    const Detached<T, B> y(x.device(), x.shape());
    compute(function, x, z, y);
    if (function == Binary::multiply || function == Binary::divide) {
      if (needs[1]) a = x;
      if (needs[0] || function == Binary::divide) b = z;
    }
    return y;
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> da, Gradient<T, B> db) const {
    switch (function) {
      case Binary::add:
        if (da) da.adopt(dy);
        if (db) db.adopt(dy);
        break;
      case Binary::subtract:
        if (da) da.adopt(dy);
        if (db) db.write([&](const Detached<T, B>& out) { axpby(-1.0f, dy, out); });
        break;
      case Binary::multiply:
        if (da) da.write([&](const Detached<T, B>& out) { compute(Binary::multiply, dy, b.get(), out); });
        if (db) db.write([&](const Detached<T, B>& out) { compute(Binary::multiply, dy, a.get(), out); });
        break;
      case Binary::divide:
        if (da) da.write([&](const Detached<T, B>& out) { compute(Binary::divide, dy, b.get(), out); });
        if (db) {
          db.write([&](const Detached<T, B>& out) {
            compute(Binary::multiply, dy, a.get(), out);
            compute(Binary::divide, out, b.get(), out);
            compute(Binary::divide, out, b.get(), out);
            axpby(-1.0f, out, out);
          });
        }
        break;
    }
  }

 private:
  static void compute(Binary function, const Detached<T, B>& x, const Detached<T, B>& z,
                      const Detached<T, B>& y) {
    const auto flat = [](const Detached<T, B>& value) {
      return MatrixView<T>{value.data(), 1, value.size(), value.size()};
    };
    y.device().binary(function, flat(x), flat(z), flat(y));
  }
  static void axpby(float alpha, const Detached<T, B>& x, const Detached<T, B>& y) {
    y.device().axpby(alpha, std::span<const T>(x.span()), 0.0f, y.span());
  }
};

/// y = factor x.
template <class T, class B>
struct ScaleOp {
  static constexpr const char* name = "scale";
  float factor;

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.contiguous_copy();
    const Detached<T, B> y(x.device(), x.shape());
    x.device().axpby(factor, std::span<const T>(x.span()), 0.0f, y.span());
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    const float beta = dx.beta();
    dy.device().axpby(factor, std::span<const T>(dy.span()), beta, dx.target().span());
  }
};

/// The shape that two operands are repeated to, aligned at the last dimension as in NumPy.
inline Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape result = a.rank() >= b.rank() ? a : b;
  for (int back = 1; back <= std::min(a.rank(), b.rank()); ++back) {
    const std::int64_t left = a[a.rank() - back], right = b[b.rank() - back];
    if (left != right && left != 1 && right != 1)
      throw ShapeError("broadcast: " + a.to_string() + " and " + b.to_string() + " do not fit");
    result[result.rank() - back] = left == 1 ? right : left;
  }
  return result;
}

template <class T, class B>
Tensor<T, B> binary(Binary function, const Tensor<T, B>& a, const Tensor<T, B>& b) {
  if (a.shape() == b.shape()) return apply(BinaryOp<T, B>{function}, a, b);
  const Shape shape = broadcast_shape(a.shape(), b.shape());
  return apply(BinaryOp<T, B>{function}, a.shape() == shape ? a : expand(a, shape),
               b.shape() == shape ? b : expand(b, shape));
}

}  // namespace detail

/// Elementwise, with NumPy's broadcasting.
template <class T, class B>
Tensor<T, B> operator+(const Tensor<T, B>& a, const Tensor<T, B>& b) {
  return detail::binary(Binary::add, a, b);
}
template <class T, class B>
Tensor<T, B> operator-(const Tensor<T, B>& a, const Tensor<T, B>& b) {
  return detail::binary(Binary::subtract, a, b);
}
template <class T, class B>
Tensor<T, B> operator*(const Tensor<T, B>& a, const Tensor<T, B>& b) {
  return detail::binary(Binary::multiply, a, b);
}
template <class T, class B>
Tensor<T, B> operator/(const Tensor<T, B>& a, const Tensor<T, B>& b) {
  return detail::binary(Binary::divide, a, b);
}

/// x times a number of the program (not of the graph).
template <class T, class B>
Tensor<T, B> operator*(const Tensor<T, B>& x, float factor) {
  return apply(detail::ScaleOp<T, B>{factor}, x);
}
template <class T, class B>
Tensor<T, B> operator*(float factor, const Tensor<T, B>& x) {
  return x * factor;
}
template <class T, class B>
Tensor<T, B> operator/(const Tensor<T, B>& x, float divisor) {
  return x * (1.0f / divisor);
}

}  // namespace attune
