#pragma once

#include <algorithm>
#include <numeric>

#include "suites/kernel_cases_elementwise.hpp"

namespace attune::testing {

struct Lengths {
  std::vector<std::int32_t> lengths;

  std::int64_t count() const { return static_cast<std::int64_t>(lengths.size()); }
  std::int64_t tokens() const { return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}); }
  std::vector<std::int32_t> offsets() const {
    std::vector<std::int32_t> result{0};
    for (const std::int32_t length : lengths) result.push_back(result.back() + length);
    return result;
  }
  /// 0, 1, 2, ... in each sequence, or with holes.
  std::vector<std::int32_t> positions(bool holes) const {
    std::vector<std::int32_t> result;
    for (const std::int32_t length : lengths)
      for (std::int32_t i = 0; i < length; ++i) result.push_back(holes ? i + i / 3 + 2 : i);
    return result;
  }
  std::int32_t longest() const {
    return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  }
  SegmentsView view(std::span<const std::int32_t> offsets, std::span<const std::int32_t> positions) const {
    return {offsets.data(), count(), tokens(), longest(), positions.data()};
  }
};

struct AttentionCase {
  std::string name;
  Lengths queries, keys;
  std::int64_t heads, kv_heads, head_size;
  std::int64_t gap = 0;
  bool causal = false;
  std::int64_t window = 0, query_offset = 0;
  float dropout = 0.0f;
  bool holes = false;
  float sharpness = 1.0f;  ///< scores are q k^T times this, over sqrt(D); bounds hold up to 1
};

/// `rounded` says that the backend rounds weights, and the gradients of scores, to T before they multiply
/// rows: 1 for T = bfloat16 on tensor cores, else 0.
template <class B>
void add_attention_case(KernelTable<B>& table, const AttentionCase& c, double rounded = 0.0) {
  const auto nq = c.queries.tokens(), nk = c.keys.tokens(), width = c.heads * c.head_size,
             kv_width = c.kv_heads * c.head_size;
  const float scale = c.sharpness / std::sqrt(static_cast<float>(c.head_size));
  // Scores sum D products of numbers in [-1, 1], times 1 / sqrt(D): off by at most (D + 2) sqrt(D) u. A
  // weight is off by twice that, exp and the sum of n in lanes; values are in [-1, 1].
  const double d = double(c.head_size), longest = std::max<double>(152, c.keys.longest());
  const double weight_error = 2 * (d + 2) * std::sqrt(d) + longest / 16 + 32;
  // A rounded weight is off by u_T / 2 of itself; weights add up to 1, or 1 / (1 - p).
  const Bound log_sum{.absolute = weight_error + longest},
      forward{.absolute = log_sum.absolute, .stored = rounded};
  // dP sums D products, dS = P (dP - sum P dP), then sums over the keys or the queries of the group.
  // A rounded dS is off by u_T / 2 of itself, at most about 2 sqrt(D) P, and so is delta from a rounded y;
  // the weights of a key add up to a few over the queries of a head.
  const double group = double(c.heads) / double(c.kv_heads);
  const Bound backward{.absolute = (4 * weight_error + 4 * longest) * d, .stored = 3 * rounded},
      shared{.absolute = backward.absolute, .stored = 3 * group * rounded};
  const auto options = [=](auto& a) {
    AttentionOptions result;
    result.query_segments = c.queries.view(a.integers(0), a.integers(1));
    result.key_segments = c.keys.view(a.integers(2), a.integers(3));
    result.heads = c.heads;
    result.kv_heads = c.kv_heads;
    result.head_size = c.head_size;
    result.scale = scale;
    result.causal = c.causal;
    result.window = c.window;
    result.query_offset = c.query_offset;
    result.dropout = {c.dropout, {5, 6}, 3, a.integers(4).data(), a.integers(1).data()};
    return result;
  };
  const std::vector<Array> common{integers(c.queries.offsets()),
                                  integers(c.queries.positions(c.holes)),
                                  integers(c.keys.offsets()),
                                  integers(c.keys.positions(c.holes)),
                                  integers(nq, below(50)),
                                  matrix(nq, width, c.gap, uniform(-1, 1)),
                                  matrix(nk, kv_width, c.gap, uniform(-1, 1)),
                                  matrix(nk, kv_width, c.gap, uniform(-1, 1))};
  const auto with = [&](std::vector<Array> more) {
    std::vector<Array> arrays = common;
    arrays.insert(arrays.end(), more.begin(), more.end());
    return arrays;
  };
  table.add("attention " + c.name,
            with({out_matrix(nq, width, c.gap, forward), as_wide(out_matrix(nq, c.heads, 0, log_sum))}),
            [=](const auto& b, auto& a) {
              b.attention(a.matrix(5), a.matrix(6), a.matrix(7), options(a), a.matrix(8), a.wide_matrix(9));
            });
  Array lse = matrix(nq, c.heads, 0, constant(0));
  lse.kind = Kind::wide;
  table.add(
      "attention_backward " + c.name,
      with({matrix(nq, width, c.gap, constant(0)), lse, matrix(nq, width, c.gap, uniform(-1, 1)),
            out_matrix(nq, width, c.gap, backward), out_matrix(nk, kv_width, c.gap, shared),
            out_matrix(nk, kv_width, c.gap, shared)}),
      [=](const Reference& b, auto& a) {
        b.attention(a.matrix(5), a.matrix(6), a.matrix(7), options(a), a.matrix(8), a.wide_matrix(9));
      },
      [=](const auto& b, auto& a) {
        b.attention_backward(a.matrix(10), a.matrix(5), a.matrix(6), a.matrix(7), a.matrix(8),
                             a.wide_matrix(9), options(a), a.matrix(11), a.matrix(12), a.matrix(13));
      });
}

