#pragma once

#include <attune/ops/add_norm.hpp>
#include <attune/ops/embedding.hpp>
#include <attune/ops/feed_forward.hpp>
#include <attune/ops/gather_rows.hpp>
#include <attune/ops/l2_normalize.hpp>
#include <attune/ops/layer_norm.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/matmul.hpp>
#include <attune/ops/rms_norm.hpp>
#include <attune/ops/softmax.hpp>

#include "suites/operations_elementwise.hpp"

namespace attune::testing {

template <class B>
void add_linear_operations(OperationTable<B>& table) {
  // The pre-activation sums k products of numbers in [-1, 1]; |f'| <= 1.13 for all but exp, log and sqrt,
  // whose inputs are kept where |f'| <= 8. dpre is rounded to T, and so is what f' reads; dx then sums m
  // products, dw and db `rows`.
  const auto bounds = [](std::int64_t rows, std::int64_t k, std::int64_t m, double slope) {
    const std::int64_t longest = std::max(rows, m);
    return std::pair{OperationBound{1 + 2 * slope, 0, slope * roundings(k) + 16, double(k + 1)},
                     OperationBound{2 + 2 * slope, slope * roundings(longest),
                                    slope * (roundings(k) + roundings(longest)) + 32, double(k + longest)}};
  };
  const auto add = [&](const std::string& name, const Shape& shape, std::int64_t m, bool bias, Source source,
                       double low, double slope, Unary op) {
    const std::int64_t k = shape.back(), rows = shape.size() / std::max<std::int64_t>(1, k);
    const auto [forward, backward] = bounds(rows, k, m, slope);
    std::vector<OperationInput> inputs{{shape, Source::tensor, low, 1}, {{m, k}, source, low, 1}};
    if (bias) inputs.push_back({{m}, source, low, 1});
    table.add("linear: " + name, inputs, forward, backward, [bias, op](const auto& in) {
      return bias ? linear(in.x(0), in.p(1), in.p(2), op) : linear(in.x(0), in.p(1), {}, op);
    });
  };
  for (const auto& f : unary_functions()) {
    const double low = f.low > 0 ? 0.2 : -1.0;  // log and sqrt stay where they are defined
    const double slope = f.function == Unary::exp ? 8.0 : 1.13;
    add(f.name, {4, 3}, 5, true, Source::parameter, low, slope, f.function);
    add(std::string(f.name) + " without bias, rows of fused parameters", {3, 2}, 4, false, Source::rows, low,
        slope, f.function);
  }
  for (const Unary op : {Unary::identity, Unary::gelu, Unary::tanh}) {
    const std::string name = op == Unary::identity ? "identity" : op == Unary::gelu ? "gelu" : "tanh";
    add(name + " no rows", {0, 3}, 2, true, Source::parameter, -1, 1.13, op);
    add(name + " one by one", {1, 1}, 1, true, Source::parameter, -1, 1.13, op);
    add(name + " of a vector", {5}, 3, true, Source::parameter, -1, 1.13, op);
    add(name + " rank 3", {2, 3, 4}, 2, true, Source::rows, -1, 1.13, op);
    add(name + " large", {270, 67}, 90, true, Source::rows, -1, 1.13, op);
  }
  table.add("linear: the same weight twice",
            {{{3, 4}}, {{4, 4}, Source::parameter}, {{4}, Source::parameter}}, {4, 4, 60, 10},
            {6, 40, 200, 40}, [](const auto& in) {
              return linear(linear(in.x(0), in.p(1), in.p(2), Unary::gelu), in.p(1), in.p(2));
            });
  // The two halves of one parameter, and the whole, in one graph.
  table.add("linear: parts of a weight", {{{3, 4}}, {{4, 4}, Source::parameter}}, {4, 4, 60, 10},
            {6, 40, 200, 40}, [](const auto& in) {
              const auto a = linear(in.x(0), in.p(1).rows(0, 2)), b = linear(in.x(0), in.p(1).rows(2, 4));
              const auto whole = linear(in.x(0), in.p(1));
              return slice(whole, 1, 1, 3) * a + b;
            });
}

template <class B>
void add_feed_forward_operations(OperationTable<B>& table) {
  // Two products of at most 12 terms each, in between a function with |f'| <= 1.13.
  const auto add = [&](const std::string& name, const Shape& shape, std::int64_t inner, Source source,
                       Unary op) {
    const std::int64_t k = shape.back();
    table.add("feed_forward: " + name,
              {{shape}, {{inner, k}, source}, {{inner}, source}, {{4, inner}, source}, {{4}, source}},
              {4, 4, 60, 10}, {6, 40, 200, 40},
              [op](const auto& in) { return feed_forward(in.x(0), in.p(1), in.p(2), op, in.p(3), in.p(4)); });
  };
  for (const auto& [name, op] : std::vector<std::pair<std::string, Unary>>{{"gelu", Unary::gelu},
                                                                           {"tanh", Unary::tanh},
                                                                           {"relu", Unary::relu},
                                                                           {"silu", Unary::silu},
                                                                           {"identity", Unary::identity}}) {
    add(name, {5, 3}, 7, Source::parameter, op);
    add(name + " of fused parameters, rank 3", {2, 3, 4}, 6, Source::rows, op);
    add(name + " no rows", {0, 3}, 5, Source::parameter, op);
  }
  add("gelu_tanh, inner size a multiple of 8", {5, 3}, 8, Source::parameter, Unary::gelu_tanh);
  add("gelu_tanh, another inner size", {5, 3}, 7, Source::parameter, Unary::gelu_tanh);
  table.add("feed_forward: without biases, the same as two linear layers",
            {{{3, 4}}, {{5, 4}, Source::parameter}, {{4, 5}, Source::parameter}}, {4, 4, 60, 10},
            {6, 40, 200, 40}, [](const auto& in) {
              return feed_forward(in.x(0), in.p(1), {}, Unary::gelu, in.p(2), {}) -
                     linear(linear(in.x(0), in.p(1), {}, Unary::gelu), in.p(2)) +
                     feed_forward(in.x(0), in.p(1), {}, Unary::gelu, in.p(2), {});
            });
}

template <class B>
void add_matmul_operations(OperationTable<B>& table) {
  struct Product {
    Shape a, b;
  };
  for (const auto& [a, b] : std::vector<Product>{{{1, 1}, {1, 1}},
                                                 {{3, 4}, {4, 5}},
                                                 {{0, 4}, {4, 3}},
                                                 {{3, 0}, {0, 4}},
                                                 {{3, 4}, {4, 0}},
                                                 {{2, 3, 4}, {2, 4, 5}},
                                                 {{0, 3, 4}, {0, 4, 2}},
                                                 {{130, 70}, {70, 150}},
                                                 {{5, 60, 33}, {5, 33, 50}}}) {
    const std::int64_t n = std::max({a.back(), b.back(), a[a.rank() - 2]});
    table.add("matmul: " + a.to_string() + " " + b.to_string(), {{a}, {b}}, {1, 0, roundings(n), double(n)},
              {1, 0, roundings(n), double(n)}, [](const auto& in) { return matmul(in.x(0), in.x(1)); });
  }
  table.add("matmul: a square with itself", {{{4, 4}}}, {1, 0, 20, 4}, {2, 0, 40, 8},
            [](const auto& in) { return matmul(in.x(0), in.x(0)); });
  table.add("matmul: with its transpose", {{{4, 3}}}, {1, 0, 20, 4}, {2, 0, 40, 8},
            [](const auto& in) { return matmul(in.x(0), transpose(in.x(0), 0, 1)); });
}

template <class B>
void add_norm_operations(OperationTable<B>& table) {
  // With rows of numbers in [-1, 1] rstd is about 1.7 (3 at most for the short rows here) and |n| <= 3. The
  // stored sum s is off by u_T |s|, |s| <= 3.7; y by rstd times that. ds is a sum of three such terms, dw
  // sums rows of dy n.
  const auto bounds = [](std::int64_t rows, std::int64_t c, bool residual) {
    const double s = residual ? 3.7 * 3 : 0;
    return std::pair{OperationBound{residual ? 2.0 : 1.0, s, roundings(c) + 32, 8},
                     OperationBound{4, std::max(3.0, s) * roundings(rows),
                                    roundings(c) + roundings(rows) + 64, double(rows) * 4}};
  };
  const float eps = 1e-3f;
  for (const Shape& shape :
       {Shape{0, 4}, Shape{1, 1}, Shape{1, 5}, Shape{4, 7}, Shape{2, 3, 6}, Shape{280, 131}}) {
    const std::int64_t c = shape.back(), rows = shape.size() / c;
    const std::vector<OperationInput> plain{{shape}, {{c}, Source::parameter}, {{c}, Source::parameter}};
    const std::vector<OperationInput> two{
        {shape}, {shape}, {{c}, Source::parameter}, {{c}, Source::parameter}};
    const std::string name = shape.to_string();
    const auto [forward, backward] = bounds(rows, c, false);
    const auto [forward_sum, backward_sum] = bounds(rows, c, true);
    table.add("layer_norm: " + name, plain, forward, backward,
              [eps](const auto& in) { return layer_norm(in.x(0), in.p(1), in.p(2), eps); });
    table.add("layer_norm: without bias " + name, {plain[0], plain[1]}, forward, backward,
              [eps](const auto& in) { return layer_norm(in.x(0), in.p(1), {}, eps); });
    for (const float p : {0.0f, 0.4f})
      table.add("layer_norm: residual " + name + (p > 0 ? " with dropout" : ""), two, forward_sum,
                backward_sum, [=](const auto& in) {
                  return dropout_add_layer_norm(in.x(0), make_mask(in.device(), rows, p), in.x(1), in.p(2),
                                                in.p(3), eps);
                });
    table.add("layer_norm: x is its own residual, with dropout " + name, plain, forward_sum, backward_sum,
              [=](const auto& in) {
                return dropout_add_layer_norm(in.x(0), make_mask(in.device(), rows, 0.4f), in.x(0), in.p(1),
                                              in.p(2), eps);
              });
    table.add("rms_norm: " + name, {plain[0], plain[1]}, forward, backward,
              [eps](const auto& in) { return rms_norm(in.x(0), in.p(1), eps); });
    // The sum and its norm: both read, the norm alone, the sum alone. The sum of both is stored once more.
    OperationBound both = forward_sum;
    both.stored += 1;
    both.scale += 3.7;
    both.terms += 4;
    for (const char* read : {"both", "norm", "sum"}) {
      const auto part = [read = std::string(read)](const auto& pair) {
        const auto& [sum, norm] = pair;
        return read == "both" ? sum + norm : read == "norm" ? norm : sum;
      };
      const std::string suffix = name + " " + read;
      for (const float p : {0.0f, 0.4f})
        table.add("add_norm: layer norm " + suffix + (p > 0 ? " with dropout" : ""), two, both, backward_sum,
                  [=](const auto& in) {
                    return part(add_layer_norm(in.x(0), make_mask(in.device(), rows, p), in.x(1), in.p(2),
                                               in.p(3), eps));
                  });
      table.add("add_norm: RMS norm " + suffix, {two[0], two[1], two[2]}, both, backward_sum,
                [=](const auto& in) { return part(add_rms_norm(in.x(0), in.x(1), in.p(2), eps)); });
    }
  }
  // A weight of its own gradient twice, and a bias whose gradient comes from elsewhere first: one accumulates
  // alone.
  table.add("layer_norm: bias used twice", {{{3, 5}}, {{5}, Source::parameter}, {{5}, Source::parameter}},
            {4, 8, 60, 16}, {6, 60, 200, 40}, [eps](const auto& in) {
              const auto y = layer_norm(in.x(0), in.p(1), in.p(2), eps);
              return rms_norm(y, in.p(2), eps) + y;
            });
  table.add("layer_norm: weight used twice", {{{3, 5}}, {{5}, Source::parameter}, {{5}, Source::parameter}},
            {4, 8, 60, 16}, {6, 60, 200, 40}, [eps](const auto& in) {
              const auto y = layer_norm(in.x(0), in.p(1), in.p(2), eps);
              return rms_norm(y, in.p(1), eps) + y;
            });
  table.add("layer_norm: weight and bias are one", {{{3, 5}}, {{5}, Source::parameter}}, {1, 8, 60, 16},
            {4, 30, 200, 40}, [eps](const auto& in) { return layer_norm(in.x(0), in.p(1), in.p(1), eps); });

  for (const Shape& shape : {Shape{0, 3}, Shape{1}, Shape{4}, Shape{3, 5}, Shape{2, 3, 4}, Shape{300, 131}}) {
    const double n = double(shape.back());
    // y <= e^2 / n; y dy - y sum(y dy) of rounded y.
    table.add("softmax: " + shape.to_string(), {{shape}}, {1, 8 / n, 32, 8 / n},
              {4, 8 / n, roundings(shape.back()) + 32, 8 / n},
              [](const auto& in) { return softmax(in.x(0)); });
    // Away from |x| = 0: |x| >= 0.5 sqrt(n), so gradients are below 2 / sqrt(n).
    const double g = 4 / std::sqrt(n);
    table.add("l2_normalize: " + shape.to_string(), {{shape, Source::tensor, 0.5, 1}},
              {1, 0, roundings(shape.back()) + 16}, {4, g, roundings(shape.back()) + 32, g},
              [](const auto& in) { return l2_normalize(in.x(0)); });
  }
  // Below eps the row is divided by eps. y reads 0.4, sums of 5 below 0.5 in each row.
  table.add("l2_normalize: rows shorter than eps", {{{3, 5}, Source::tensor, -0.1, 0.1}}, {1, 0, 16},
            {1, 0, 16}, [](const auto& in) { return l2_normalize(in.x(0), 0.5f); });
}

template <class B>
void add_index_operations(OperationTable<B>& table) {
  using Ids = std::vector<std::int32_t>;
  // A gradient sums the terms of at most `n` equal ids.
  const auto sums = [](double n) { return OperationBound{1, 0, roundings(std::int64_t(n)), n}; };
  struct Lookup {
    const char* name;
    Ids ids;
    std::int64_t padding = -1;
  };
  for (const Lookup& lookup : std::vector<Lookup>{{"ids", {3, 0, 1, 3, 3}},
                                                  {"a padding row", {3, 0, 1, 3, 0, 0}, 0},
                                                  {"a padding row that does not occur", {3, 1}, 0},
                                                  {"no ids", {}},
                                                  {"one id", {4}}}) {
    const auto index = [lookup](const auto& device) {
      return RowIndex(device, std::span<const std::int32_t>(lookup.ids), lookup.padding);
    };
    table
        .add(std::string("gather_rows: ") + lookup.name, {{{5, 3}}}, {0, 0, 0}, sums(3),
             [index](const auto& in) { return gather_rows(in.x(0), index(in.device())); })
        .cuts_gradient = lookup.padding >= 0;
    table
        .add(std::string("embedding: ") + lookup.name, {{{5, 3}, Source::parameter}}, {0, 0, 0}, sums(3),
             [index](const auto& in) { return embedding(index(in.device()), in.p(0)); })
        .cuts_gradient = lookup.padding >= 0;
  }
  Ids many, positions, types;
  for (std::int32_t i = 0; i < 700; ++i) {
    many.push_back(i * i % 41);
    positions.push_back(i % 50);
    types.push_back(i / 350);
  }
  table.add("gather_rows: large", {{{45, 67}}}, {0, 0, 0}, sums(60), [=](const auto& in) {
    return gather_rows(in.x(0), RowIndex(in.device(), std::span<const std::int32_t>(many)));
  });
  const auto three = [](const auto& in, const Ids& a, const Ids& b, const Ids& c, std::int64_t padding) {
    const auto index = [&](const Ids& ids, std::int64_t without) {
      return RowIndex(in.device(), std::span<const std::int32_t>(ids), without);
    };
    return embedding_sum(index(a, padding), in.p(0), index(b, -1), in.p(1), index(c, -1), in.p(2));
  };
  // Three terms, of which the first sums may be rounded.
  const OperationBound forward{3, 3, 8};
  table.add("embedding: a sum of three",
            {{{5, 3}, Source::parameter}, {{4, 3}, Source::parameter}, {{2, 3}, Source::parameter}}, forward,
            sums(4), [=](const auto& in) {
              return three(in, {0, 4, 4, 1}, {0, 1, 2, 3}, {0, 0, 1, 1}, -1);
            });
  table.add("embedding: a sum of three, large",
            {{{45, 67}, Source::parameter}, {{50, 67}, Source::parameter}, {{2, 67}, Source::rows}}, forward,
            sums(350), [=](const auto& in) { return three(in, many, positions, types, 0); });
  table.add("embedding: a sum of two", {{{5, 3}, Source::parameter}, {{4, 3}, Source::rows}}, forward,
            sums(4), [](const auto& in) {
              const Ids a{0, 4, 4, 1}, b{3, 2, 1, 0};
              const auto device = in.device();
              const RowIndex first(device, std::span<const std::int32_t>(a)),
                  second(device, std::span<const std::int32_t>(b));
              return embedding_sum(first, in.p(0), second, in.p(1), decltype(first)(), {});
            });
  table.add("embedding: one table three times", {{{5, 3}, Source::parameter}}, forward, sums(8),
            [](const auto& in) {
              const Ids a{0, 4, 4, 1}, b{3, 2, 1, 0}, c{1, 1, 1, 1};
              const auto index = [&](const Ids& ids) {
                return RowIndex(in.device(), std::span<const std::int32_t>(ids));
              };
              return embedding_sum(index(a), in.p(0), index(b), in.p(0), index(c), in.p(0));
            });
  // The tied decoder of a masked language model.
  table.add("embedding: tied with a linear layer", {{{5, 3}, Source::parameter}}, {2, 3, 40, 5},
            {3, 40, 60, 16}, [](const auto& in) {
              const Ids ids{0, 4, 2, 1};
              return linear(embedding(RowIndex(in.device(), std::span<const std::int32_t>(ids), -1), in.p(0)),
                            in.p(0));
            });
}

template <class B>
OperationTable<B> row_operations() {
  OperationTable<B> table;
  add_linear_operations(table);
  add_feed_forward_operations(table);
  add_matmul_operations(table);
  add_norm_operations(table);
  add_index_operations(table);
  return table;
}

}  // namespace attune::testing
