#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include <attune/backend/backend.hpp>

#include "suites/kernel_cases_elementwise.hpp"

namespace attune::testing {

/// `even_gelu`: how far off gelu's tanh form may be in a product whose rows are whole packs, in units of u_T
/// and its argument.
template <class B>
void add_matmul_cases(KernelTable<B>& table, double even_gelu = 0.0) {
  struct Product {
    std::int64_t rows, cols, depth, gap;
  };
  for (const auto& [m, n, k, gap] : std::vector<Product>{{1, 1, 1, 0},
                                                         {0, 3, 4, 0},
                                                         {3, 0, 4, 0},
                                                         {3, 4, 0, 0},
                                                         {1, 37, 19, 0},
                                                         {37, 1, 19, 1},
                                                         {5, 7, 3, 2},
                                                         {16, 16, 16, 0},
                                                         {33, 65, 129, 3},
                                                         {130, 300, 70, 0},
                                                         {257, 260, 31, 1}}) {
    const std::string name = " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                             (gap ? "+" + std::to_string(gap) : "");
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        const std::string suffix = name + (ta ? " at" : "") + (tb ? " bt" : "");
        const Array a_matrix = ta ? matrix(k, m, gap, uniform(-1, 1)) : matrix(m, k, gap, uniform(-1, 1));
        const Array b_matrix = tb ? matrix(n, k, gap, uniform(-1, 1)) : matrix(k, n, gap, uniform(-1, 1));
        // A dot product of k terms, alpha, beta and their sum.
        const Bound bound{.sums = double(k + 3)};
        table.add("matmul" + suffix, {a_matrix, b_matrix, out_matrix(m, n, gap, bound)},
                  [=](const auto& b, auto& a) {
                    b.matmul(a.matrix(0), a.matrix(1), a.matrix(2), {.transpose_a = ta, .transpose_b = tb});
                  });
        table.add("matmul accumulate to wide" + suffix,
                  {a_matrix, b_matrix, updated(as_wide(out_matrix(m, n, gap, bound)))},
                  [=](const auto& b, auto& a) {
                    b.matmul(a.matrix(0), a.matrix(1), a.wide_matrix(2),
                             {.transpose_a = ta, .transpose_b = tb, .alpha = 0.7f, .beta = 1.0f});
                  });
      }
    table.add("matmul alpha beta" + name,
              {matrix(m, k, 0, uniform(-1, 1)), matrix(k, n, gap, uniform(-1, 1)),
               updated(out_matrix(m, n, 0, {.sums = double(k + 3)}))},
              [](const auto& b, auto& a) {
                b.matmul(a.matrix(0), a.matrix(1), a.matrix(2), {.alpha = 0.7f, .beta = 0.3f});
              });

    for (const auto& activation :
         std::vector<std::pair<std::string, Unary>>{{"identity", Unary::identity}, {"gelu", Unary::gelu}}) {
      const Unary op = activation.second;
      // |gelu'| < 1.13; its own error is at most 8 u |v| + 4 u, |v| <= M.
      const Bound pre{.sums = double(k + 2)};
      const Bound y{
          .sums = 1.13 * double(k + 2) + (op == Unary::identity ? 0 : 12), .absolute = 4, .magnitude_of = 3};
      const std::vector<Array> arrays{matrix(m, k, gap, uniform(-1, 1)), matrix(n, k, 0, uniform(-1, 1)),
                                      vector(n, uniform(-1, 1)), out_matrix(m, n, gap, pre),
                                      out_matrix(m, n, gap, y)};
      table.add("linear " + activation.first + name, arrays, [=](const auto& b, auto& a) {
        b.linear(a.matrix(0), a.matrix(1), a.span(2), op, a.matrix(3), a.matrix(4));
      });
    }
    table.add("linear without bias, pre-activation wanted" + name,
              {matrix(m, k, 0, uniform(-1, 1)), matrix(n, k, 0, uniform(-1, 1)),
               out_matrix(m, n, gap, {.sums = double(k + 2)}),
               out_matrix(m, n, gap, {.sums = 1.13 * double(k + 2) + 12, .absolute = 4, .magnitude_of = 2})},
              [](const auto& b, auto& a) {
                b.linear(a.matrix(0), a.matrix(1), {}, Unary::gelu, a.matrix(2), a.matrix(3));
              });
    table.add("linear without bias" + name,
              {matrix(m, k, 0, uniform(-1, 1)), matrix(n, k, 0, uniform(-1, 1)),
               out_matrix(m, n, 0, {.sums = double(k + 2)})},
              [](const auto& b, auto& a) {
                b.linear(a.matrix(0), a.matrix(1), {}, Unary::identity, {}, a.matrix(2));
              });
  }
  // Gelu's tanh form, at strides at which a library may have it in its product and at others.
  for (const auto& [n, m, k, gap] : std::vector<Product>{{5, 8, 3, 0},
                                                         {33, 64, 20, 8},
                                                         {70, 24, 33, 0},
                                                         {19, 21, 16, 0},
                                                         {0, 8, 4, 0},
                                                         {3, 8, 0, 0},
                                                         {40, 64, 32, 8},
                                                         {70, 136, 48, 0}}) {
    const double gelu = m % 8 == 0 && k % 8 == 0 ? even_gelu : 0.0;
    const std::string name =
        " gelu_tanh " + std::to_string(n) + "x" + std::to_string(m) + "x" + std::to_string(k);
    const Array x = matrix(n, k, gap, uniform(-1, 1)), w = matrix(m, k, 0, uniform(-1, 1));
    const double sums = double(k + 2);
    table.add(
        "linear" + name,
        {x, w, vector(m, uniform(-1, 1)), out_matrix(n, m, gap, {.sums = sums}),
         out_matrix(n, m, gap,
                    {.sums = 1.13 * sums + 12, .absolute = 32, .stored_sums = gelu, .magnitude_of = 3})},
        [](const auto& b, auto& a) {
          b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::gelu_tanh, a.matrix(3), a.matrix(4));
        });
    table.add(
        "linear without bias" + name,
        {x, w, out_matrix(n, m, 0, {.sums = sums}),
         out_matrix(n, m, 0,
                    {.sums = 1.13 * sums + 12, .absolute = 32, .stored_sums = gelu, .magnitude_of = 2})},
        [](const auto& b, auto& a) {
          b.linear(a.matrix(0), a.matrix(1), {}, Unary::gelu_tanh, a.matrix(2), a.matrix(3));
        });
    // y is at most k + 1 in size, which stands for the sum of the magnitudes.
    const Bound alone{.absolute = (1.13 * sums + 12) * double(k + 1) + 32, .stored = gelu * double(k + 1)};
    table.add("linear, nothing saved," + name,
              {x, w, vector(m, uniform(-1, 1)), out_matrix(n, m, gap, alone)}, [](const auto& b, auto& a) {
                b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::gelu_tanh, {}, a.matrix(3));
              });
    table.add("linear, nothing saved, without bias" + name, {x, w, out_matrix(n, m, gap, alone)},
              [](const auto& b, auto& a) {
                b.linear(a.matrix(0), a.matrix(1), {}, Unary::gelu_tanh, {}, a.matrix(2));
              });
    for (const bool accumulate : {false, true})
      for (const auto& [function, op] :
           {std::pair{"gelu_tanh", Unary::gelu_tanh}, std::pair{"silu", Unary::silu}}) {
        // dy w sums k products of numbers in [-1, 1], may be stored in T, and is multiplied by a slope of
        // less than 1.13 that is off by 256 u; then sums of n such.
        const double size = double(std::max<std::int64_t>(k, 1)), rows = double(n);
        const Bound dpre{.absolute = size * (1.2 * sums + 264), .stored = 1.2 * size},
            bias{.absolute = rows * (size * (1.2 * sums + 264) + 1.2 * rows * size),
                 .stored = 2.4 * rows * size};
        const Array sum = accumulate ? updated(out_wide(m, bias)) : out_wide(m, bias);
        table.add(
            std::string("matmul_activation_backward ") + function + name + (accumulate ? " accumulate" : ""),
            {x, matrix(k, m, 0, uniform(-1, 1)), matrix(n, m, gap, uniform(-2, 2)), out_matrix(n, m, 0, dpre),
             sum},
            [op = op, accumulate](const auto& b, auto& a) {
              using Device = std::remove_cvref_t<decltype(b)>;
              using T = typename std::remove_cvref_t<decltype(a)>::value_type;
              matmul_activation_backward<Device, T>(b, a.matrix(0), a.matrix(1), op, a.matrix(2), a.matrix(3),
                                                    a.wide(4), accumulate);
            });
      }
  }
  table.add("matmul_activation_backward, no bias",
            {matrix(9, 6, 0, uniform(-1, 1)), matrix(6, 16, 0, uniform(-1, 1)),
             matrix(9, 16, 0, uniform(-2, 2)), out_matrix(9, 16, 0, {.absolute = 6 * 300, .stored = 8})},
            [](const auto& b, auto& a) {
              using Device = std::remove_cvref_t<decltype(b)>;
              using T = typename std::remove_cvref_t<decltype(a)>::value_type;
              matmul_activation_backward<Device, T>(b, a.matrix(0), a.matrix(1), Unary::gelu_tanh,
                                                    a.matrix(2), a.matrix(3), {}, false);
            });

  // Per-head products through batch strides: [H, L, D] [H, L, D]^T.
  table.add("matmul batch of 5",
            {vector(5 * 9 * 8, uniform(-1, 1)), vector(5 * 7 * 8, uniform(-1, 1)),
             out_vector(5 * 9 * 7, {.sums = 11})},
            [](const auto& b, auto& a) {
              const auto shaped = [](auto span, std::int64_t rows, std::int64_t cols) {
                return MatrixView<typename decltype(span)::element_type>{span.data(), rows, cols, cols};
              };
              b.matmul(shaped(a.span(0), 9, 8), shaped(a.span(1), 7, 8), shaped(a.span(2), 9, 7),
                       {.transpose_b = true,
                        .batch = 5,
                        .batch_stride_a = 72,
                        .batch_stride_b = 56,
                        .batch_stride_c = 63});
            });

  for (const auto& [rows, cols, gap] : matrix_shapes)
    for (const bool accumulate : {false, true}) {
      const std::string name = MatrixShape{rows, cols, gap}.name() + (accumulate ? " accumulate" : "");
      const auto output = [=](Array array) { return accumulate ? updated(array) : array; };
      table.add("bias_backward" + name,
                {matrix(rows, cols, gap, uniform(-1, 1)), output(out_wide(cols, {.sums = double(rows + 1)}))},
                [=](const auto& b, auto& a) { b.bias_backward(a.matrix(0), a.wide(1), accumulate); });
      for (const auto& activation : std::vector<std::pair<std::string, Unary>>{
               {"gelu", Unary::gelu}, {"tanh", Unary::tanh}, {"negate", Unary::negate}}) {
        const Unary op = activation.second;
        // Each term is off by at most 56 u (see the unary cases; stored in T first or not) and below 3; sums
        // of `rows` terms follow.
        const double n = double(rows);
        table.add("linear_activation_backward " + activation.first + name,
                  {matrix(rows, cols, gap, uniform(-1, 1)), matrix(rows, cols, gap, uniform(-2, 2)),
                   out_matrix(rows, cols, gap, {.relative = 8, .absolute = 48}),
                   output(out_wide(cols, {.absolute = n * 64 + 3 * n * n, .stored = 3 * n}))},
                  [=](const auto& b, auto& a) {
                    b.linear_activation_backward(op, a.matrix(0), a.matrix(1), a.matrix(2), a.wide(3),
                                                 accumulate);
                  });
      }
    }
  // Two chunks of rows; more of them than there may be chunks.
  for (const auto& [rows, cols] : {std::pair{136, 8}, std::pair{33000, 1}})
    table.add("bias_backward " + std::to_string(rows) + "x" + std::to_string(cols),
              {matrix(rows, cols, 0, uniform(-1, 1)), out_wide(cols, {.sums = double(rows + 1)})},
              [](const auto& b, auto& a) { b.bias_backward(a.matrix(0), a.wide(1), false); });
  table.add(
      "linear_activation_backward in place, no bias",
      {matrix(9, 21, 0, uniform(-1, 1)), updated(out_matrix(9, 21, 0, {.relative = 8, .absolute = 24}))},
      [](const auto& b, auto& a) {
        b.linear_activation_backward(Unary::silu, a.matrix(0), a.matrix(1), a.matrix(1), {}, false);
      });
}

