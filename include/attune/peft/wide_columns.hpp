#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <attune/tensor/detached.hpp>

namespace attune::detail {

/// Columns of a matrix as a contiguous copy in W.
template <class T, class B>
Detached<Wide<T>, B> wide_copy(const B& device, const MatrixView<const T>& m) {
  const StridedView<const T> from{m.data, {m.rows, m.cols}, {m.stride, 1}};
  if constexpr (!std::is_same_v<T, Wide<T>>) {
    if (m.stride == m.cols) {
      const Detached<Wide<T>, B> wide(device, {m.rows, m.cols});
      device.cast(std::span<const T>(m.data, static_cast<std::size_t>(m.rows * m.cols)), wide.span());
      return wide;
    }
  }
  const Detached<T, B> copy(device, {m.rows, m.cols});
  device.copy_strided(from, copy.view(), false);
  if constexpr (std::is_same_v<T, Wide<T>>) {
    return copy;
  } else {
    const Detached<Wide<T>, B> wide(device, copy.shape());
    device.cast(std::span<const T>(copy.span()), wide.span());
    return wide;
  }
}
/// The other way, rounded into the columns.
template <class T, class B>
void narrow_into(const Detached<Wide<T>, B>& from, const MatrixView<T>& m) {
  const StridedView<T> to{m.data, {m.rows, m.cols}, {m.stride, 1}};
  if constexpr (std::is_same_v<T, Wide<T>>) {
    from.device().copy_strided(from.const_view(), to, false);
  } else if (m.stride == m.cols) {
    from.device().cast(std::span<const Wide<T>>(from.span()),
                       std::span<T>(m.data, static_cast<std::size_t>(m.rows * m.cols)));
  } else {
    const Detached<T, B> narrow(from.device(), from.shape());
    from.device().cast(std::span<const Wide<T>>(from.span()), narrow.span());
    from.device().copy_strided(narrow.const_view(), to, false);
  }
}

}  // namespace attune::detail
