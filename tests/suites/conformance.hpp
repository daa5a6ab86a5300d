#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include <attune/core/parallel.hpp>

#include "suites/kernel_table.hpp"

// What is demanded of every kernel call in a table, on any backend B and in any type that it computes in.

namespace attune::testing {

template <class T>
inline constexpr double unit_roundoff = std::is_same_v<T, bfloat16> ? 0x1p-8 : 0x1p-24;

/// Every kernel of the table in T against the reference in double on the same inputs, within the stated
/// bounds. Inputs and the cells between rows stay as they were.
template <class T, class B>
void check_against_reference(const B& device, const KernelTable<B>& table) {
  for (const KernelCase<B>& kernel_case : table.cases()) {
    CAPTURE(kernel_case.name);
    const std::vector<Array>& arrays = kernel_case.arrays;
    const Storages before = initial_values<T>(kernel_case);
    const Storages exact = run_on<B>(Reference{}, arrays, before, kernel_case.reference);
    Storages positive = before;
    for (std::size_t i = 0; i < arrays.size(); ++i)
      if (arrays[i].kind != Kind::integer)
        for (double& value : positive[i]) value = std::abs(value);
    const Storages magnitude = run_on<B>(Reference{}, arrays, positive, kernel_case.reference);
    const Storages found = run_on<B>(device, arrays, before, kernel_case.template in<T>());

    for (std::size_t i = 0; i < arrays.size(); ++i) {
      CAPTURE(i);
      const Array& array = arrays[i];
      const auto& sums =
          magnitude[array.bound.magnitude_of < 0 ? i : static_cast<std::size_t>(array.bound.magnitude_of)];
      REQUIRE(sums.size() == found[i].size());
      const double stored_unit = array.kind == Kind::value ? unit_roundoff<T> : 0x1p-24;
      std::size_t wrong = found[i].size();
      double excess = 0.0;
      for (std::size_t at = 0; at < found[i].size(); ++at) {
        const double value = found[i][at], expected = exact[i][at];
        bool right;
        if (array.role == Role::input || array.kind == Kind::integer ||
            !array.is_cell(static_cast<std::int64_t>(at))) {
          const double same = array.kind == Kind::integer ? expected : before[i][at];
          right = value == same || (std::isnan(value) && std::isnan(same));
        } else if (!std::isfinite(expected)) {
          right = value == expected || (std::isnan(value) && std::isnan(expected));
        } else {
          const bool counts = array.bound.sums > 0 || array.bound.stored_sums > 0;
          const double magnitude_here = counts ? sums[at] : 0.0;
          const double bound =
              stored_unit * std::abs(expected) +
              unit_roundoff<T> * (array.bound.stored + array.bound.stored_sums * magnitude_here) +
              0x1p-24 * (array.bound.sums * magnitude_here + array.bound.relative * std::abs(expected) +
                         array.bound.absolute);
          right = std::abs(value - expected) <= bound;  // false for NaN
          if (array.same_zeros) right = right && (value == 0.0) == (expected == 0.0);
          if (!right && bound > 0) excess = std::max(excess, std::abs(value - expected) / bound);
        }
        if (!right && wrong == found[i].size()) wrong = at;
      }
      if (wrong < found[i].size()) {
        CAPTURE(wrong);
        CAPTURE(excess);
        CAPTURE(found[i][wrong]);
        CHECK(found[i][wrong] == exact[i][wrong]);
      }
      CHECK(wrong == found[i].size());
    }
  }
}

/// The same bits for 1 to 4 threads.
template <class T, class B>
void check_thread_invariance(const B& device, const KernelTable<B>& table) {
  const int before = num_threads();
  std::vector<Storages> single;
  for (int threads = 1; threads <= 4; ++threads) {
    set_num_threads(threads);
    for (std::size_t c = 0; c < table.cases().size(); ++c) {
      const KernelCase<B>& kernel_case = table.cases()[c];
      const Storages found =
          run_on<B>(device, kernel_case.arrays, initial_values<T>(kernel_case), kernel_case.template in<T>());
      if (threads == 1) {
        single.push_back(found);
        continue;
      }
      CAPTURE(kernel_case.name);
      CAPTURE(threads);
      bool same = true;
      for (std::size_t i = 0; i < found.size(); ++i)
        same = same && (found[i].empty() || std::memcmp(found[i].data(), single[c][i].data(),
                                                        found[i].size() * sizeof(double)) == 0);
      CHECK(same);
    }
  }
  set_num_threads(before);
}

}  // namespace attune::testing
