#pragma once

#include "suites/kernel_cases_sequence.hpp"

namespace attune::testing {

/// The kernels of a training step of a small BERT: 16 sequences of 128 tokens, 384 features, 12 heads, an
/// intermediate size of 1536 and a vocabulary of 30522; and those of a decoder's layer on the same shapes.
/// For benchmarks: the reference would take minutes.
template <class B>
void add_step_cases(KernelTable<B>& table) {
  constexpr std::int64_t n = 2048, c = 384, intermediate = 1536, vocabulary = 30522, heads = 12;
  const auto any = uniform(-1, 1);
  const Array x = matrix(n, c, 0, any), wide_x = matrix(n, intermediate, 0, any);

  table
      .add("linear 384 to 384", {x, matrix(c, c, 0, any), vector(c, any), out_matrix(n, c, 0)},
           [](const auto& b, auto& a) {
             b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::identity, {}, a.matrix(3));
           })
      .flop = 2.0 * n * c * c;
  table
      .add("linear gelu 384 to 1536",
           {x, matrix(intermediate, c, 0, any), vector(intermediate, any), out_matrix(n, intermediate, 0),
            out_matrix(n, intermediate, 0)},
           [](const auto& b, auto& a) {
             b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::gelu, a.matrix(3), a.matrix(4));
           })
      .flop = 2.0 * n * c * intermediate;
  table
      .add("linear 1536 to 384",
           {wide_x, matrix(c, intermediate, 0, any), vector(c, any), out_matrix(n, c, 0)},
           [](const auto& b, auto& a) {
             b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::identity, {}, a.matrix(3));
           })
      .flop = 2.0 * n * c * intermediate;
  table
      .add("input gradient 1536 to 384", {wide_x, matrix(intermediate, c, 0, any), out_matrix(n, c, 0)},
           [](const auto& b, auto& a) { b.matmul(a.matrix(0), a.matrix(1), a.matrix(2), {}); })
      .flop = 2.0 * n * c * intermediate;
  table
      .add("weight gradient 1536x384", {wide_x, x, as_wide(out_matrix(intermediate, c, 0))},
           [](const auto& b, auto& a) {
             b.matmul(a.matrix(0), a.matrix(1), a.wide_matrix(2), {.transpose_a = true});
           })
      .flop = 2.0 * n * c * intermediate;
  table.add(
      "gelu backward with bias gradient 1536",
      {wide_x, wide_x, out_matrix(n, intermediate, 0), out_wide(intermediate)}, [](const auto& b, auto& a) {
        b.linear_activation_backward(Unary::gelu, a.matrix(0), a.matrix(1), a.matrix(2), a.wide(3), false);
      });
  table.add("bias gradient 384", {x, out_wide(c)},
            [](const auto& b, auto& a) { b.bias_backward(a.matrix(0), a.wide(1), false); });
  table.add("layer_norm residual dropout 384",
            {x, x, vector(c, any), vector(c, any), integers(n, below(16)), integers(n, below(128)),
             out_matrix(n, c, 0), out_matrix(n, c, 0), out_wide(n), out_wide(n)},
            [](const auto& b, auto& a) {
              b.layer_norm(a.matrix(0), a.matrix(1),
                           {0.1f, {1, 2}, 3, a.integers(4).data(), a.integers(5).data()}, a.span(2),
                           a.span(3), 1e-12f, a.matrix(6), a.matrix(7), a.wide(8), a.wide(9));
            });
  table.add("layer_norm_backward 384",
            {x, x, vector(c, any), wide_vector(n, any), wide_vector(n, uniform(0.5, 2)), out_matrix(n, c, 0),
             out_wide(c), out_wide(c)},
            [](const auto& b, auto& a) {
              b.layer_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.wide(4), a.matrix(5),
                                    a.wide(6), a.wide(7), false);
            });
  table.add(
      "dropout 384", {x, integers(n, below(16)), integers(n, below(128)), out_matrix(n, c, 0)},
      [](const auto& b, auto& a) {
        b.dropout(a.matrix(0), {0.1f, {1, 2}, 3, a.integers(1).data(), a.integers(2).data()}, a.matrix(3));
      });
  for (const float dropout : {0.0f, 0.1f}) {
    const Lengths lengths{std::vector<std::int32_t>(16, 128)};
    const auto options = [=](auto& a) {
      AttentionOptions result;
      result.query_segments = result.key_segments = lengths.view(a.integers(0), a.integers(1));
      result.heads = result.kv_heads = heads;
      result.head_size = c / heads;
      result.scale = 0.1767767f;
      result.dropout = {dropout, {1, 2}, 3, a.integers(2).data(), a.integers(1).data()};
      return result;
    };
    const std::string name = dropout > 0 ? " with dropout" : "";
    const Array lse = as_wide(matrix(n, heads, 0, uniform(4, 5)));
    table
        .add("attention 16 x 128" + name,
             {integers(lengths.offsets()), integers(lengths.positions(false)), integers(n, below(16)), x, x,
              x, out_matrix(n, c, 0), as_wide(out_matrix(n, heads, 0))},
             [=](const auto& b, auto& a) {
               b.attention(a.matrix(3), a.matrix(4), a.matrix(5), options(a), a.matrix(6), a.wide_matrix(7));
             })
        .flop = 2 * 2.0 * n * 128 * c;
    table
        .add("attention_backward 16 x 128" + name,
             {integers(lengths.offsets()), integers(lengths.positions(false)), integers(n, below(16)), x, x,
              x, x, x, lse, out_matrix(n, c, 0), out_matrix(n, c, 0), out_matrix(n, c, 0)},
             [=](const auto& b, auto& a) {
               b.attention_backward(a.matrix(3), a.matrix(4), a.matrix(5), a.matrix(6), a.matrix(7),
                                    a.wide_matrix(8), options(a), a.matrix(9), a.matrix(10), a.matrix(11));
             })
        .flop = 5 * 2.0 * n * 128 * c;
  }
  table.add("rms_norm 384", {x, vector(c, any), out_matrix(n, c, 0), out_wide(n)},
            [](const auto& b, auto& a) {
              b.rms_norm(a.matrix(0), {}, a.span(1), 1e-6f, {}, a.matrix(2), a.wide(3));
            });
  table.add("swiglu 1536", {wide_x, wide_x, out_matrix(n, intermediate, 0)},
            [](const auto& b, auto& a) { b.swiglu(a.matrix(0), a.matrix(1), a.matrix(2)); });
  table.add("rope 384",
            {x, integers(n, below(128)), wide_vector(c / heads / 2, uniform(0, 1)), out_matrix(n, c, 0)},
            [](const auto& b, auto& a) {
              b.rope(a.matrix(0), a.integers(1), a.wide(2), heads, false, a.matrix(3));
            });
  const Array table_rows = matrix(vocabulary, c, 0, any), ids = integers(n, below(vocabulary));
  table
      .add("gather_rows of 30522", {table_rows, ids, out_matrix(n, c, 0)},
           [](const auto& b, auto& a) { b.gather_rows(a.matrix(0), a.integers(1), a.matrix(2), false); })
      .elements = 2.0 * n * c;
  table
      .add("scatter_add_rows to 30522", {x, ids, as_wide(updated(out_matrix(vocabulary, c, 0)))},
           [](const auto& b, auto& a) {
             b.scatter_add_rows(a.matrix(0), a.integers(1), a.wide_matrix(2), true);
           })
      .elements = 3.0 * n * c;
  const Array logits = matrix(300, vocabulary, 0, any);
  const Array labels = integers(300, below(vocabulary));
  table.add(
      "cross_entropy 300 x 30522", {logits, labels, out_wide(300), out_wide(300)},
      [](const auto& b, auto& a) { b.cross_entropy(a.matrix(0), a.integers(1), {}, a.wide(2), a.wide(3)); });
  table.add("cross_entropy_backward 300 x 30522",
            {logits, labels, wide_vector(300, uniform(10, 11)), wide_vector(1, constant(1)),
             out_matrix(300, vocabulary, 0)},
            [](const auto& b, auto& a) {
              b.cross_entropy_backward(a.matrix(0), a.integers(1), {}, a.wide(2), 1.0f, a.wide(3).data(),
                                       a.matrix(4));
            });
}

}  // namespace attune::testing
