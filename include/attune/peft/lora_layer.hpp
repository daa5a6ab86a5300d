#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <attune/autograd/apply.hpp>
#include <attune/io/pretrained.hpp>
#include <attune/nn/linear_adapter.hpp>
#include <attune/peft/dora.hpp>
#include <attune/peft/wide_columns.hpp>

namespace attune {

namespace detail {

/// y += s (B h)^T, into y's own memory (its producer keeps nothing of it), with h = A d(x)^T [r, N] and d the
/// dropout. With g = dy: dB = s (h g)^T, dh = s B^T g^T, dA = dh d(x), dx = d'(dh^T A). A [r, K], B [M, r];
/// y's columns from `column` on. All products are in W = Wide<T>; the small side r is their rows, where it
/// takes no more than its own arithmetic.
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
    h = Detached<W, B>(device, {down.shape()[0], count});
    {
      const Detached<W, B> wide = wide_input(rows);
      device.matmul(const_matrix(down), const_matrix(wide), h.matrix(), {.transpose_b = true});
    }
    const MatrixView<T> out = y.matrix().columns(column, column + up.shape()[0]);
    if constexpr (std::is_same_v<T, W>) {
      device.matmul(const_matrix(h), const_matrix(up), out,
                    {.transpose_a = true, .transpose_b = true, .alpha = scale, .beta = 1.0f});
    } else {
      const Detached<W, B> sum = wide_copy<T>(device, out);
      device.matmul(const_matrix(h), const_matrix(up), sum.matrix(),
                    {.transpose_a = true, .transpose_b = true, .alpha = scale, .beta = 1.0f});
      narrow_into<T>(sum, out);
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
      wide_gradient = wide_copy<T>(device, own);
      g = const_matrix(wide_gradient);
    }
    if (db)
      db.write([&](const Detached<W, B>& out) {
        const Detached<W, B> transposed(device, {up.shape()[1], up.shape()[0]});
        device.matmul(const_matrix(h), g, transposed.matrix(), {.alpha = scale});
        device.copy_strided({transposed.data(), up.shape(), {1, up.shape()[0]}}, out.view(), false);
      });
    const Detached<W, B> dh(device, h.shape());
    device.matmul(const_matrix(up), g, dh.matrix(),
                  {.transpose_a = true, .transpose_b = true, .alpha = scale});
    if (da) {
      const float beta = da.beta();
      const Detached<W, B> wide = wide_input(x.get());
      device.matmul(const_matrix(dh), const_matrix(wide), da.target().matrix(), {.beta = beta});
    }
    if (dx) input_gradient(dh, down, dx);
    if (dbase) dbase.adopt(dy);
  }

