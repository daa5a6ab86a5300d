#pragma once

#include <cstdlib>
#include <cstring>

#include "suites/operations.hpp"

// What is demanded of every case of an OperationTable.

namespace attune::testing {

inline constexpr Layout all_layouts[] = {Layout::contiguous, Layout::transposed, Layout::columns,
                                         Layout::rows};

/// Backward gives the derivatives of forward, whatever the strides. Reference, double.
template <class B>
void check_gradients(const OperationTable<B>& table) {
  for (const auto& operation : table.cases()) {
    if (operation.large() || operation.cuts_gradient) continue;
    CAPTURE(operation.name);
    for (const Layout layout : all_layouts) {
      CAPTURE(static_cast<int>(layout));
      const GradcheckResult result =
          operation.gradcheck(operation.inputs, operation.template values<double>(), layout);
      CAPTURE(result.input);
      CHECK_MESSAGE(result.ok, result.message);
    }
  }
}

/// Whether every element is within the bound of the exact one, which counts `times`.
template <class T>
void check_close(const std::vector<double>& found, const std::vector<double>& exact,
                 const OperationBound& bound, double times = 1.0) {
  REQUIRE(found.size() == exact.size());
  double largest = 0.0;
  for (const double value : exact)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  const double unit = std::is_same_v<T, bfloat16> ? 0x1p-8 : 0x1p-24;
  const double allowed = times * (bound.stored * unit * std::max(bound.scale, largest) +
                                  bound.sums * 0x1p-24 * std::max(bound.terms, largest));
  double worst = 0.0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(found[i]) && std::isnan(exact[i])) continue;
    const double difference = std::abs(found[i] - times * exact[i]);
    if (difference <= worst) continue;  // NaN goes on
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
    at = i;
  }
  if (worst <= allowed) return;
  CAPTURE(at);
  CAPTURE(found[at]);
  CAPTURE(exact[at]);
  CHECK(worst <= allowed);
}

template <class T>
void check_outcome(const Outcome& found, const Outcome& exact, const OperationBound& forward,
                   const OperationBound& backward, double times = 1.0) {
  check_close<T>(found.y, exact.y, forward);
  REQUIRE(found.gradients.size() == exact.gradients.size());
  for (std::size_t input = 0; input < found.gradients.size(); ++input) {
    CAPTURE(input);
    REQUIRE(found.gradients[input].has_value() == exact.gradients[input].has_value());
    if (found.gradients[input])
      check_close<T>(*found.gradients[input], *exact.gradients[input], backward, times);
  }
}

/// Forward and every gradient of B in T against the reference in double on the same numbers, within the
/// case's bounds, for contiguous and strided inputs.
template <class T, class B>
void check_against_reference(const OperationTable<B>& table) {
  for (const auto& operation : table.cases()) {
    CAPTURE(operation.name);
    const Outcome exact = operation.template exact<T>();
    for (const Layout layout : all_layouts) {
      CAPTURE(static_cast<int>(layout));
      check_outcome<T>(operation.template run<T>({layout}), exact, operation.forward, operation.backward);
    }
  }
}

/// A second backward over the same graph adds the same again, and each input may be the only one that needs a
/// gradient: it gets the same, the others get none. When none needs one nothing is recorded.
template <class T, class B>
void check_accumulation_and_needs(const OperationTable<B>& table) {
  constexpr OperationBound tiny{1e-6, 1.0, 0.0, 0.0};  // of double's rounding errors
  for (const auto& operation : table.cases()) {
    CAPTURE(operation.name);
    const Outcome exact = operation.template exact<T>();
    check_outcome<T>(operation.template run<T>({.backwards = 2}), exact, operation.forward,
                     operation.backward, 2.0);
    check_outcome<float>(operation.template exact<T>({.backwards = 2}), exact, tiny, tiny, 2.0);

    const std::size_t inputs = operation.inputs.size();
    for (std::size_t only = 0; only < inputs; ++only) {
      CAPTURE(only);
      OperationRun run;
      run.wants.assign(inputs, false);
      run.wants[only] = true;
      Outcome wanted = exact;
      for (std::size_t i = 0; i < inputs; ++i)
        if (i != only) wanted.gradients[i].reset();
      check_outcome<T>(operation.template run<T>(run), wanted, operation.forward, operation.backward);
      check_outcome<float>(operation.template exact<T>(run), wanted, tiny, tiny);
    }
    OperationRun none;
    none.wants.assign(inputs, false);
    const Outcome unrecorded = operation.template run<T>(none);
    CHECK(unrecorded.recorded == (operation.header() == "checkpoint"));  // which always records
    check_close<T>(unrecorded.y, exact.y, operation.forward);
  }
}

/// The same bits for 1 to 4 threads.
template <class T, class B>
void check_operation_threads(const OperationTable<B>& table) {
  const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
  };
  const int before = num_threads();
  for (const auto& operation : table.cases()) {
    CAPTURE(operation.name);
    set_num_threads(1);
    const Outcome single = operation.template run<T>();
    for (int threads = 2; threads <= 4; ++threads) {
      CAPTURE(threads);
      set_num_threads(threads);
      const Outcome found = operation.template run<T>();
      CHECK(same(found.y, single.y));
      for (std::size_t i = 0; i < found.gradients.size(); ++i)
        if (found.gradients[i]) CHECK(same(*found.gradients[i], *single.gradients[i]));
    }
  }
  set_num_threads(before);
}

/// All of it.
template <class B>
void check_operations(const OperationTable<B>& table) {
  SUBCASE("gradients are derivatives") { check_gradients(table); }
  SUBCASE("float agrees with the reference") { check_against_reference<float>(table); }
  SUBCASE("bfloat16 agrees with the reference") { check_against_reference<bfloat16>(table); }
  SUBCASE("gradients accumulate, and only those that are needed are made, in float") {
    check_accumulation_and_needs<float>(table);
  }
  SUBCASE("gradients accumulate, and only those that are needed are made, in bfloat16") {
    check_accumulation_and_needs<bfloat16>(table);
  }
  SUBCASE("threads change no bit") {
    check_operation_threads<float>(table);
    check_operation_threads<bfloat16>(table);
  }
}

}  // namespace attune::testing
