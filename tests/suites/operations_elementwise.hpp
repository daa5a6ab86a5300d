#pragma once

#include <attune/ops/binary.hpp>
#include <attune/ops/cast.hpp>
#include <attune/ops/dropout.hpp>
#include <attune/ops/sum.hpp>
#include <attune/ops/swiglu.hpp>
#include <attune/ops/unary.hpp>
#include <attune/ops/view.hpp>

#include "suites/operations.hpp"

namespace attune::testing {

/// A mask whose rows have samples 0, 0, 0, 1, ... and their own number as position.
template <class B>
DropoutMask<B> make_mask(const B& device, std::int64_t rows, float probability, std::uint32_t site = 3) {
  std::vector<std::int32_t> samples, positions;
  for (std::int32_t row = 0; row < rows; ++row) {
    samples.push_back(row / 3);
    positions.push_back(row);
  }
  DropoutMask<B> mask;
  mask.samples = Detached<std::int32_t, B>::from_values(device, {rows}, samples);
  mask.positions = Detached<std::int32_t, B>::from_values(device, {rows}, positions);
  mask.view = {probability, {5, 6}, site, mask.samples.data(), mask.positions.data()};
  return mask;
}

struct NamedUnary {
  const char* name;
  Unary function;
  double low, high;
};
inline const std::vector<NamedUnary>& unary_functions() {
  static const std::vector<NamedUnary> functions{
      {"identity", Unary::identity, -2, 2}, {"negate", Unary::negate, -2, 2},
      {"exp", Unary::exp, -2, 2},           {"log", Unary::log, 0.2, 3},
      {"sqrt", Unary::sqrt, 0.2, 3},        {"tanh", Unary::tanh, -2, 2},
      {"sigmoid", Unary::sigmoid, -4, 4},   {"relu", Unary::relu, -2, 2},
      {"gelu", Unary::gelu, -4, 4},         {"gelu_tanh", Unary::gelu_tanh, -4, 4},
      {"silu", Unary::silu, -5, 5}};
  return functions;
}

template <class B>
void add_unary_operations(OperationTable<B>& table) {
  // f is good to a few ulp of float. Backward rounds the result; where it reads the rounded output y, f'(y)
  // is off by |f''/f'| u_T: at most 2 |y| u_T for tanh, less for the others; |dy| <= 1.
  const OperationBound forward{1, 0, 16, 1}, backward{4, 1, 32, 1};
  for (const auto& f : unary_functions()) {
    const auto call = [op = f.function](const auto& in) { return unary(op, in.x(0)); };
    const std::string name = std::string("unary: ") + f.name;
    for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{1}, Shape{3, 5}, Shape{2, 3, 2}, Shape{290, 131}})
      table.add(name + " " + shape.to_string(), {{shape, Source::tensor, f.low, f.high}}, forward, backward,
                call);
  }
  table.add("unary: by name", {{{2, 3}, Source::tensor, 0.2, 2}}, {7, 3, 100, 3}, {24, 3, 200, 3},
            [](const auto& in) {
              const auto& x = in.x(0);
              return gelu(x) + relu(x) + silu(x) + tanh(x) + sigmoid(x) + exp(-x) + log(x) + sqrt(x);
            });
}

