#pragma once

#include "suites/kernel_cases_sequence.hpp"

namespace attune::testing {

struct AttentionSizes {
  std::int32_t sequences, length;
  std::int64_t heads, kv_heads, head_size;
  bool causal = false;
  float dropout = 0.0f;
};

/// What a training step works on.
struct StepSizes {
  std::int32_t sequences = 16, length = 128;
  std::int64_t features = 384, intermediate = 1536, heads = 12, vocabulary = 30522, labelled = 300;
  std::vector<AttentionSizes> attention{};  ///< beside the step's own
};

inline std::string name_of(const AttentionSizes& sizes, bool with_heads) {
  const auto text = [](std::int64_t number) { return std::to_string(number); };
  std::string name = text(sizes.sequences) + " x " + text(sizes.length);
  if (with_heads) name += ", " + text(sizes.heads) + " heads of " + text(sizes.head_size);
  if (sizes.kv_heads != sizes.heads) name += " and " + text(sizes.kv_heads) + " of keys";
  return name + (sizes.causal ? " causal" : "") + (sizes.dropout > 0.0f ? " with dropout" : "");
}

/// Attention of whole sequences, forward and backward.
template <class B>
void add_step_attention(KernelTable<B>& table, const std::string& shape, const AttentionSizes& sizes) {
  const std::int64_t n = std::int64_t{sizes.sequences} * sizes.length, c = sizes.heads * sizes.head_size,
                     kv_c = sizes.kv_heads * sizes.head_size;
  const Array x = matrix(n, c, 0, uniform(-1, 1)), kv = matrix(n, kv_c, 0, uniform(-1, 1));
  const Lengths lengths{std::vector<std::int32_t>(static_cast<std::size_t>(sizes.sequences), sizes.length)};
  const auto options = [=](auto& a) {
    AttentionOptions result;
    result.query_segments = result.key_segments = lengths.view(a.integers(0), a.integers(1));
    result.heads = sizes.heads;
    result.kv_heads = sizes.kv_heads;
    result.head_size = sizes.head_size;
    result.scale = 1.0f / std::sqrt(static_cast<float>(sizes.head_size));
    result.causal = sizes.causal;
    result.dropout = {sizes.dropout, {1, 2}, 3, a.integers(2).data(), a.integers(1).data()};
    return result;
  };
  const Array offsets = integers(lengths.offsets()), positions = integers(lengths.positions(false)),
              samples = integers(n, below(sizes.sequences)), y = out_matrix(n, c, 0),
              dkv = out_matrix(n, kv_c, 0);
  // Two products of [length, length, c] forward, five backward; half of each under a causal mask.
  const double one = 2.0 * double(n) * double(sizes.length) * double(c) * (sizes.causal ? 0.5 : 1.0);
  table
      .add("attention " + shape,
           {offsets, positions, samples, x, kv, kv, y, as_wide(out_matrix(n, sizes.heads, 0))},
           [=](const auto& b, auto& a) {
             b.attention(a.matrix(3), a.matrix(4), a.matrix(5), options(a), a.matrix(6), a.wide_matrix(7));
           })
      .flop = 2 * one;
  // As large as the log-sum-exps of such scores, so that weights are at most 1.
  const double log_sum = std::log(double(sizes.length));
  table
      .add("attention_backward " + shape,
           {offsets, positions, samples, x, x, kv, kv, x,
            as_wide(matrix(n, sizes.heads, 0, uniform(log_sum, log_sum + 1))), y, dkv, dkv},
           [=](const auto& b, auto& a) {
             b.attention_backward(a.matrix(3), a.matrix(4), a.matrix(5), a.matrix(6), a.matrix(7),
                                  a.wide_matrix(8), options(a), a.matrix(9), a.matrix(10), a.matrix(11));
           })
      .flop = 5 * one;
}

/// The kernels of a training step, unless said of a small BERT. For measurements: the reference would take
/// minutes.
template <class B>
void add_step_cases(KernelTable<B>& table, const StepSizes& sizes = {}) {
  const std::int64_t n = std::int64_t{sizes.sequences} * sizes.length, c = sizes.features,
                     intermediate = sizes.intermediate, vocabulary = sizes.vocabulary, heads = sizes.heads,
                     labelled = sizes.labelled;
  const auto text = [](std::int64_t number) { return std::to_string(number); };
  const auto any = uniform(-1, 1);
  const Array x = matrix(n, c, 0, any), wide_x = matrix(n, intermediate, 0, any);
  const double product = 2.0 * double(n) * double(c) * double(intermediate);

  table
      .add("linear " + text(c) + " to " + text(c),
           {x, matrix(c, c, 0, any), vector(c, any), out_matrix(n, c, 0)},
           [](const auto& b, auto& a) {
             b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::identity, {}, a.matrix(3));
           })
      .flop = 2.0 * double(n) * double(c) * double(c);
  for (const auto& [name, op] : {std::pair{"gelu", Unary::gelu}, std::pair{"gelu_tanh", Unary::gelu_tanh}})
    table
        .add("linear " + std::string(name) + " " + text(c) + " to " + text(intermediate),
             {x, matrix(intermediate, c, 0, any), vector(intermediate, any), out_matrix(n, intermediate, 0),
              out_matrix(n, intermediate, 0)},
             [op = op](const auto& b, auto& a) {
               b.linear(a.matrix(0), a.matrix(1), a.span(2), op, a.matrix(3), a.matrix(4));
             })
        .flop = product;
  table
      .add("linear " + text(intermediate) + " to " + text(c),
           {wide_x, matrix(c, intermediate, 0, any), vector(c, any), out_matrix(n, c, 0)},
           [](const auto& b, auto& a) {
             b.linear(a.matrix(0), a.matrix(1), a.span(2), Unary::identity, {}, a.matrix(3));
           })
      .flop = product;
  table
      .add("input gradient " + text(intermediate) + " to " + text(c),
           {wide_x, matrix(intermediate, c, 0, any), out_matrix(n, c, 0)},
           [](const auto& b, auto& a) { b.matmul(a.matrix(0), a.matrix(1), a.matrix(2), {}); })
      .flop = product;
  table
      .add("weight gradient " + text(intermediate) + "x" + text(c),
           {wide_x, x, as_wide(out_matrix(intermediate, c, 0))},
           [](const auto& b, auto& a) {
             b.matmul(a.matrix(0), a.matrix(1), a.wide_matrix(2), {.transpose_a = true});
           })
      .flop = product;
  table.add(
      "gelu backward with bias gradient " + text(intermediate),
      {wide_x, wide_x, out_matrix(n, intermediate, 0), out_wide(intermediate)}, [](const auto& b, auto& a) {
        b.linear_activation_backward(Unary::gelu, a.matrix(0), a.matrix(1), a.matrix(2), a.wide(3), false);
      });
  table.add("bias gradient " + text(c), {x, out_wide(c)},
            [](const auto& b, auto& a) { b.bias_backward(a.matrix(0), a.wide(1), false); });
  table.add(
      "layer_norm residual dropout " + text(c),
      {x, x, vector(c, any), vector(c, any), integers(n, below(sizes.sequences)),
       integers(n, below(sizes.length)), out_matrix(n, c, 0), out_matrix(n, c, 0), out_wide(n), out_wide(n)},
      [](const auto& b, auto& a) {
        b.layer_norm(a.matrix(0), a.matrix(1), {0.1f, {1, 2}, 3, a.integers(4).data(), a.integers(5).data()},
                     a.span(2), a.span(3), 1e-12f, a.matrix(6), a.matrix(7), a.wide(8), a.wide(9));
      });
  table.add("layer_norm_backward " + text(c),
            {x, x, vector(c, any), wide_vector(n, any), wide_vector(n, uniform(0.5, 2)), out_matrix(n, c, 0),
             out_wide(c), out_wide(c)},
            [](const auto& b, auto& a) {
              b.layer_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.wide(4), a.matrix(5),
                                    a.wide(6), a.wide(7), false);
            });
  table.add("rms_norm residual " + text(c),
            {x, x, vector(c, any), out_matrix(n, c, 0), out_matrix(n, c, 0), out_wide(n)},
            [](const auto& b, auto& a) {
              b.rms_norm(a.matrix(0), a.matrix(1), a.span(2), 1e-6f, a.matrix(3), a.matrix(4), a.wide(5));
            });
  table.add("rms_norm_backward " + text(c),
            {x, x, vector(c, any), wide_vector(n, uniform(0.5, 2)), out_matrix(n, c, 0), out_wide(c)},
            [](const auto& b, auto& a) {
              b.rms_norm_backward(a.matrix(0), a.matrix(1), a.span(2), a.wide(3), a.matrix(4), a.wide(5),
                                  false);
            });
  table.add("swiglu " + text(intermediate), {wide_x, wide_x, out_matrix(n, intermediate, 0)},
            [](const auto& b, auto& a) { b.swiglu(a.matrix(0), a.matrix(1), a.matrix(2)); });
  table.add("swiglu_backward " + text(intermediate),
            {wide_x, wide_x, wide_x, out_matrix(n, intermediate, 0), out_matrix(n, intermediate, 0)},
            [](const auto& b, auto& a) {
              b.swiglu_backward(a.matrix(0), a.matrix(1), a.matrix(2), a.matrix(3), a.matrix(4));
            });
  table.add("rope " + text(c),
            {x, integers(n, below(sizes.length)), wide_vector(c / heads / 2, uniform(1e-4, 1)),
             out_matrix(n, c, 0)},
            [heads](const auto& b, auto& a) {
              b.rope(a.matrix(0), a.integers(1), a.wide(2), heads, false, a.matrix(3));
            });
  table.add(
      "dropout " + text(c),
      {x, integers(n, below(sizes.sequences)), integers(n, below(sizes.length)), out_matrix(n, c, 0)},
      [](const auto& b, auto& a) {
        b.dropout(a.matrix(0), {0.1f, {1, 2}, 3, a.integers(1).data(), a.integers(2).data()}, a.matrix(3));
      });
  for (const auto& [dropout, causal] : {std::pair{0.0f, false}, {0.1f, false}, {0.0f, true}}) {
    const AttentionSizes own{sizes.sequences, sizes.length, heads, heads, c / heads, causal, dropout};
    add_step_attention(table, name_of(own, false), own);
  }
  for (const AttentionSizes& more : sizes.attention) add_step_attention(table, name_of(more, true), more);
  const Array table_rows = matrix(vocabulary, c, 0, any), ids = integers(n, below(vocabulary));
  const double touched = double(n) * double(c);
  table
      .add("gather_rows of " + text(vocabulary), {table_rows, ids, out_matrix(n, c, 0)},
           [](const auto& b, auto& a) { b.gather_rows(a.matrix(0), a.integers(1), a.matrix(2), false); })
      .elements = 2 * touched;
  // The tables of tokens, positions and token types.
  for (const std::int64_t to : {vocabulary, std::int64_t{512}, std::int64_t{1}})
    table
        .add("scatter_add_rows to " + text(to),
             {x, integers(n, below(to)), as_wide(updated(out_matrix(to, c, 0)))},
             [](const auto& b, auto& a) {
               b.scatter_add_rows(a.matrix(0), a.integers(1), a.wide_matrix(2), true);
             })
        .elements = touched + 2 * double(std::min(n, to)) * double(c);
  const Array logits = matrix(labelled, vocabulary, 0, any);
  const Array labels = integers(labelled, below(vocabulary));
  const std::string shape = text(labelled) + " x " + text(vocabulary);
  table.add(
      "cross_entropy " + shape, {logits, labels, out_wide(labelled), out_wide(labelled)},
      [](const auto& b, auto& a) { b.cross_entropy(a.matrix(0), a.integers(1), {}, a.wide(2), a.wide(3)); });
  table.add("cross_entropy_backward " + shape,
            {logits, labels, wide_vector(labelled, uniform(10, 11)), wide_vector(1, constant(1)),
             out_matrix(labelled, vocabulary, 0)},
            [](const auto& b, auto& a) {
              b.cross_entropy_backward(a.matrix(0), a.integers(1), {}, a.wide(2), 1.0f, a.wide(3).data(),
                                       a.matrix(4));
            });
}

}  // namespace attune::testing