template <class B>
void add_attention_cases(KernelTable<B>& table, double rounded = 0.0) {
  const Lengths ragged{{5, 0, 1, 70, 17}};
  for (const AttentionCase& c : std::vector<AttentionCase>{
           {"none", {}, {}, 2, 2, 4},
           {"one token", {{1}}, {{1}}, 1, 1, 1},
           {"ragged", ragged, ragged, 3, 3, 8},
           {"ragged, rows apart", ragged, ragged, 2, 2, 20, 7},
           {"causal", ragged, ragged, 2, 2, 16, 0, true},
           {"causal grouped window", ragged, ragged, 6, 2, 8, 0, true, 9},
           {"window without causal", ragged, ragged, 2, 1, 8, 3, false, 4},
           {"cached keys", {{1, 3, 2}}, {{6, 9, 7}}, 4, 2, 8, 0, true, 0, 5},
           {"queries without keys", {{3, 2}}, {{0, 4}}, 2, 2, 8},
           {"causal queries before all keys", {{5}}, {{3}}, 1, 1, 8, 0, true, 0, -3},
           {"window behind all keys", {{5}}, {{3}}, 1, 1, 8, 0, true, 2, 2},
           {"keys without queries", {{0, 2}}, {{5, 4}}, 2, 2, 8},
           {"long", {{150, 40}}, {{150, 40}}, 2, 2, 32},
           {"long causal window", {{150, 90}}, {{150, 90}}, 2, 2, 16, 0, true, 40},
           {"dropout", ragged, ragged, 3, 3, 8, 0, false, 0, 0, 0.3f},
           {"dropout with holes, grouped, causal", ragged, ragged, 4, 2, 8, 3, true, 0, 0, 0.2f, true},
           {"dropout at an offset", {{1, 3}}, {{6, 9}}, 2, 2, 8, 0, true, 0, 5, 0.4f},
           // Later blocks of queries begin to see at keys 23 and 87: within a Philox block.
           {"dropout in a long window", {{150}}, {{150}}, 2, 2, 8, 0, true, 42, 0, 0.3f}})
    add_attention_case(table, c, rounded);
  // Equal scores and unit vectors as values make y the dropped weights themselves: the masks must be equal.
  for (const bool holes : {false, true}) {
    const Lengths lengths{{37, 21}};
    const auto unit = [](std::int64_t at, RandomStream&) {  // row r of a sequence is unit vector r
      const std::int64_t row = at / 40, local = row < 37 ? row : row - 37;
      return at % 40 == local ? 1.0 : 0.0;
    };
    table.add(std::string("attention mask") + (holes ? " with holes" : ""),
              {integers(lengths.offsets()), integers(lengths.positions(holes)), integers(58, below(50)),
               matrix(58, 40, 0, constant(0)), matrix(58, 40, 0, unit),
               with_same_zeros(out_matrix(58, 40, 0, {.relative = 16})),
               as_wide(out_matrix(58, 1, 0, {.relative = 8}))},
              [=](const auto& b, auto& a) {
                AttentionOptions options;
                options.query_segments = options.key_segments = lengths.view(a.integers(0), a.integers(1));
                options.head_size = 40;
                options.dropout = {0.3f, {5, 6}, 3, a.integers(2).data(), a.integers(1).data()};
                b.attention(a.matrix(3), a.matrix(3), a.matrix(4), options, a.matrix(5), a.wide_matrix(6));
              });
  }
}