template <class B>
void add_binary_operations(OperationTable<B>& table) {
  struct Shapes {
    Shape a, b;
  };
  const std::vector<Shapes> shapes{
      {{}, {}},         {{0, 3}, {0, 3}},       {{2, 3}, {2, 3}},  {{3, 4}, {4}},
      {{3, 1}, {1, 4}}, {{2, 3, 4}, {3, 1}},    {{2, 3}, {}},      {{1}, {2, 2}},
      {{0, 3}, {3}},    {{280, 70}, {280, 70}}, {{280, 70}, {70}}, {{280, 70}, {280, 1}}};
  for (const auto& [a, b] : shapes) {
    const std::string name = a.to_string() + " " + b.to_string();
    // The gradient of a repeated operand is the sum of `n` rounded terms, each at most 4 (b >= 0.5 in
    // divide).
    const std::int64_t n = std::max<std::int64_t>(
        1, std::max(a.size(), b.size()) / std::max<std::int64_t>(1, std::min(a.size(), b.size())));
    const OperationBound forward{2, 0, 4}, backward{2, 4 * roundings(n), 4 * roundings(n), 4.0 * double(n)};
    const std::vector<OperationInput> inputs{{a}, {b}}, positive{{a}, {b, Source::tensor, 0.5, 2.0}};
    table.add("binary: add " + name, inputs, forward, backward,
              [](const auto& in) { return in.x(0) + in.x(1); });
    table.add("binary: subtract " + name, inputs, forward, backward,
              [](const auto& in) { return in.x(0) - in.x(1); });
    table.add("binary: multiply " + name, inputs, forward, backward,
              [](const auto& in) { return in.x(0) * in.x(1); });
    // db is rounded after each of its steps.
    OperationBound divide = backward;
    divide.stored = 5;
    table.add("binary: divide " + name, positive, forward, divide,
              [](const auto& in) { return in.x(0) / in.x(1); });
  }
  const OperationBound forward{2, 0, 8}, backward{6, 4, 16, 8};
  const auto one = [&](const char* name, const auto& call) {
    table.add(std::string("binary: ") + name, {{{3, 5}, Source::tensor, 0.5, 2.0}}, forward, backward, call);
  };
  one("x + x", [](const auto& in) { return in.x(0) + in.x(0); });
  one("x - x", [](const auto& in) { return in.x(0) - in.x(0); });
  one("x x", [](const auto& in) { return in.x(0) * in.x(0); });
  one("x / x", [](const auto& in) { return in.x(0) / in.x(0); });
  one("x + x^T of a square", [](const auto& in) {
    const auto square = slice(in.x(0), 1, 0, 3);
    return square + transpose(square, 0, 1);
  });
  one("scaled", [](const auto& in) { return in.x(0) * 0.7f; });
  one("scaled from the left", [](const auto& in) { return -1.5f * in.x(0); });
  one("divided by a number", [](const auto& in) { return in.x(0) / 3.0f; });
  one("scaled by zero", [](const auto& in) { return in.x(0) * 0.0f; });
  table.add("cast: widen", {{{3, 5}}}, {0, 0, 0}, {1}, [](const auto& in) { return widen(in.x(0)); });
  table.add("cast: widen nothing", {{{0, 5}}}, {}, {}, [](const auto& in) { return widen(in.x(0)); });
  table.add("cast: widen twice", {{{4, 3}}}, {0, 0, 0}, {3, 3},
            [](const auto& in) { return widen(in.x(0)) + widen(in.x(0)); });
}

template <class B>
void add_dropout_operations(OperationTable<B>& table) {
  for (const Shape& shape : {Shape{0, 4}, Shape{1, 1}, Shape{5, 7}, Shape{2, 3, 5}, Shape{300, 67}}) {
    const std::int64_t rows = shape.size() / shape.back();
    table.add("dropout: " + shape.to_string(), {{shape}}, {1, 0, 4}, {1, 0, 4},
              [rows](const auto& in) { return dropout(in.x(0), make_mask(in.device(), rows, 0.4f)); });
  }
  table.add("dropout: inactive", {{{3, 4}}}, {0, 0, 0}, {0, 0, 0},
            [](const auto& in) { return dropout(in.x(0), make_mask(in.device(), 3, 0.0f)) * 1.0f; });
  table.add("dropout: two sites", {{{6, 5}}}, {3, 8, 8}, {3, 8, 8}, [](const auto& in) {
    return dropout(in.x(0), make_mask(in.device(), 6, 0.3f, 1)) +
           dropout(in.x(0), make_mask(in.device(), 6, 0.3f, 2));
  });
  const OperationBound swiglu_bound{2, 1, 32, 1};
  for (const Shape& shape : {Shape{0, 4}, Shape{1}, Shape{3, 5}, Shape{2, 2, 3}, Shape{300, 67}})
    table.add("swiglu: " + shape.to_string(), {{shape, Source::tensor, -3, 3}, {shape}}, swiglu_bound,
              swiglu_bound, [](const auto& in) { return swiglu(in.x(0), in.x(1)); });
  table.add("swiglu: gate and up are one", {{{3, 5}}}, swiglu_bound, {4, 1, 32, 1},
            [](const auto& in) { return swiglu(in.x(0), in.x(0)); });
  table.add("swiglu: halves of one matrix", {{{3, 10}}}, swiglu_bound, swiglu_bound,
            [](const auto& in) { return swiglu(slice(in.x(0), 1, 0, 5), slice(in.x(0), 1, 5, 10)); });
}

