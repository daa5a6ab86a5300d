// A new operation that has only its forward cannot be used on tensors, whether or not a gradient is wanted.
// expect: the operation has no backward for these inputs; training code needs the pair
#include <attune/autograd/apply.hpp>
#include <attune/backend/reference/reference.hpp>

template <class T, class B>
struct Twice {
  static constexpr const char* name = "twice";

  attune::Detached<T, B> forward(attune::Needs, const attune::Detached<T, B>& x) { return x; }
#ifdef CONTROL
  void backward(const attune::Detached<T, B>&, attune::Gradient<T, B>) const {}
#endif
};

void use(const attune::Tensor<float, attune::Reference>& x) {
  attune::apply(Twice<float, attune::Reference>{}, x);
}