 private:
  static MatrixView<const W> const_matrix(const Detached<W, B>& m) { return m.matrix(); }
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
      return wide_copy<T>(rows.device(), dropped.matrix());
    }
  }

  void input_gradient(const Detached<W, B>& dh, const Detached<W, B>& down, Gradient<T, B>& dx) const {
    const B& device = dh.device();
    if constexpr (std::is_same_v<T, W>) {
      if (!mask) {
        const float beta = dx.beta();
        device.matmul(const_matrix(dh), const_matrix(down), dx.target().matrix(),
                      {.transpose_a = true, .beta = beta});
        return;
      }
    }
    dx.write([&](const Detached<T, B>& out) {
      const Detached<W, B> wide(device, {dh.shape()[1], down.shape()[1]});
      device.matmul(const_matrix(dh), const_matrix(down), wide.matrix(), {.transpose_a = true});
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
/// Hu et al. 2021, arXiv:2106.09685. With a magnitude [out] it is DoRA: the changed weight's rows are given
/// that length (Liu et al. 2024, arXiv:2402.09353).
template <class T, class B>
class LoraLinear final : public LinearAdapter<T, B> {
 public:
  using W = Wide<T>;
  using Part = typename LinearAdapter<T, B>::Part;
  Parameter<W, B> lora_A, lora_B, lora_magnitude_vector;
  float scale;

  LoraLinear(const B& device, std::int64_t in_features, std::int64_t out_features, std::int64_t rank,
             double scaling)
      : lora_A(device, {rank, in_features}, Init::normal),
        lora_B(device, {out_features, rank}, Init::zeros),
        scale(static_cast<float>(scaling)) {}

  Tensor<T, B> adapted(const Tensor<T, B>& y, const Tensor<T, B>& x, std::int64_t first_column,
                       const Parameter<T, B>& weight, const Parameter<T, B>& bias) const override {
    const DropoutMask<B> mask = AdapterRows<B>::mask(this->dropout);
    detail::check_mask("lora", mask, x.size() / std::max<std::int64_t>(1, x.shape().back()));
    if (mask && lora_magnitude_vector)
      throw ConfigError("lora: use_dora with dropout is not supported; set lora_dropout to 0");
    const Tensor<T, B> changed = apply(detail::LoraOp<T, B>{scale, first_column, mask}, y, x, lora_A, lora_B);
    if (!lora_magnitude_vector) return changed;
    return apply(detail::DoraScaleOp<T, B>{first_column, row_lengths(changed_weight(weight, 1.0f)),
                                           bias ? bias.value() : Detached<T, B>()},
                 changed, lora_magnitude_vector);
  }
  std::vector<Part> parts() const override {
    std::vector<Part> all{{"lora_A", lora_A}, {"lora_B", lora_B}};
    if (lora_magnitude_vector) all.push_back({"lora_magnitude_vector", lora_magnitude_vector});
    return all;
  }

  /// Makes it DoRA, which changes nothing yet: the magnitude is the length of the weight's rows.
  void add_magnitude(const Parameter<T, B>& weight) {
    lora_magnitude_vector = Parameter<W, B>(weight.device(), {weight.shape()[0]}, Init::ones);
    lora_magnitude_vector.assign(row_lengths(weight_values(weight)).to_vector());
  }

  /// The weight with the change, [out, in].
  Detached<W, B> merged(const Parameter<T, B>& weight) {
    const Detached<W, B> sum = changed_weight(weight, 1.0f);
    if (lora_magnitude_vector) {
      const Detached<W, B> lengths = row_lengths(sum);
      factors_.resize(static_cast<std::size_t>(lengths.size()));
      const std::vector<W> length = lengths.to_vector(),
                           magnitude = lora_magnitude_vector.value().to_vector();
      for (std::size_t i = 0; i < factors_.size(); ++i) factors_[i] = magnitude[i] / length[i];
      scale_rows(sum, false);
    }
    return sum;
  }
  /// The weight without it again; `weight` holds what merged() gave.
  Detached<W, B> unmerged(const Parameter<T, B>& weight) const {
    if (!lora_magnitude_vector) return changed_weight(weight, -1.0f);
    const Detached<W, B> sum = weight_values(weight);
    scale_rows(sum, true);
    add_change(sum, -1.0f);
    return sum;
  }

 private:
  /// A copy of a weight: the float master, or what is computed with when it is frozen in bfloat16 or
  /// quantised.
  static Detached<W, B> weight_values(const Parameter<T, B>& weight) {
    if (weight.quantized()) {
      const std::vector<float> values =
          detail::dequantized(NamedParameter<B>{"", weight.state(), weight.row_begin(), weight.row_end()});
      return Detached<W, B>::from_values(weight.device(), weight.shape(),
                                         std::vector<W>(values.begin(), values.end()));
    }
    if (const Detached<W, B> master = weight.master()) return master.clone();
    return detail::wide_copy<T>(weight.device(), MatrixView<const T>(weight.value().matrix()));
  }
  void add_change(const Detached<W, B>& sum, float sign) const {
    sum.device().matmul(MatrixView<const W>(lora_B.value().matrix()),
                        MatrixView<const W>(lora_A.value().matrix()), sum.matrix(),
                        {.alpha = sign * scale, .beta = 1.0f});
  }
  Detached<W, B> changed_weight(const Parameter<T, B>& weight, float sign) const {
    const Detached<W, B> sum = weight_values(weight);
    add_change(sum, sign);
    return sum;
  }
  static Detached<W, B> row_lengths(const Detached<W, B>& matrix) {
    const Detached<W, B> unit(matrix.device(), matrix.shape()), lengths(matrix.device(), {matrix.shape()[0]});
    matrix.device().l2_normalize(MatrixView<const W>(matrix.matrix()), 1e-12f, unit.matrix(), lengths.span());
    return lengths;
  }
  /// Multiplies rows by the factors of the merge, or divides them.
  void scale_rows(const Detached<W, B>& matrix, bool divide) const {
    std::vector<W> values = matrix.to_vector();
    const std::size_t row = static_cast<std::size_t>(matrix.shape()[1]);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = divide ? values[i] / factors_[i / row] : values[i] * factors_[i / row];
    matrix.copy_from(values);
  }

  std::vector<W> factors_;  ///< of a merged DoRA: magnitude over length of each row
};

}  // namespace attune
