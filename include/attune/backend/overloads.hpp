#pragma once

namespace attune {

/// Joins the kernels of a backend, written per scalar type, into one overload set.
///
/// `Groups` names a backend's class templates, one for each group of the concept (see backend.hpp), whose
/// const member functions are the kernels for one scalar type. Overloads, unlike member templates, accept
/// whatever converts to a parameter: a MatrixView<float> where MatrixView<const float> is asked for.
template <class Groups, class... T>
struct KernelOverloads : Groups::template Layout<T>...,
                         Groups::template Elementwise<T>...,
                         Groups::template Reduce<T>...,
                         Groups::template Matmul<T>...,
                         Groups::template Norm<T>...,
                         Groups::template Attention<T>...,
                         Groups::template Sequence<T>...,
                         Groups::template Loss<T>... {
  using Groups::template Layout<T>::copy_strided...;
  using Groups::template Layout<T>::cast...;
  using Groups::template Layout<T>::fill...;
  using Groups::template Layout<T>::gather_rows...;
  using Groups::template Layout<T>::scatter_add_rows...;

  using Groups::template Elementwise<T>::unary...;
  using Groups::template Elementwise<T>::unary_backward...;
  using Groups::template Elementwise<T>::binary...;
  using Groups::template Elementwise<T>::axpby...;
  using Groups::template Elementwise<T>::dropout...;
  using Groups::template Elementwise<T>::swiglu...;
  using Groups::template Elementwise<T>::swiglu_backward...;

  using Groups::template Reduce<T>::sum...;
  using Groups::template Reduce<T>::argmax_rows...;
  using Groups::template Reduce<T>::total...;

  using Groups::template Matmul<T>::matmul...;
  using Groups::template Matmul<T>::linear...;
  using Groups::template Matmul<T>::linear_activation_backward...;
  using Groups::template Matmul<T>::bias_backward...;

  using Groups::template Norm<T>::layer_norm...;
  using Groups::template Norm<T>::layer_norm_backward...;
  using Groups::template Norm<T>::rms_norm...;
  using Groups::template Norm<T>::rms_norm_backward...;
  using Groups::template Norm<T>::l2_normalize...;
  using Groups::template Norm<T>::l2_normalize_backward...;
  using Groups::template Norm<T>::softmax...;
  using Groups::template Norm<T>::softmax_backward...;

  using Groups::template Attention<T>::attention...;
  using Groups::template Attention<T>::attention_backward...;

  using Groups::template Sequence<T>::rope...;
  using Groups::template Sequence<T>::mean_rows...;
  using Groups::template Sequence<T>::mean_rows_backward...;

  using Groups::template Loss<T>::cross_entropy...;
  using Groups::template Loss<T>::cross_entropy_backward...;
  using Groups::template Loss<T>::mse...;
  using Groups::template Loss<T>::mse_backward...;
  using Groups::template Loss<T>::bce_with_logits...;
  using Groups::template Loss<T>::bce_with_logits_backward...;
};

}  // namespace attune