/// Products with a matrix in quantised blocks (BlockOps). Its elements are multiples of a power of two that
/// bfloat16 holds exactly and none is negative, so that the bounds are those of a plain product.
template <class B>
void add_block_cases(KernelTable<B>& table) {
  const auto words = [](BlockType type, std::int64_t blocks) {
    std::vector<std::uint8_t> bytes;
    RandomStream random(3);
    const auto half = [&](std::uint16_t bits) {
      bytes.push_back(static_cast<std::uint8_t>(bits & 0xff));
      bytes.push_back(static_cast<std::uint8_t>(bits >> 8));
    };
    for (std::int64_t block = 0; block < blocks; ++block) {
      half(type == BlockType::q8_0 ? 0x2000 : 0x3000);  // d: 2^-7 or 2^-3
      if (type == BlockType::q4_1) half(0x3400);        // m: 2^-2
      for (int i = 0; i < (type == BlockType::q8_0 ? 32 : 16); ++i)
        bytes.push_back(static_cast<std::uint8_t>(type == BlockType::q4_0   ? 0x88 | random.below(256)
                                                  : type == BlockType::q8_0 ? random.below(128)
                                                                            : random.below(256)));
    }
    bytes.resize((bytes.size() + 3) / 4 * 4);
    std::vector<std::int32_t> result(bytes.size() / 4);
    if (!bytes.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  };
  struct Product {
    std::int64_t rows, outputs, inputs, gap;
  };
  for (const BlockType type : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1})
    for (const auto& [n, m, k, gap] : std::vector<Product>{{0, 3, 32, 0},
                                                           {3, 0, 32, 0},
                                                           {1, 1, 32, 0},
                                                           {5, 7, 96, 2},
                                                           {20, 37, 64, 0},
                                                           {70, 33, 1568, 3},
                                                           {33, 130, 416, 1}}) {
      const std::string name = std::string(name_of(type)) + " " + std::to_string(n) + "x" +
                               std::to_string(m) + "x" + std::to_string(k);
      const Array blocks = integers(words(type, m * k / block_elements));
      const auto view = [=, m = m, k = k](const auto& a) {
        return BlockView{reinterpret_cast<const std::byte*>(a.integers(1).data()), m, k, type};
      };
      table.add(
          "linear " + name,
          {matrix(n, k, gap, uniform(-1, 1)), blocks, vector(m, uniform(-1, 1)),
           out_matrix(n, m, gap, {.sums = double(k + 2)}),
           out_matrix(n, m, gap, {.sums = 1.13 * double(k + 2) + 12, .absolute = 4, .magnitude_of = 3})},
          [=](const auto& b, auto& a) {
            b.linear(a.matrix(0), view(a), a.span(2), Unary::gelu, a.matrix(3), a.matrix(4));
          });
      for (const float beta : {0.0f, 1.0f})
        table.add(
            "linear's input gradient " + name + (beta > 0 ? " added" : ""),
            {matrix(n, m, gap, uniform(-1, 1)), blocks,
             updated(out_matrix(n, k, gap, {.sums = double(m + 3)}))},
            [=](const auto& b, auto& a) { b.matmul(a.matrix(0), view(a), a.matrix(2), {.beta = beta}); });
    }
}

