#pragma once

#include "suites/kernel_table.hpp"

namespace attune::testing {

/// A matrix shape with the gap between its rows.
struct MatrixShape {
  std::int64_t rows, cols, gap;
  std::string name() const {
    return " " + std::to_string(rows) + "x" + std::to_string(cols) + (gap ? "+" + std::to_string(gap) : "");
  }
};
/// Nothing, one element, tails of every vector width, rows apart, more than one task's work, more than a
/// warp's row, several blocks of whole vectors.
inline const std::vector<MatrixShape> matrix_shapes{{0, 5, 0},     {3, 0, 0},    {1, 1, 0},    {1, 7, 2},
                                                    {3, 17, 0},    {5, 33, 3},   {4, 64, 0},   {300, 130, 0},
                                                    {301, 131, 5}, {2, 1544, 8}, {260, 72, 8}, {18, 1000, 8}};
inline const std::vector<std::int64_t> vector_sizes{0, 1, 3, 15, 16, 17, 67, 40001};

template <class B>
void add_layout_cases(KernelTable<B>& table) {
  for (const bool accumulate : {false, true}) {
    const std::string suffix = accumulate ? " accumulate" : "";
    const auto output = [=](Array array) { return accumulate ? updated(array) : array; };
    struct Copy {
      std::string name;
      std::int64_t from_size, to_size;
      Shape shape, from_strides, to_strides;
      std::int64_t from_offset;
    };
    for (const Copy& copy : std::vector<Copy>{
             {"scalar", 1, 1, {}, {}, {}, 0},
             {"empty", 6, 6, {2, 0, 3}, {3, 3, 1}, {0, 3, 1}, 0},
             {"contiguous", 40000, 40000, {10, 4000}, {4000, 1}, {4000, 1}, 0},
             {"transpose", 35, 35, {5, 7}, {1, 5}, {7, 1}, 0},
             {"permute", 2 * 3 * 5 * 7, 2 * 3 * 5 * 7, {2, 5, 3, 7}, {105, 7, 35, 1}, {105, 21, 7, 1}, 0},
             {"reverse a slice", 60, 24, {4, 6}, {10, -1}, {6, 1}, 8},
             {"expand", 7, 5 * 7 * 3, {5, 7, 3}, {0, 1, 0}, {21, 3, 1}, 0},
             {"large transpose", 300 * 131, 300 * 131, {300, 131}, {1, 300}, {131, 1}, 0},
             // Whole packs of 16 bytes, or nearly: rows a gap apart, heads in another order, a repeated row;
             // then an odd beginning, odd rows and odd gaps.
             {"of odd size", 10001, 10001, {10001}, {1}, {1}, 0},
             {"of odd size, from the second on", 10002, 10001, {10001}, {1}, {1}, 1},
             {"columns", 37 * 192, 37 * 64, {37, 64}, {192, 1}, {64, 1}, 64},
             {"heads", 6 * 5 * 16, 6 * 5 * 16, {2, 5, 3, 16}, {240, 16, 80, 1}, {240, 48, 16, 1}, 0},
             {"repeated row", 32, 7 * 40, {7, 32}, {0, 1}, {40, 1}, 0},
             {"rows backwards", 4 * 24, 4 * 24, {4, 24}, {-24, 1}, {24, 1}, 72},
             {"columns from the second on", 37 * 72, 37 * 64, {37, 64}, {72, 1}, {64, 1}, 1},
             {"odd rows", 37 * 72, 37 * 63, {37, 63}, {72, 1}, {63, 1}, 0},
             {"odd gaps", 37 * 65, 37 * 64, {37, 64}, {65, 1}, {64, 1}, 0},
             {"to odd gaps", 37 * 64, 37 * 65, {37, 64}, {64, 1}, {65, 1}, 0},
             {"columns of rows of blocks",
              2 * 3 * 2 * 5 * 8,
              2 * 3 * 2 * 2 * 8,
              {2, 3, 2, 2, 8},
              {240, 80, 40, 8, 1},
              {16, 32, 96, 8, 1},
              0},
             {"of rank 6",
              2 * 3 * 2 * 3 * 2 * 4,
              2 * 3 * 2 * 3 * 2 * 4,
              {2, 3, 2, 3, 2, 4},
              {144, 48, 24, 8, 4, 1},
              {48, 96, 4, 8, 24, 1},
              0},
             {"of rank 8",
              3 * 128,
              3 * 128,
              {2, 2, 2, 2, 2, 2, 2, 3},
              {192, 96, 48, 24, 12, 6, 3, 1},
              {3, 6, 12, 24, 48, 96, 192, 1},
              0}})
      table.add(
          "copy_strided " + copy.name + suffix,
          {vector(copy.from_size, uniform(-1, 1)),
           copy.shape.size() == 0 ? updated(out_vector(copy.to_size)) : output(out_vector(copy.to_size))},
          [=](const auto& b, auto& a) {
            b.copy_strided(a.strided(0, copy.shape, copy.from_strides, copy.from_offset),
                           a.strided(1, copy.shape, copy.to_strides), accumulate);
          });
    for (const auto& [rows, cols, gap] : matrix_shapes) {
      const std::string name = MatrixShape{rows, cols, gap}.name() + suffix;
      table.add("gather_rows" + name,
                {matrix(11, cols, gap, uniform(-1, 1)), integers(rows, below(11)),
                 output(out_matrix(rows, cols, gap))},
                [=](const auto& b, auto& a) {
                  b.gather_rows(a.matrix(0), a.integers(1), a.matrix(2), accumulate);
                });
      table.add("scatter_add_rows" + name,
                {matrix(rows, cols, gap, uniform(-1, 1)), integers(rows, below(13)),
                 output(as_wide(out_matrix(13, cols, gap, {.sums = double(rows + 1)})))},
                [=](const auto& b, auto& a) {
                  b.scatter_add_rows(a.matrix(0), a.integers(1), a.wide_matrix(2), accumulate);
                });
    }
    table.add("scatter_add_rows passes over negative ids" + suffix,
              {matrix(40, 6, 0, uniform(-1, 1)), integers(40, uniform(-20, 5)),
               output(as_wide(out_matrix(5, 6, 0, {.sums = 41})))},
              [=](const auto& b, auto& a) {
                b.scatter_add_rows(a.matrix(0), a.integers(1), a.wide_matrix(2), accumulate);
              });
    // Tables of a few rows and of many, runs of equal ids of all lengths, in order and not.
    struct Scatter {
      const char* name;
      std::int64_t rows, cols, gap, to;
      std::function<double(std::int64_t, RandomStream&)> ids;
    };
    const auto by = [](auto id) { return [=](std::int64_t at, RandomStream&) { return double(id(at)); }; };
    for (const auto& [name, rows, cols, gap, to, ids] : std::vector<Scatter>{
             {"600x2 to one row", 600, 2, 0, 1, constant(0)},
             {"33x300 to one row", 33, 300, 4, 1, constant(0)},
             {"100x600 to two rows", 100, 600, 0, 5, below(2)},
             {"290x3 to two rows in turn", 290, 3, 1, 2, by([](auto at) { return at % 2; })},
             {"129x4 in runs of 16", 129, 4, 0, 9, by([](auto at) { return at / 16; })},
             {"200x2 in runs of 7, backwards", 200, 2, 0, 30, by([](auto at) { return 29 - at / 7; })},
             {"160x5 in runs of 40", 160, 5, 0, 7, by([](auto at) { return (at + 8) / 40; })},
             {"17x8 to as many rows", 17, 8, 0, 17, by([](auto at) { return at * 5 % 17; })},
             {"530x12 to 512 rows", 530, 12, 0, 512, below(512)},
             {"130x130 to rows or none", 130, 130, 2, 3, uniform(-60, 3)},
             {"50x3 to no row", 50, 3, 0, 4, constant(-1)}})
      table.add("scatter_add_rows " + std::string(name) + suffix,
                {matrix(rows, cols, gap, uniform(-1, 1)), integers(rows, ids),
                 output(as_wide(out_matrix(to, cols, gap, {.sums = double(rows + 1)})))},
                [=](const auto& b, auto& a) {
                  b.scatter_add_rows(a.matrix(0), a.integers(1), a.wide_matrix(2), accumulate);
                });
  }
  // More than a device may put in order at once.
  table.add("scatter_add_rows 8200x1 to 100 rows",
            {matrix(8200, 1, 0, uniform(-1, 1)), integers(8200, below(100)),
             as_wide(out_matrix(101, 1, 0, {.sums = 8201}))},
            [=](const auto& b, auto& a) {
              b.scatter_add_rows(a.matrix(0), a.integers(1), a.wide_matrix(2), false);
            });
  for (const std::int64_t n : vector_sizes) {
    const std::string name = " " + std::to_string(n);
    table.add("cast to wide" + name, {vector(n, uniform(-1e3, 1e3)), out_wide(n)},
              [](const auto& b, auto& a) { b.cast(a.span(0), a.wide(1)); });
    table.add("cast from wide" + name, {wide_vector(n, uniform(-1e3, 1e3)), out_vector(n)},
              [](const auto& b, auto& a) { b.cast(a.wide(0), a.span(1)); });
    table.add("fill" + name, {out_vector(n)}, [](const auto& b, auto& a) { b.fill(a.span(0), -0.3); });
  }
}

template <class B>
void add_elementwise_cases(KernelTable<B>& table) {
  struct UnaryCase {
    std::string name;
    Unary op;
    double low,
        high;  // of x; what the backward reads runs over it as well, or over the outputs when these are saved
    Bound forward, backward;  // of the library functions (a few ulp) and of the formulas' cancellations
  };
  const std::vector<UnaryCase> unary_cases{
      {"identity", Unary::identity, -4, 4, {}, {}},
      {"negate", Unary::negate, -4, 4, {}, {}},
      {"exp", Unary::exp, -10, 10, {.relative = 8}, {.relative = 2}},
      {"log", Unary::log, 0.01, 10, {.relative = 4, .absolute = 2}, {.relative = 2}},
      {"sqrt", Unary::sqrt, 0.01, 10, {.relative = 2}, {.relative = 3}},
      {"tanh", Unary::tanh, -5, 5, {.relative = 8}, {.absolute = 8}},
      {"sigmoid", Unary::sigmoid, -10, 10, {.relative = 8}, {.absolute = 8}},
      {"relu", Unary::relu, -4, 4, {}, {}},
      // x Phi(x): 1 + erf loses its relative precision for x < 0, |x| <= 6 times a few u remain.
      {"gelu", Unary::gelu, -6, 6, {.relative = 8, .absolute = 24}, {.relative = 8, .absolute = 48}},
      // The derivative has 1 - tanh^2 times a factor of up to 0.5 x sqrt(2 / pi) (1 + 0.134 x^2) < 15 for |x|
      // < 6.
      {"gelu_tanh",
       Unary::gelu_tanh,
       -6,
       6,
       {.relative = 8, .absolute = 32},
       {.relative = 8, .absolute = 256}},
      {"silu", Unary::silu, -10, 10, {.relative = 12}, {.relative = 8, .absolute = 48}},
  };
  for (const UnaryCase& unary : unary_cases)
    for (const std::int64_t n : vector_sizes) {
      const Unary op = unary.op;
      const std::string name = unary.name + " " + std::to_string(n);
      table.add("unary " + name, {vector(n, uniform(unary.low, unary.high)), out_vector(n, unary.forward)},
                [=](const auto& b, auto& a) { b.unary(op, a.span(0), a.span(1)); });
      const auto saved = [=, low = unary.low, high = unary.high](std::int64_t, RandomStream& random) {
        const double x = low + (high - low) * double(random.uniform());
        return saves(op) == Saves::output ? reference::apply(op, x) : x;
      };
      table.add("unary_backward " + name,
                {vector(n, saved), vector(n, uniform(-2, 2)), out_vector(n, unary.backward)},
                [=](const auto& b, auto& a) { b.unary_backward(op, a.span(0), a.span(1), a.span(2)); });
    }
  table.add("unary in place 67", {updated(out_vector(67, {.relative = 8, .absolute = 24}))},
            [](const auto& b, auto& a) { b.unary(Unary::gelu, a.span(0), a.span(0)); });
  table.add("unary_backward in place 67",
            {vector(67, uniform(-2, 2)), updated(out_vector(67, {.relative = 8, .absolute = 24}))},
            [](const auto& b, auto& a) { b.unary_backward(Unary::silu, a.span(0), a.span(1), a.span(1)); });

  const std::vector<std::pair<std::string, Binary>> binaries{{"add", Binary::add},
                                                             {"subtract", Binary::subtract},
                                                             {"multiply", Binary::multiply},
                                                             {"divide", Binary::divide}};
  for (const auto& [rows, cols, gap] : matrix_shapes) {
    const std::string name = MatrixShape{rows, cols, gap}.name();
    for (const auto& binary : binaries) {
      const Binary op = binary.second;
      table.add("binary " + binary.first + name,
                {matrix(rows, cols, gap, uniform(-2, 2)), matrix(rows, cols, 0, uniform(0.5, 2)),
                 out_matrix(rows, cols, gap, {.relative = 1})},
                [=](const auto& b, auto& a) { b.binary(op, a.matrix(0), a.matrix(1), a.matrix(2)); });
      Array one_row = matrix(rows, cols, 0, uniform(0.5, 2));
      one_row.stride = 0;
      table.add(
          "binary " + binary.first + " with one row" + name,
          {one_row, matrix(rows, cols, gap, uniform(0.5, 2)), out_matrix(rows, cols, 0, {.relative = 1})},
          [=](const auto& b, auto& a) { b.binary(op, a.matrix(0), a.matrix(1), a.matrix(2)); });
    }
    table.add(
        "binary in place" + name,
        {matrix(rows, cols, gap, uniform(-1, 1)), updated(out_matrix(rows, cols, gap, {.relative = 1}))},
        [](const auto& b, auto& a) { b.binary(Binary::subtract, a.matrix(0), a.matrix(1), a.matrix(1)); });
    table.add(
        "dropout" + name,
        {matrix(rows, cols, gap, uniform(0.5, 1)), integers(rows, below(1000)), integers(rows, below(512)),
         with_same_zeros(out_matrix(rows, cols, gap, {.relative = 2}))},
        [](const auto& b, auto& a) {
          b.dropout(a.matrix(0), {0.3f, {1, 2}, 7, a.integers(1).data(), a.integers(2).data()}, a.matrix(3));
        });
    table.add("dropout off" + name, {matrix(rows, cols, gap, uniform(-1, 1)), out_matrix(rows, cols, gap)},
              [](const auto& b, auto& a) { b.dropout(a.matrix(0), {}, a.matrix(1)); });
    table.add("swiglu" + name,
              {matrix(rows, cols, gap, uniform(-6, 6)), matrix(rows, cols, gap, uniform(-2, 2)),
               out_matrix(rows, cols, 0, {.relative = 16})},
              [](const auto& b, auto& a) { b.swiglu(a.matrix(0), a.matrix(1), a.matrix(2)); });
    table.add(
        "swiglu_backward" + name,
        {matrix(rows, cols, gap, uniform(-6, 6)), matrix(rows, cols, gap, uniform(-2, 2)),
         matrix(rows, cols, 0, uniform(-2, 2)), out_matrix(rows, cols, gap, {.relative = 16, .absolute = 96}),
         out_matrix(rows, cols, gap, {.relative = 16})},
        [](const auto& b, auto& a) {
          b.swiglu_backward(a.matrix(0), a.matrix(1), a.matrix(2), a.matrix(3), a.matrix(4));
        });
  }
  for (const std::int64_t n : vector_sizes) {
    const std::string name = " " + std::to_string(n);
    table.add("axpby" + name, {vector(n, uniform(-1, 1)), updated(out_vector(n, {.sums = 3}))},
              [](const auto& b, auto& a) { b.axpby(0.7f, a.span(0), 1.3f, a.span(1)); });
    table.add("axpby overwrites" + name, {vector(n, uniform(-1, 1)), out_vector(n, {.relative = 1})},
              [](const auto& b, auto& a) { b.axpby(-0.7f, a.span(0), 0.0f, a.span(1)); });
    table.add(
        "axpby by a factor on the device" + name,
        {vector(n, uniform(-1, 1)), wide_vector(1, uniform(-2, 2)), updated(out_vector(n, {.sums = 3}))},
        [](const auto& b, auto& a) { b.axpby(a.wide(1).data(), a.span(0), 1.3f, a.span(2)); });
  }
}

template <class B>
void add_reduce_cases(KernelTable<B>& table) {
  // Sums run in double: one rounding to float, one to T.
  const Bound one_rounding{.sums = 1};
  for (const bool accumulate : {false, true}) {
    const auto output = [=](std::int64_t n) {
      return accumulate ? updated(out_vector(n, one_rounding)) : out_vector(n, one_rounding);
    };
    struct Sum {
      std::string name;
      std::int64_t size, result;
      Shape shape, strides, result_strides;
    };
    for (const Sum& sum :
         std::vector<Sum>{{"everything", 40001, 1, {40001}, {1}, {0}},
                          {"a scalar", 1, 1, {}, {}, {}},
                          {"nothing", 0, 4, {0, 4}, {4, 1}, {0, 1}},
                          {"rows", 5 * 7, 5, {5, 7}, {7, 1}, {1, 0}},
                          {"columns", 5 * 7, 7, {5, 7}, {7, 1}, {0, 1}},
                          {"columns of many rows", 5000 * 70, 70, {5000, 70}, {70, 1}, {0, 1}},
                          {"the middle", 3 * 5 * 7, 3 * 7, {3, 5, 7}, {35, 7, 1}, {7, 0, 1}},
                          {"both ends", 3 * 500 * 7, 500, {3, 500, 7}, {3500, 7, 1}, {0, 1, 0}},
                          {"a transposed view", 300 * 131, 300, {131, 300}, {1, 131}, {0, 1}},
                          {"an expanded view", 9, 4, {4, 6, 9}, {0, 0, 1}, {1, 0, 0}}})
      table.add("sum " + sum.name + (accumulate ? " accumulate" : ""),
                {vector(sum.size, uniform(-1, 1)), output(sum.result)}, [=](const auto& b, auto& a) {
                  b.sum(a.strided(0, sum.shape, sum.strides), a.strided(1, sum.shape, sum.result_strides),
                        accumulate);
                });
  }
  for (const std::int64_t n : vector_sizes)
    table.add("total " + std::to_string(n), {vector(n, uniform(-1, 1)), out_wide(1, one_rounding)},
              [](const auto& b, auto& a) { b.total(a.span(0), a.wide(1).data()); });
  for (const auto& [rows, cols, gap] : matrix_shapes) {
    if (cols == 0) continue;
    Array indices = integers(rows, constant(-1));
    indices.role = Role::output;
    table.add("argmax_rows" + MatrixShape{rows, cols, gap}.name(),
              {matrix(rows, cols, gap, below(9)), indices},
              [](const auto& b, auto& a) { b.argmax_rows(a.matrix(0), a.out_integers(1)); });
  }
}

}  // namespace attune::testing
