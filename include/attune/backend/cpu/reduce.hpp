#pragma once

#include <span>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>

namespace attune::cpu {

template <class T>
struct Reduce {
  void sum(StridedView<const T> x, StridedView<T> y, bool accumulate) const;
  void argmax_rows(MatrixView<const T> x, std::span<std::int32_t> indices) const;
  void total(std::span<const T> values, Wide<T>* total) const;
};

#ifdef ATTUNE_DECLARATIONS_ONLY
extern template struct Reduce<float>;
extern template struct Reduce<bfloat16>;
#endif

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/reduce.inl.hpp>
#endif