template <class B>
void add_norm_cases(KernelTable<B>& table) {
  for (const auto& [rows, cols, gap] : matrix_shapes) {
    if (cols == 0) continue;
    const double n = double(cols), m = double(rows);
    const float eps = 1e-5f;
    const std::string name = MatrixShape{rows, cols, gap}.name();
    // Inputs are in [-2, 2]. A sum of n terms in 16 lanes has n / 16 + 5 roundings, relative to the mean
    // size; a normalised value is below sqrt(n), typically 2, and rstd near 1 (below 8 for the short rows
    // here).
    const double lanes = n / 16 + 16;
    const Bound y{.absolute = 16 * lanes, .stored = 16}, mean{.absolute = 2 * lanes, .stored = 2},
        rstd{.relative = 8 * lanes, .stored = 32};
    const auto x = matrix(rows, cols, gap, uniform(-2, 2));
    const auto weight = vector(cols, uniform(0.5, 1.5)), bias = vector(cols, uniform(-1, 1));
    table.add("layer_norm" + name,
              {x, weight, bias, out_matrix(rows, cols, 0, y), out_wide(rows, mean), out_wide(rows, rstd)},
              [=](const auto& b, auto& a) {
                b.layer_norm(a.matrix(0), {}, {}, a.span(1), a.span(2), eps, {}, a.matrix(3), a.wide(4),
                             a.wide(5));
              });
    table.add("layer_norm without bias, s wanted" + name,
              {x, weight, out_matrix(rows, cols, gap), out_matrix(rows, cols, gap, y), out_wide(rows, mean),
               out_wide(rows, rstd)},
              [=](const auto& b, auto& a) {
                b.layer_norm(a.matrix(0), {}, {}, a.span(1), {}, eps, a.matrix(2), a.matrix(3), a.wide(4),
                             a.wide(5));
              });
    for (const float probability : {0.0f, 0.25f})
      table.add("layer_norm residual dropout " + std::to_string(probability) + name,
                {x, matrix(rows, cols, gap, uniform(-2, 2)), weight, bias, integers(rows, below(1000)),
                 integers(rows, below(512)), out_matrix(rows, cols, gap, {.relative = 1, .absolute = 4}),
                 out_matrix(rows, cols, gap, y), out_wide(rows, mean), out_wide(rows, rstd)},
                [=](const auto& b, auto& a) {
                  b.layer_norm(a.matrix(0), a.matrix(1),
                               {probability, {3, 4}, 9, a.integers(4).data(), a.integers(5).data()},
                               a.span(2), a.span(3), eps, a.matrix(6), a.matrix(7), a.wide(8), a.wide(9));
                });
    table.add("rms_norm" + name, {x, weight, out_matrix(rows, cols, gap, y), out_wide(rows, rstd)},
              [=](const auto& b, auto& a) {
                b.rms_norm(a.matrix(0), {}, a.span(1), eps, {}, a.matrix(2), a.wide(3));
              });
    table.add("rms_norm residual" + name,
              {x, matrix(rows, cols, 0, uniform(-2, 2)), weight,
               out_matrix(rows, cols, gap, {.relative = 1, .absolute = 4}), out_matrix(rows, cols, gap, y),
               out_wide(rows, rstd)},
              [=](const auto& b, auto& a) {
                b.rms_norm(a.matrix(0), a.matrix(1), a.span(2), eps, a.matrix(3), a.matrix(4), a.wide(5));
              });

    // Backward: |dy weight h| < 2 * 1.5 * |h|, times rstd; then sums of `rows` such terms.
    const Bound ds{.relative = 8, .absolute = 32 * lanes}, parameter{.absolute = 32 * m + 6 * m * m};
    for (const bool accumulate : {false, true}) {
      const std::string suffix = name + (accumulate ? " accumulate" : "");
      const auto output = [=](Array array) { return accumulate ? updated(array) : array; };
      table.add(
          "layer_norm_backward" + suffix,
          {matrix(rows, cols, gap, uniform(-2, 2)), x, weight, wide_vector(rows, constant(0)),
           wide_vector(rows, constant(1)), out_matrix(rows, cols, gap, ds), output(out_wide(cols, parameter)),
           output(out_wide(cols, parameter)), out_matrix(rows, cols, 0), vector(cols, constant(0))},
          [=](const Reference& b, auto& a) {
            b.layer_norm(a.matrix(1), {}, {}, a.span(2), a.span(9), eps, {}, a.matrix(8), a.wide(3),
                         a.wide(4));
            b.fill(a.span(8), -77.0);
          },
          [=](const auto& b, auto& a) {
            b.layer_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.wide(4), a.matrix(5),
                                  a.wide(6), a.wide(7), accumulate);
          });
      table.add(
          "rms_norm_backward" + suffix,
          {matrix(rows, cols, gap, uniform(-2, 2)), x, weight, wide_vector(rows, constant(1)),
           out_matrix(rows, cols, gap, ds), output(out_wide(cols, parameter)), out_matrix(rows, cols, 0)},
          [=](const Reference& b, auto& a) {
            b.rms_norm(a.matrix(1), {}, a.span(2), eps, {}, a.matrix(6), a.wide(3));
            b.fill(a.span(6), -77.0);
          },
          [=](const auto& b, auto& a) {
            b.rms_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.matrix(4), a.wide(5),
                                accumulate);
          });
    }
    table.add("layer_norm_backward, no parameter gradients" + name,
              {matrix(rows, cols, gap, uniform(-2, 2)), x, weight, wide_vector(rows, uniform(-0.1, 0.1)),
               wide_vector(rows, uniform(0.5, 1)), out_matrix(rows, cols, gap, ds)},
              [=](const auto& b, auto& a) {
                b.layer_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.wide(4), a.matrix(5),
                                      {}, {}, false);
              });

    // |ds| < 8 is stored in T before dropout scales it by 4/3.
    table.add(
        "layer_norm_backward, dropout, no bias gradient" + name,
        {matrix(rows, cols, gap, uniform(-2, 2)), x, weight, wide_vector(rows, uniform(-0.1, 0.1)),
         wide_vector(rows, uniform(0.5, 1)), integers(rows, below(1000)), integers(rows, below(512)),
         out_matrix(rows, cols, gap, ds),
         with_same_zeros(out_matrix(rows, cols, gap, {.relative = 12, .absolute = 48 * lanes, .stored = 12})),
         out_wide(cols, parameter)},
        [=](const auto& b, auto& a) {
          b.layer_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.wide(4), a.matrix(7),
                                a.wide(9), {}, false,
                                {0.25f, {3, 4}, 9, a.integers(5).data(), a.integers(6).data()}, a.matrix(8));
        });

    table.add("l2_normalize" + name,
              {x, out_matrix(rows, cols, gap, {.relative = lanes}), out_wide(rows, {.relative = lanes})},
              [](const auto& b, auto& a) { b.l2_normalize(a.matrix(0), 1e-12f, a.matrix(1), a.wide(2)); });
    table.add("l2_normalize clamped" + name,
              {x, out_matrix(rows, cols, gap, {.relative = lanes}), out_wide(rows, {.relative = lanes})},
              [](const auto& b, auto& a) { b.l2_normalize(a.matrix(0), 100.0f, a.matrix(1), a.wide(2)); });
    // |dy - y (y . dy)| / |x| with |dy| <= 1: errors in proportion to |y . dy| <= sqrt(n).
    for (const float clamp : {1e-12f, 0.8f})
      table.add("l2_normalize_backward " + std::to_string(clamp) + name,
                {matrix(rows, cols, gap, uniform(-1, 1)), matrix(rows, cols, gap, uniform(-1, 1)),
                 wide_vector(rows, uniform(0.5, 1)),
                 out_matrix(rows, cols, gap, {.relative = 8, .absolute = 2 * lanes * n})},
                [=](const auto& b, auto& a) {
                  b.l2_normalize_backward(a.matrix(0), a.matrix(1), a.wide(2), clamp, a.matrix(3));
                });
    // exp's argument is off by u |x - max| <= 16 u.
    table.add(
        "softmax" + name,
        {matrix(rows, cols, gap, uniform(-8, 8)), out_matrix(rows, cols, gap, {.relative = 48 + n / 16})},
        [](const auto& b, auto& a) { b.softmax(a.matrix(0), a.matrix(1)); });
    table.add("softmax_backward" + name,
              {matrix(rows, cols, gap, uniform(0, 2.0 / n)), matrix(rows, cols, gap, uniform(-1, 1)),
               out_matrix(rows, cols, gap, {.relative = 4, .absolute = 4 * lanes / n})},
              [](const auto& b, auto& a) { b.softmax_backward(a.matrix(0), a.matrix(1), a.matrix(2)); });
  }
}

