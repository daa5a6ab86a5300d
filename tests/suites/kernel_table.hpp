#pragma once

#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/backend/reference/reference.hpp>

#include "suites/arguments.hpp"

// A table of kernel calls: tests and benchmarks are made from it.

namespace attune::testing {

/// One call of one kernel.
template <class B>
struct KernelCase {
  std::string name;
  std::vector<Array> arrays;
  std::function<void(const Reference&, Arguments<Reference, double>&)> reference;
  std::function<void(const B&, Arguments<B, float>&)> in_float;
  std::function<void(const B&, Arguments<B, bfloat16>&)> in_bfloat16;
  /// Replaces inputs by numbers that follow from the others (statistics that a forward saves); may be empty.
  std::function<void(const Reference&, Arguments<Reference, double>&)> prepare{};
  /// For measurements: the floating-point operations of its products, and the elements that it reads and
  /// writes when that is not each array once.
  double flop = 0.0, elements = 0.0;

  /// Bytes that the call has to move at least, in T.
  template <class T>
  double moved() const {
    if (elements > 0.0) return elements * double(sizeof(T));
    double sum = 0.0;
    for (const Array& array : arrays)
      sum += double(array.storage()) * (array.role == Role::updated ? 2.0 : 1.0) *
             double(array.kind == Kind::value  ? sizeof(T)
                    : array.kind == Kind::wide ? sizeof(Wide<T>)
                                               : sizeof(std::int32_t));
    return sum;
  }

  template <class T>
  const auto& in() const {
    if constexpr (std::is_same_v<T, float>)
      return in_float;
    else
      return in_bfloat16;
  }
};

template <class B>
class KernelTable {
 public:
  /// `call` is a generic lambda (backend, arguments).
  template <class F>
  KernelCase<B>& add(std::string name, std::vector<Array> arrays, const F& call) {
    cases_.push_back({std::move(name), std::move(arrays), call, call, call});
    return cases_.back();
  }
  template <class F, class P>
  KernelCase<B>& add(std::string name, std::vector<Array> arrays, const P& prepare, const F& call) {
    cases_.push_back({std::move(name), std::move(arrays), call, call, call, prepare});
    return cases_.back();
  }
  /// Those of its cases that `wanted` takes.
  template <class F>
  KernelTable filtered(const F& wanted) const {
    KernelTable part;
    for (const KernelCase<B>& kernel_case : cases_)
      if (wanted(kernel_case)) part.cases_.push_back(kernel_case);
    return part;
  }
  const std::vector<KernelCase<B>>& cases() const { return cases_; }

 private:
  std::vector<KernelCase<B>> cases_;
};

/// The storage of every array before the call, as T holds it. Cells that nobody owns are NaN in inputs.
template <class T, class B>
std::vector<std::vector<double>> initial_values(const KernelCase<B>& kernel_case) {
  std::uint64_t stream = 0;
  for (const char letter : kernel_case.name) stream = stream * 131 + static_cast<unsigned char>(letter);
  RandomStream random(7, stream);
  std::vector<std::vector<double>> values;
  for (const Array& array : kernel_case.arrays) {
    std::vector<double>& storage = values.emplace_back(static_cast<std::size_t>(array.storage()));
    std::int64_t cell = 0;
    for (std::int64_t at = 0; at < array.storage(); ++at) {
      double& value = storage[static_cast<std::size_t>(at)];
      if (array.is_cell(at))
        value = rounded<T>(array.fill(cell++, random), array.kind);
      else
        value = array.role == Role::input ? std::numeric_limits<double>::quiet_NaN()
                                          : rounded<T>(-77.0, array.kind);
    }
  }
  if (kernel_case.prepare) {
    const Reference reference;
    Arguments<Reference, double> arguments(reference, kernel_case.arrays, values);
    kernel_case.prepare(reference, arguments);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = arguments.download(static_cast<int>(i));
      for (double& value : values[i]) value = rounded<T>(value, kernel_case.arrays[i].kind);
    }
  }
  return values;
}

using Storages = std::vector<std::vector<double>>;

template <class B, class D, class T>
Storages run_on(const D& device, const std::vector<Array>& arrays, const Storages& values,
                const std::function<void(const D&, Arguments<D, T>&)>& call) {
  Arguments<D, T> arguments(device, arrays, values);
  call(device, arguments);
  Storages results;
  for (std::size_t i = 0; i < arrays.size(); ++i) results.push_back(arguments.download(static_cast<int>(i)));
  return results;
}

}  // namespace attune::testing