template <class B>
void add_sequence_cases(KernelTable<B>& table) {
  struct Rope {
    std::int64_t rows, heads, half, gap;
  };
  for (const auto& [rows, heads, half, gap] :
       std::vector<Rope>{{0, 1, 1, 0}, {1, 1, 1, 0}, {7, 3, 5, 2}, {33, 2, 32, 0}, {200, 4, 16, 1}})
    for (const bool inverse : {false, true})
      // The reduced angle is off by at most pi u, sine and cosine by a little more.
      table.add(
          "rope" + MatrixShape{rows, heads * half * 2, gap}.name() + (inverse ? " inverse" : ""),
          {matrix(rows, heads * half * 2, gap, uniform(-1, 1)), integers(rows, below(100000)),
           wide_vector(half, uniform(1e-4, 1)), out_matrix(rows, heads * half * 2, gap, {.absolute = 16})},
          [inverse, heads = heads](const auto& b, auto& a) {
            b.rope(a.matrix(0), a.integers(1), a.wide(2), heads, inverse, a.matrix(3));
          });
  table.add(
      "rope in place",
      {updated(out_matrix(9, 2 * 12, 1, {.absolute = 16})), integers(9, below(500)),
       wide_vector(6, uniform(1e-4, 1))},
      [](const auto& b, auto& a) { b.rope(a.matrix(0), a.integers(1), a.wide(2), 2, false, a.matrix(0)); });
  table.add(
      "rope of sequences that share positions",
      {matrix(70, 3 * 20, 1, uniform(-1, 1)), integers(70, below(31)), wide_vector(10, uniform(1e-4, 1)),
       out_matrix(70, 3 * 20, 0, {.absolute = 16})},
      [](const auto& b, auto& a) { b.rope(a.matrix(0), a.integers(1), a.wide(2), 3, true, a.matrix(3)); });
  for (const auto& lengths : std::vector<Lengths>{{}, {{1}}, {{0, 3, 0}}, {{5, 0, 1, 70, 17}}})
    for (const auto& [cols, gap] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 0}, {1, 0}, {67, 3}}) {
      const std::string name =
          " of " + std::to_string(lengths.count()) + " sequences, " + std::to_string(cols);
      const std::int64_t tokens = lengths.tokens(), count = lengths.count();
      table.add("mean_rows" + name,
                {integers(lengths.offsets()), integers(lengths.positions(false)),
                 matrix(tokens, cols, gap, uniform(-1, 1)), out_matrix(count, cols, gap, {.sums = 72})},
                [=](const auto& b, auto& a) {
                  b.mean_rows(a.matrix(2), lengths.view(a.integers(0), a.integers(1)), a.matrix(3));
                });
      table.add("mean_rows_backward" + name,
                {integers(lengths.offsets()), integers(lengths.positions(false)),
                 matrix(count, cols, gap, uniform(-1, 1)), out_matrix(tokens, cols, gap, {.relative = 1})},
                [=](const auto& b, auto& a) {
                  b.mean_rows_backward(a.matrix(2), lengths.view(a.integers(0), a.integers(1)), a.matrix(3));
                });
    }
}

}  // namespace attune::testing
