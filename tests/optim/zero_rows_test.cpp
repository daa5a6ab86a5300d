#include <doctest/doctest.h>
#include <attune/autograd/backward.hpp>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/core/parallel.hpp>
#include <attune/ops/embedding.hpp>
#include <attune/optim/adamw.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "optim/helpers.hpp"

// Rows of a table that no gradient reaches: the optimizer reads less of them, and every number stays what it
// is when all rows count.

using namespace attune;
using namespace optim_test;

namespace {

constexpr std::int64_t rows = 6000, features = 24;  // three chunks

std::vector<float> noise(std::int64_t count, std::uint64_t stream) {
  RandomStream random(7, stream);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.normal();
  return values;
}

/// Gradients of some 40 rows, as a batch of tokens gives them.
template <class T>
void add_gradients(const Parameter<T, Cpu>& table, std::uint64_t stream, float poison = 0.0f) {
  RandomStream random(11, stream);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 40; ++i)
    ids.push_back(static_cast<std::int32_t>(random.below(rows / 10) * (1 + i % 10)));
  std::vector<T> gradient;
  for (const float value : noise(40 * features, stream)) gradient.push_back(T(value + poison));
  embedding(RowIndex<Cpu>(Cpu{}, ids, ids[0]), table)
      .backward(Detached<T, Cpu>::from_values(Cpu{}, {40, features}, gradient));
}

struct Trained {
  std::vector<float> master, grad, first, second;
  std::vector<std::uint32_t> value;
  std::int64_t fewest = rows, most = 0;  // rows with a gradient, where that was known
  friend bool operator==(const Trained& a, const Trained& b) {
    return a.master == b.master && a.grad == b.grad && a.first == b.first && a.second == b.second &&
           a.value == b.value;
  }
};

/// Twenty steps of every kind. `dense`: before each step the gradient is looked at, so that nothing is known
/// of it.
template <class T>
Trained train(bool dense, double eps, double weight_decay) {
  const auto table = parameter<T>(Cpu{}, {rows, features}, noise(rows * features, 0));
  const auto other = parameter<T>(Cpu{}, {3}, {1, 2, 3});
  AdamW optimizer(
      list<Cpu>({named("table", table), named("other", other)}),
      {.lr = 1e-2, .eps = eps, .weight_decay = weight_decay, .max_grad_norm = 0.5, .skip_non_finite = true});
  Trained result;
  for (std::uint64_t step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    give_grad(other, {1, -1, 1});
    if (step != 3) add_gradients(table, step);
    if (step == 5) add_gradients(table, 100);  // a second micro-batch
    if (step == 8) give_grad(table, noise(rows * features, 200));
    if (step == 10) add_gradients(table, 300, std::numeric_limits<float>::infinity());
    if (step == 12) optimizer.set_lr(0.0);
    if (step == 13) optimizer.set_lr(1e-2);
    if (step == 15)
      for (const auto& array : optimizer.arrays())
        array.values.copy_from(noise(array.values.size(), array.values.size() > 3 ? 400 : 401));
    if (step == 15)  // a second moment is never negative
      for (const auto& array : optimizer.arrays())
        for (float& value : array.values.span()) value = value < 0 || value > 1 ? 0.0f : value;
    if (dense && table.state()->has_grad) static_cast<void>(table.grad());
    const auto& known = table.state()->grad_rows;
    if (!known.empty()) {
      const std::int64_t count = std::count(known.begin(), known.end(), 1);
      result.fewest = std::min(result.fewest, count);
      result.most = std::max(result.most, count);
    }
    optimizer.step();
  }
  CHECK(optimizer.skipped_steps() == 1);
  result.master = master(table);
  result.grad = table.grad().to_vector();
  result.first = optimizer.arrays()[0].values.to_vector();
  result.second = optimizer.arrays()[1].values.to_vector();
  for (const T value : table.value().to_vector())
    if constexpr (std::is_same_v<T, bfloat16>)
      result.value.push_back(value.bits);
    else
      result.value.push_back(std::bit_cast<std::uint32_t>(value));
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("rows without a gradient: the same bits as when every row counts, for 1 to 4 threads", T,
                   float, bfloat16) {
  const int before = num_threads();
  for (const double weight_decay : {0.1, 0.0}) {
    CAPTURE(weight_decay);
    const Trained dense = train<T>(true, 1e-8, weight_decay);
    CHECK(dense.most == 0);
    for (const int threads : {1, 2, 3, 4}) {
      set_num_threads(threads);
      const Trained sparse = train<T>(false, 1e-8, weight_decay);
      CHECK(sparse == dense);
      CHECK(sparse.fewest > 0);
      CHECK(sparse.most < 100);
    }
  }
  set_num_threads(before);
}

TEST_CASE("rows without a gradient: eps = 0 divides 0 by 0 in all of them") {
  const Trained sparse = train<float>(false, 0.0, 0.1);
  CHECK(std::count_if(sparse.master.begin(), sparse.master.end(),
                      [](float value) { return value != value; }) > rows / 2 * features);
}
