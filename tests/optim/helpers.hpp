#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/autograd/gradient.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace optim_test {

template <class T, class B>
attune::Parameter<T, B> parameter(const B& device, const attune::Shape& shape,
                                  const std::vector<float>& values, int fused = 1) {
  attune::Parameter<T, B> made(device, shape, attune::Init::zeros, fused);
  made.assign(std::vector<attune::Wide<T>>(values.begin(), values.end()));
  return made;
}

/// What a backward does: assigns the first gradient, adds the next.
template <class T, class B>
void give_grad(const attune::Parameter<T, B>& parameter, const std::vector<float>& values) {
  attune::Gradient<float, B> gradient(parameter);
  gradient.write([&](const attune::Detached<float, B>& out) { out.copy_from(values); });
}

template <class T, class B>
attune::NamedParameter<B> named(std::string name, const attune::Parameter<T, B>& parameter) {
  return {std::move(name), parameter.state(), parameter.row_begin(), parameter.row_end()};
}

template <class B>
attune::ParameterList<B> list(std::vector<attune::NamedParameter<B>> items) {
  return {std::move(items), std::make_shared<attune::RunState>()};
}

/// The float master of a parameter of any type.
template <class T, class B>
std::vector<float> master(const attune::Parameter<T, B>& parameter) {
  return parameter.master().to_vector();
}

}  // namespace optim_test
