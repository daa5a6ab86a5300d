// A kernel takes views, and only a detached tensor gives one: calling it directly cannot cut a gradient unnoticed.
// expect: no member named 'matrix'
#include <attune/backend/reference/reference.hpp>
#include <attune/tensor/tensor.hpp>

void use(const attune::Tensor<float, attune::Reference>& x) {
#ifdef CONTROL
  static_cast<void>(x.detach().matrix());
#else
  static_cast<void>(x.matrix());
#endif
}