template <class B>
void add_loss_cases(KernelTable<B>& table) {
  // Also long rows that begin anywhere, and long ones with a gap behind an odd number of columns.
  std::vector<MatrixShape> shapes = matrix_shapes;
  shapes.insert(shapes.end(), {{9, 2051, 0}, {3, 4099, 5}});
  for (const auto& [rows, cols, gap] : shapes) {
    if (cols == 0) continue;
    const double n = double(cols);
    for (const float smoothing : {0.0f, 0.1f})
      for (const bool weighted : {false, true}) {
        const std::string name = MatrixShape{rows, cols, gap}.name() + (smoothing > 0 ? " smoothed" : "") +
                                 (weighted ? " weighted" : "");
        const auto labels = [cols = cols](std::int64_t, RandomStream& random) {
          const auto label = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(cols + 1)));
          return label == cols ? -100.0 : double(label);  // some rows are ignored
        };
        const auto options = [=](const auto& weights) {
          CrossEntropyOptions<typename std::remove_cvref_t<decltype(weights)>::value_type> result;
          result.label_smoothing = smoothing;
          if (weighted) result.class_weights = weights;
          return result;
        };
        const Bound loss{.relative = 8, .absolute = 8 * (n / 16 + 32)};
        table.add("cross_entropy" + name,
                  {matrix(rows, cols, gap, uniform(-8, 8)), integers(rows, labels),
                   wide_vector(cols, uniform(0.5, 2)), out_wide(rows, loss),
                   out_wide(rows, {.relative = 4, .absolute = n / 16 + 32})},
                  [=](const auto& b, auto& a) {
                    b.cross_entropy(a.matrix(0), a.integers(1), options(a.wide(2)), a.wide(3), a.wide(4));
                  });
        // lse is given, so p is off by the 32 u of exp's argument; weights are at most 2, factor * scale
        // 0.75.
        const auto backward_arrays = [=, rows = rows, cols = cols](const Array& logits,
                                                                   std::int64_t out_gap) {
          return std::vector<Array>{logits,
                                    integers(rows, labels),
                                    wide_vector(cols, uniform(0.5, 2)),
                                    wide_vector(rows, constant(0)),
                                    wide_vector(1, constant(1.5)),
                                    out_matrix(rows, cols, out_gap, {.relative = 4, .absolute = 128 + n / 8}),
                                    wide_vector(rows, constant(0))};
        };
        table.add(
            "cross_entropy_backward" + name, backward_arrays(matrix(rows, cols, gap, uniform(-8, 8)), gap),
            [=](const Reference& b, auto& a) {
              b.cross_entropy(a.matrix(0), a.integers(1), options(a.wide(2)), a.wide(6), a.wide(3));
            },
            [=](const auto& b, auto& a) {
              b.cross_entropy_backward(a.matrix(0), a.integers(1), options(a.wide(2)), a.wide(3), 0.5f,
                                       a.wide(4).data(), a.matrix(5));
            });
        // From wide logits, whose rows lie at another distance.
        table.add(
            "cross_entropy_backward of wide logits" + name,
            backward_arrays(as_wide(matrix(rows, cols, gap, uniform(-8, 8))), gap + 3),
            [=](const Reference& b, auto& a) {
              b.cross_entropy(a.wide_matrix(0), a.integers(1), options(a.wide(2)), a.wide(6), a.wide(3));
            },
            [=](const auto& b, auto& a) {
              b.cross_entropy_backward(a.wide_matrix(0), a.integers(1), options(a.wide(2)), a.wide(3), 0.5f,
                                       a.wide(4).data(), a.matrix(5));
            });
      }
  }
  for (const std::int64_t n : vector_sizes) {
    const std::string name = " " + std::to_string(n);
    const Array x = vector(n, uniform(-8, 8)), targets = wide_vector(n, uniform(0, 1));
    const Array scale = wide_vector(1, constant(1.5));
    table.add("mse" + name, {x, targets, out_wide(n, {.relative = 4})},
              [](const auto& b, auto& a) { b.mse(a.span(0), a.wide(1), a.wide(2)); });
    table.add("mse_backward" + name, {x, targets, scale, out_vector(n, {.relative = 4})},
              [](const auto& b, auto& a) {
                b.mse_backward(a.span(0), a.wide(1), 0.5f, a.wide(2).data(), a.span(3));
              });
    table.add("bce_with_logits" + name, {x, targets, out_wide(n, {.absolute = 32})},
              [](const auto& b, auto& a) { b.bce_with_logits(a.span(0), a.wide(1), a.wide(2)); });
    table.add("bce_with_logits_backward" + name, {x, targets, scale, out_vector(n, {.absolute = 8})},
              [](const auto& b, auto& a) {
                b.bce_with_logits_backward(a.span(0), a.wide(1), 0.5f, a.wide(2).data(), a.span(3));
              });
  }
}

}  // namespace attune::testing
