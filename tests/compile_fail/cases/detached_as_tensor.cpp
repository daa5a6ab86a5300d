// A detached value becomes a constant of the graph only when that is said.
// expect: could not convert|no viable conversion
#include <attune/backend/reference/reference.hpp>
#include <attune/tensor/tensor.hpp>

using Tensor = attune::Tensor<float, attune::Reference>;

Tensor use(const Tensor& x) {
#ifdef CONTROL
  return Tensor(x.detach());
#else
  return x.detach();
#endif
}
