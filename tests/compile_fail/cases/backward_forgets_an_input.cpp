// A backward must take a gradient for every input of its forward.
// expect: the operation has no backward for these inputs; training code needs the pair
#include <attune/autograd/apply.hpp>
#include <attune/backend/reference/reference.hpp>

template <class T, class B>
struct First {
  static constexpr const char* name = "first";
  using Value = attune::Detached<T, B>;
  using Grad = attune::Gradient<T, B>;

  Value forward(attune::Needs, const Value& x, const Value&) { return x; }
#ifdef CONTROL
  void backward(const Value&, Grad, Grad) const {}
#else
  void backward(const Value&, Grad) const {}
#endif
};

void use(const attune::Tensor<float, attune::Reference>& x) {
  attune::apply(First<float, attune::Reference>{}, x, x);
}
