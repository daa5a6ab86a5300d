#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <attune/autograd/apply.hpp>

namespace attune {

/// Row numbers on a device, with their largest known on the host so that ranges can be checked without
/// waiting.
template <class B>
class RowIndex {
 public:
  RowIndex() = default;
  /// `without_gradient` is a row that no gradient flows back to, as padding_idx in torch.nn.Embedding; -1:
  /// none. Throws ShapeError for a negative row number.
  RowIndex(const B& device, std::span<const std::int32_t> rows, std::int64_t without_gradient = -1)
      : rows_(Detached<std::int32_t, B>::from_values(device, {static_cast<std::int64_t>(rows.size())}, rows)),
        gradient_rows_(rows_) {
    for (const std::int32_t row : rows) {
      if (row < 0)
        throw ShapeError("RowIndex: row numbers must not be negative, found " + std::to_string(row));
      end_ = std::max(end_, std::int64_t{row} + 1);
    }
    if (std::find(rows.begin(), rows.end(), without_gradient) == rows.end()) return;
    std::vector<std::int32_t> kept(rows.begin(), rows.end());
    std::replace(kept.begin(), kept.end(), static_cast<std::int32_t>(without_gradient), -1);
    gradient_rows_ = Detached<std::int32_t, B>::from_values(device, rows_.shape(), kept);
  }

  std::int64_t size() const { return rows_.size(); }
  std::int64_t end() const { return end_; }  ///< one past the largest
  std::span<const std::int32_t> span() const { return rows_.span(); }
  /// The same with -1 where no gradient flows.
  std::span<const std::int32_t> gradient_span() const { return gradient_rows_.span(); }

 private:
  Detached<std::int32_t, B> rows_, gradient_rows_;
  std::int64_t end_ = 0;
};

namespace detail {

/// y[i] = x[rows[i]]; dx[rows[i]] += dy[i].
template <class T, class B>
struct GatherRowsOp {
  static constexpr const char* name = "gather_rows";
  RowIndex<B> rows;
  Shape input_shape{};

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    input_shape = x.shape();
    const Detached<T, B> y(x.device(), {rows.size(), x.shape()[1]});
    x.device().gather_rows(MatrixView<const T>(x.matrix()), rows.span(), y.matrix(), false);
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    const bool accumulate = dx.accumulate();
    if constexpr (std::is_same_v<T, Wide<T>>) {
      dy.device().scatter_add_rows(MatrixView<const T>(dy.matrix()), rows.gradient_span(),
                                   dx.target().matrix(), accumulate);
    } else {
      const Detached<Wide<T>, B> sums(dy.device(), input_shape);
      dy.device().scatter_add_rows(MatrixView<const T>(dy.matrix()), rows.gradient_span(), sums.matrix(),
                                   false);
      dx.write([&](const Detached<T, B>& out) {
        dy.device().cast(std::span<const Wide<T>>(sums.span()), out.span());
      });
    }
  }
};

}  // namespace detail

/// Some rows of x [N, C]: result [rows, C].
template <class T, class B>
Tensor<T, B> gather_rows(const Tensor<T, B>& x, const RowIndex<B>& rows) {
  if (x.rank() != 2 || rows.end() > x.shape()[0])
    throw ShapeError("gather_rows: a matrix with at least " + std::to_string(rows.end()) +
                     " rows is needed, found " + x.shape().to_string());
  return apply(detail::GatherRowsOp<T, B>{rows}, x);
}

}  // namespace attune