template <class B>
void add_view_operations(OperationTable<B>& table) {
  const OperationBound exact{0, 0, 0};
  const auto add = [&](const char* name, const Shape& shape, const auto& call) {
    table.add(std::string("view: ") + name, {{shape}}, exact, exact, call);
  };
  add("reshape", {3, 4}, [](const auto& in) { return reshape(in.x(0), {2, -1}); });
  add("reshape to a vector and back", {2, 3, 2}, [](const auto& in) {
    return reshape(reshape(in.x(0), {12}), {3, 4});
  });
  add("reshape nothing", {0, 4}, [](const auto& in) { return reshape(in.x(0), {2, 0}); });
  add("permute", {2, 3, 4}, [](const auto& in) { return permute(in.x(0), {2, 0, 1}); });
  add("transpose and reshape", {3, 4}, [](const auto& in) {
    return reshape(transpose(in.x(0), 0, 1), {6, 2});
  });
  add("slice rows", {5, 3}, [](const auto& in) { return slice(in.x(0), 0, 1, 4); });
  add("slice columns", {5, 3}, [](const auto& in) { return slice(in.x(0), 1, 2, 3); });
  add("slice nothing", {5, 3}, [](const auto& in) { return slice(in.x(0), 0, 2, 2); });
  add("slice of a transposed slice", {5, 6},
      [](const auto& in) { return slice(transpose(slice(in.x(0), 1, 1, 5), 0, 1), 0, 1, 3); });
  // Sums of repeated elements round.
  const OperationBound repeated{1, 6, 16, 16};
  table.add("view: overlapping slices", {{{5, 3}}}, {2}, repeated,
            [](const auto& in) { return slice(in.x(0), 0, 0, 4) + slice(in.x(0), 0, 1, 5); });
  table.add("view: expand", {{{3, 1}}}, exact, repeated, [](const auto& in) {
    return expand(in.x(0), {2, 3, 4});
  });
  table.add("view: expand a scalar", {{{}}}, exact, repeated, [](const auto& in) {
    return expand(in.x(0), {2, 3});
  });
  table.add("view: expand to nothing", {{{1, 3}}}, exact, repeated, [](const auto& in) {
    return expand(in.x(0), {0, 3});
  });
  table.add("view: large", {{{260, 90}}}, {2}, {2, 2, 8, 2}, [](const auto& in) {
    const auto turned = transpose(in.x(0), 0, 1);
    return slice(turned, 1, 3, 203) * slice(turned, 1, 30, 230);
  });
}

template <class B>
void add_sum_operations(OperationTable<B>& table) {
  struct Sum {
    Shape shape;
    std::vector<int> dims;
  };
  for (const auto& [shape, dims] : std::vector<Sum>{{{3, 4}, {0}},
                                                    {{3, 4}, {1}},
                                                    {{3, 4}, {0, 1}},
                                                    {{3, 4}, {}},
                                                    {{2, 3, 4}, {1}},
                                                    {{2, 3, 4}, {0, 2}},
                                                    {{0, 4}, {0}},
                                                    {{4, 0}, {1}},
                                                    {{0, 4}, {1}},
                                                    {{310, 130}, {0}},
                                                    {{310, 130}, {1}}}) {
    std::string name = "sum: " + shape.to_string() + " over";
    std::int64_t n = 1;
    for (const int dim : dims) {
      name.append(" ").append(std::to_string(dim));
      n *= shape[dim];
    }
    table.add(name, {{shape}}, {1, 0, roundings(n), double(n)}, {0, 0, 0},
              [dims = dims](const auto& in) { return sum(in.x(0), dims); });
  }
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{7}, Shape{3, 5}, Shape{310, 130}}) {
    const double n = double(shape.size());
    table.add("sum: all of " + shape.to_string(), {{shape}}, {1, 0, roundings(shape.size()), n}, {0, 0, 0},
              [](const auto& in) { return sum(in.x(0)); });
    if (shape.size() > 0)  // the mean of nothing is NaN
      table.add("sum: mean of " + shape.to_string(), {{shape}}, {2, 0, roundings(shape.size()), 1}, {1, 0, 2},
                [](const auto& in) { return mean(in.x(0)); });
  }
  table.add("sum: of products, twice", {{{4, 5}}, {{4, 5}}}, {4, 5, 60, 20}, {4, 3, 16, 4},
            [](const auto& in) { return sum(in.x(0) * in.x(1), {1}) * sum(in.x(0), {1}); });
}

template <class B>
OperationTable<B> elementwise_operations() {
  OperationTable<B> table;
  add_unary_operations(table);
  add_binary_operations(table);
  add_dropout_operations(table);
  add_view_operations(table);
  add_sum_operations(table);
  return table;
}

}  // namespace attune::testing
