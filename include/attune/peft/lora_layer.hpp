#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <attune/autograd/apply.hpp>
#include <attune/nn/linear_adapter.hpp>

namespace attune {

namespace detail {

/// y += s d(x) A^T B^T, into y's own memory (its producer keeps nothing of it), with d the dropout. With
/// h = d(x) A^T and g = dy: dB = s g^T h, dh = s g B, dA = dh^T d(x), dx = d'(dh A). A [r, K], B [M, r]; y's
/// columns from `column` on. All products are in W = Wide<T>.
template <class T, class B>
struct LoraOp {
  static constexpr const char* name = "lora";
  using W = Wide<T>;
  float scale;
  std::int64_t column;
  DropoutMask<B> mask;
  Saved<T, B> x{};
  Saved<W, B> a{}, b{};
  Detached<W, B> h{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& y, const Detached<T, B>& input,
                         const Detached<W, B>& down, const Detached<W, B>& up) {
    const B& device = y.device();
    const Detached<T, B> rows = input.has_matrix() ? input : input.clone();
    const std::int64_t count = rows.matrix().rows;
    h = Detached<W, B>(device, {count, down.shape()[0]});
    {
      const Detached<W, B> wide = wide_input(rows);
      device.matmul(const_matrix(wide), const_matrix(down), h.matrix(), {.transpose_b = true});
    }
    const MatrixView<T> out = y.matrix().columns(column, column + up.shape()[0]);
    if constexpr (std::is_same_v<T, W>) {
      device.matmul(const_matrix(h), const_matrix(up), out,
                    {.transpose_b = true, .alpha = scale, .beta = 1.0f});
    } else {
      const Detached<W, B> sum = wide_copy(device, MatrixView<const T>(out));
      device.matmul(const_matrix(h), const_matrix(up), sum.matrix(),
                    {.transpose_b = true, .alpha = scale, .beta = 1.0f});
      const Detached<T, B> narrow(device, sum.shape());
      device.cast(std::span<const W>(sum.span()), narrow.span());
      device.copy_strided(narrow.const_view(), strided(out), false);
    }
    if (needs.any) {
      x = rows;
      a = down;
      b = up;
    } else {
      h = {};
    }
    return y;
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> dbase, Gradient<T, B> dx, Gradient<W, B> da,
                Gradient<W, B> db) const {
    const B& device = dy.device();
    const Detached<W, B>&down = a.get(), &up = b.get();
    Detached<W, B> wide_gradient;
    MatrixView<const W> g;
    const MatrixView<T> own = dy.matrix().columns(column, column + up.shape()[0]);
    if constexpr (std::is_same_v<T, W>) {
      g = own;
    } else {
      wide_gradient = wide_copy(device, MatrixView<const T>(own));
      g = const_matrix(wide_gradient);
    }
    if (db) {
      const float beta = db.beta();
      device.matmul(g, const_matrix(h), db.target().matrix(),
                    {.transpose_a = true, .alpha = scale, .beta = beta});
    }
    const Detached<W, B> dh(device, h.shape());
    device.matmul(g, const_matrix(up), dh.matrix(), {.alpha = scale});
    if (da) {
      const float beta = da.beta();
      const Detached<W, B> wide = wide_input(x.get());
      device.matmul(const_matrix(dh), const_matrix(wide), da.target().matrix(),
                    {.transpose_a = true, .beta = beta});
    }
    if (dx) input_gradient(dh, down, dx);
    if (dbase) dbase.adopt(dy);
  }

 private:
  static MatrixView<const W> const_matrix(const Detached<W, B>& m) { return m.matrix(); }
  static StridedView<T> strided(const MatrixView<T>& m) { return {m.data, {m.rows, m.cols}, {m.stride, 1}}; }

  /// A contiguous copy in W.
  static Detached<W, B> wide_copy(const B& device, const MatrixView<const T>& m) {
    const Detached<T, B> copy(device, {m.rows, m.cols});
    device.copy_strided(StridedView<const T>{m.data, {m.rows, m.cols}, {m.stride, 1}}, copy.view(), false);
    const Detached<W, B> wide(device, copy.shape());
    device.cast(std::span<const T>(copy.span()), wide.span());
    return wide;
  }

  /// d(x) in W; x itself where that is the same.
  Detached<W, B> wide_input(const Detached<T, B>& rows) const {
    Detached<T, B> dropped = rows;
    if (mask) {
      dropped = Detached<T, B>(rows.device(), rows.shape());
      rows.device().dropout(MatrixView<const T>(rows.matrix()), mask.view, dropped.matrix());
    }
    if constexpr (std::is_same_v<T, W>) {
      return dropped;
    } else {
      return wide_copy(rows.device(), MatrixView<const T>(dropped.matrix()));
    }
  }

  void input_gradient(const Detached<W, B>& dh, const Detached<W, B>& down, Gradient<T, B>& dx) const {
    const B& device = dh.device();
    if constexpr (std::is_same_v<T, W>) {
      if (!mask) {
        const float beta = dx.beta();
        device.matmul(const_matrix(dh), const_matrix(down), dx.target().matrix(), {.beta = beta});
        return;
      }
    }
    dx.write([&](const Detached<T, B>& out) {
      const Detached<W, B> wide(device, {dh.shape()[0], down.shape()[1]});
      device.matmul(const_matrix(dh), const_matrix(down), wide.matrix(), {});
      if constexpr (std::is_same_v<T, W>) {
        device.dropout(const_matrix(wide), mask.view, out.matrix());
      } else {
        device.cast(std::span<const W>(wide.span()), out.span());
        if (mask) device.dropout(MatrixView<const T>(out.matrix()), mask.view, out.matrix());
      }
    });
  }
};

}  // namespace detail

/// A low-rank change of a linear layer: y + scale (dropout(x) A^T) B^T with A [r, in] and B [out, r].
/// Hu et al. 2021, arXiv:2106.09685.
template <class T, class B>
class LoraLinear final : public LinearAdapter<T, B> {
 public:
  using Part = typename LinearAdapter<T, B>::Part;
  Parameter<Wide<T>, B> lora_A, lora_B;
  float scale;

  LoraLinear(const B& device, std::int64_t in_features, std::int64_t out_features, std::int64_t rank,
             double scaling)
      : lora_A(device, {rank, in_features}, Init::normal),
        lora_B(device, {out_features, rank}, Init::zeros),
        scale(static_cast<float>(scaling)) {}

  Tensor<T, B> adapted(const Tensor<T, B>& y, const Tensor<T, B>& x,
                       std::int64_t first_column) const override {
    DropoutMask<B> mask = AdapterRows<B>::mask(this->dropout);
    detail::check_mask("lora", mask, x.size() / std::max<std::int64_t>(1, x.shape().back()));
    return apply(detail::LoraOp<T, B>{scale, first_column, mask}, y, x, lora_A, lora_B);
  }
  std::vector<Part> parts() const override { return {{"lora_A", lora_A}, {"lora_B", lora_B}}; }

  /// scale B A, the change of the weight, [out, in].
  Detached<Wide<T>, B> change() const {
    using W = Wide<T>;
    const Detached<W, B> result(lora_A.device(), {lora_B.shape()[0], lora_A.shape()[1]});
    lora_A.device().matmul(MatrixView<const W>(lora_B.value().matrix()),
                           MatrixView<const W>(lora_A.value().matrix()), result.matrix(), {.alpha = scale});
    return result;
  }
};

}  // namespace attune
