#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "suites/kernel_cases_sequence.hpp"

// Pairs of forward and backward kernels in double: the backward must give what central differences of the
// forward give.

namespace attune::testing {

using Vector = std::vector<double>;

struct GradientCase {
  std::string name;
  std::vector<Vector> inputs;  ///< those that have a gradient
  std::function<Vector(const std::vector<Vector>& inputs)> forward;
  /// (inputs, dy) -> the gradient of each input
  std::function<std::vector<Vector>(const std::vector<Vector>& inputs, const Vector& dy)> backward;
};

inline Vector random_vector(std::size_t n, double low, double high, std::uint64_t stream) {
  RandomStream random(11, stream);
  Vector values(n);
  for (double& value : values) value = low + (high - low) * double(random.uniform());
  return values;
}

/// eps 1e-6, atol 1e-5, rtol 1e-3: torch.autograd.gradcheck's numbers.
inline void check_gradient(const GradientCase& gradient_case) {
  CAPTURE(gradient_case.name);
  constexpr double eps = 1e-6, absolute = 1e-5, relative = 1e-3;
  std::vector<Vector> inputs = gradient_case.inputs;
  const Vector dy = random_vector(gradient_case.forward(inputs).size(), -1, 1, 99);
  const std::vector<Vector> gradients = gradient_case.backward(inputs, dy);
  REQUIRE(gradients.size() == inputs.size());
  const auto loss = [&] {
    const Vector y = gradient_case.forward(inputs);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    REQUIRE(gradients[i].size() == inputs[i].size());
    for (std::size_t at = 0; at < inputs[i].size(); ++at) {
      const double value = inputs[i][at];
      inputs[i][at] = value + eps;
      const double above = loss();
      inputs[i][at] = value - eps;
      const double below = loss();
      inputs[i][at] = value;
      const double numeric = (above - below) / (2.0 * eps);
      CAPTURE(i);
      CAPTURE(at);
      CAPTURE(numeric);
      CHECK(std::abs(gradients[i][at] - numeric) <= absolute + relative * std::abs(numeric));
    }
  }
}

inline MatrixView<const double> as_matrix(const Vector& values, std::int64_t cols) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {values.data(), cols == 0 ? 0 : n / cols, cols, cols};
}
inline MatrixView<double> as_matrix(Vector& values, std::int64_t cols) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {values.data(), cols == 0 ? 0 : n / cols, cols, cols};
}

/// The pairs of a backend that computes in double on the host.
template <class B>
std::vector<GradientCase> gradient_cases(const B& device) {
  std::vector<GradientCase> cases;
  using Inputs = std::vector<Vector>;

  for (const auto& [name, op, low, high] :
       std::vector<std::tuple<std::string, Unary, double, double>>{{"identity", Unary::identity, -2, 2},
                                                                   {"negate", Unary::negate, -2, 2},
                                                                   {"exp", Unary::exp, -2, 2},
                                                                   {"log", Unary::log, 0.1, 3},
                                                                   {"sqrt", Unary::sqrt, 0.1, 3},
                                                                   {"tanh", Unary::tanh, -3, 3},
                                                                   {"sigmoid", Unary::sigmoid, -5, 5},
                                                                   {"relu", Unary::relu, -2, 2},
                                                                   {"gelu", Unary::gelu, -4, 4},
                                                                   {"gelu_tanh", Unary::gelu_tanh, -4, 4},
                                                                   {"silu", Unary::silu, -6, 6}}) {
    const auto forward = [=, op = op](const Inputs& in) {
      Vector y(in[0].size());
      device.unary(op, in[0], y);
      return y;
    };
    cases.push_back(
        {name, {random_vector(12, low, high, 1)}, forward, [=, op = op](const Inputs& in, const Vector& dy) {
           Vector dx(dy.size());
           const Vector saved = saves(op) == Saves::output ? forward(in) : in[0];
           device.unary_backward(op, saved, dy, dx);
           return Inputs{dx};
         }});
    // x [2, 3], w [4, 3], bias [4] through the fused layer; dx = dpre w, dw = dpre^T x.
    const auto layer = [=, op = op](const Inputs& in, Vector& pre) {
      Vector y(8);
      pre.resize(8);
      device.linear(as_matrix(in[0], 3), as_matrix(in[1], 3), in[2], op, as_matrix(pre, 4), as_matrix(y, 4));
      return y;
    };
    const double positive = low > 0 ? 0.2 : -1.0;  // log and sqrt stay where they are defined
    cases.push_back(
        {"linear " + name,
         {random_vector(6, positive, 1, 2), random_vector(12, positive, 1, 3),
          random_vector(4, positive, 1, 4)},
         [=](const Inputs& in) {
           Vector pre;
           return layer(in, pre);
         },
         [=, op = op](const Inputs& in, const Vector& dy) {
           Vector pre, dpre(8), dx(6), dw(12), db(4);
           const Vector y = layer(in, pre);
           device.linear_activation_backward(op, as_matrix(saves(op) == Saves::output ? y : pre, 4),
                                             as_matrix(dy, 4), as_matrix(dpre, 4), db, false);
           device.matmul(as_matrix(dpre, 4), as_matrix(in[1], 3), as_matrix(dx, 3), {});
           device.matmul(as_matrix(dpre, 4), as_matrix(in[0], 3), as_matrix(dw, 3), {.transpose_a = true});
           return Inputs{dx, dw, db};
         }});
  }

  cases.push_back({"linear without activation",
                   {random_vector(6, -1, 1, 5), random_vector(12, -1, 1, 6), random_vector(4, -1, 1, 7)},
                   [=](const Inputs& in) {
                     Vector y(8);
                     device.linear(as_matrix(in[0], 3), as_matrix(in[1], 3), in[2], Unary::identity,
                                   MatrixView<double>{}, as_matrix(y, 4));
                     return y;
                   },
                   [=](const Inputs& in, const Vector& dy) {
                     Vector dx(6), dw(12), db(4, 100.0);
                     device.matmul(as_matrix(dy, 4), as_matrix(in[1], 3), as_matrix(dx, 3), {});
                     device.matmul(as_matrix(dy, 4), as_matrix(in[0], 3), as_matrix(dw, 3),
                                   {.transpose_a = true});
                     device.bias_backward(as_matrix(dy, 4), db, true);
                     for (double& value : db) value -= 100.0;
                     return Inputs{dx, dw, db};
                   }});

  cases.push_back({"swiglu",
                   {random_vector(12, -3, 3, 8), random_vector(12, -2, 2, 9)},
                   [=](const Inputs& in) {
                     Vector y(12);
                     device.swiglu(as_matrix(in[0], 4), as_matrix(in[1], 4), as_matrix(y, 4));
                     return y;
                   },
                   [=](const Inputs& in, const Vector& dy) {
                     Vector dgate(12), dup(12);
                     device.swiglu_backward(as_matrix(in[0], 4), as_matrix(in[1], 4), as_matrix(dy, 4),
                                            as_matrix(dgate, 4), as_matrix(dup, 4));
                     return Inputs{dgate, dup};
                   }});

  const auto rows = std::make_shared<std::vector<std::int32_t>>(std::vector<std::int32_t>{2, 0, 1});
  const DropoutView dropout{0.3f, {1, 2}, 5, rows->data(), rows->data()};
  cases.push_back({"dropout",
                   {random_vector(21, -2, 2, 10)},
                   [=](const Inputs& in) {
                     Vector y(21);
                     device.dropout(as_matrix(in[0], 7), dropout, as_matrix(y, 7));
                     return y;
                   },
                   [=](const Inputs&, const Vector& dy) {
                     (void)rows;  // the view reads it
                     Vector dx(21);
                     device.dropout(as_matrix(dy, 7), dropout, as_matrix(dx, 7));
                     return Inputs{dx};
                   }});

  cases.push_back({"gather_rows with scatter_add_rows",
                   {random_vector(20, -2, 2, 11)},
                   [=](const Inputs& in) {
                     Vector y(12);
                     device.gather_rows(as_matrix(in[0], 4), *rows, as_matrix(y, 4), false);
                     return y;
                   },
                   [=](const Inputs&, const Vector& dy) {
                     Vector dx(20);
                     device.scatter_add_rows(as_matrix(dy, 4), *rows, as_matrix(dx, 4), false);
                     return Inputs{dx};
                   }});

  // x, residual [3, 7], weight, bias [7]: s = residual + dropout(x).
  struct NormResult {
    Vector s, y, mean, rstd;
  };
  const auto layer_norm = [=](const Inputs& in) {
    NormResult result{Vector(21), Vector(21), Vector(3), Vector(3)};
    device.layer_norm(as_matrix(in[0], 7), as_matrix(in[1], 7), dropout, in[2], in[3], 1e-5f,
                      as_matrix(result.s, 7), as_matrix(result.y, 7), result.mean, result.rstd);
    return result;
  };
  cases.push_back({"layer_norm",
                   {random_vector(21, -2, 2, 12), random_vector(21, -2, 2, 13), random_vector(7, 0.5, 2, 14),
                    random_vector(7, -1, 1, 15)},
                   [=](const Inputs& in) { return layer_norm(in).y; },
                   [=](const Inputs& in, const Vector& dy) {
                     const NormResult saved = layer_norm(in);
                     Vector ds(21), dx(21), dw(7), db(7);
                     device.layer_norm_backward(as_matrix(dy, 7), as_matrix(saved.s, 7), in[2], saved.mean,
                                                saved.rstd, as_matrix(ds, 7), dw, db, false);
                     device.dropout(as_matrix(ds, 7), dropout, as_matrix(dx, 7));
                     return Inputs{dx, ds, dw, db};
                   }});
  const auto rms_norm = [=](const Inputs& in) {
    NormResult result{Vector(21), Vector(21), {}, Vector(3)};
    device.rms_norm(as_matrix(in[0], 7), as_matrix(in[1], 7), in[2], 1e-5f, as_matrix(result.s, 7),
                    as_matrix(result.y, 7), result.rstd);
    return result;
  };
  cases.push_back({"rms_norm",
                   {random_vector(21, -2, 2, 16), random_vector(21, -2, 2, 17), random_vector(7, 0.5, 2, 18)},
                   [=](const Inputs& in) { return rms_norm(in).y; },
                   [=](const Inputs& in, const Vector& dy) {
                     const NormResult saved = rms_norm(in);
                     Vector ds(21), dw(7);
                     device.rms_norm_backward(as_matrix(dy, 7), as_matrix(saved.s, 7), in[2], saved.rstd,
                                              as_matrix(ds, 7), dw, false);
                     return Inputs{ds, ds, dw};
                   }});
  for (const float clamp : {1e-12f, 1.5f}) {  // rows of 5 numbers in [-1, 1] have norms on both sides of 1.5
    const auto normalize = [=](const Inputs& in, Vector& norms) {
      Vector y(20);
      norms.resize(4);
      device.l2_normalize(as_matrix(in[0], 5), clamp, as_matrix(y, 5), norms);
      return y;
    };
    cases.push_back({"l2_normalize " + std::to_string(clamp),
                     {random_vector(20, -1, 1, 19)},
                     [=](const Inputs& in) {
                       Vector norms;
                       return normalize(in, norms);
                     },
                     [=](const Inputs& in, const Vector& dy) {
                       Vector norms, dx(20);
                       const Vector y = normalize(in, norms);
                       device.l2_normalize_backward(as_matrix(dy, 5), as_matrix(y, 5), norms, clamp,
                                                    as_matrix(dx, 5));
                       return Inputs{dx};
                     }});
  }
  const auto softmax = [=](const Inputs& in) {
    Vector y(15);
    device.softmax(as_matrix(in[0], 5), as_matrix(y, 5));
    return y;
  };
  cases.push_back(
      {"softmax", {random_vector(15, -3, 3, 20)}, softmax, [=](const Inputs& in, const Vector& dy) {
         Vector dx(15);
         const Vector y = softmax(in);
         device.softmax_backward(as_matrix(y, 5), as_matrix(dy, 5), as_matrix(dx, 5));
         return Inputs{dx};
       }});

  const Lengths lengths{{3, 0, 1, 4}};
  const auto offsets = std::make_shared<std::vector<std::int32_t>>(lengths.offsets());
  const auto positions = std::make_shared<std::vector<std::int32_t>>(lengths.positions(true));
  const SegmentsView segments = lengths.view(*offsets, *positions);
  cases.push_back({"mean_rows",
                   {random_vector(24, -1, 1, 21)},
                   [=](const Inputs& in) {
                     Vector y(12);
                     device.mean_rows(as_matrix(in[0], 3), segments, as_matrix(y, 3));
                     return y;
                   },
                   [=](const Inputs&, const Vector& dy) {
                     Vector dx(24);
                     device.mean_rows_backward(as_matrix(dy, 3), segments, as_matrix(dx, 3));
                     return Inputs{dx};
                   }});
  const Vector frequencies{1.0, 0.1, 0.01};
  cases.push_back({"rope",
                   {random_vector(96, -1, 1, 22)},
                   [=](const Inputs& in) {
                     Vector y(96);
                     device.rope(as_matrix(in[0], 12), *positions, frequencies, 2, false, as_matrix(y, 12));
                     return y;
                   },
                   [=](const Inputs&, const Vector& dy) {
                     Vector dx(96);
                     device.rope(as_matrix(dy, 12), *positions, frequencies, 2, true, as_matrix(dx, 12));
                     return Inputs{dx};
                   }});

  for (const bool causal : {false, true})
    for (const float probability : {0.0f, 0.25f}) {
      AttentionOptions options;
      options.query_segments = options.key_segments = segments;
      options.heads = 4;
      options.kv_heads = 2;
      options.head_size = 3;
      options.scale = 0.7f;
      options.causal = causal;
      options.window = causal ? 2 : 0;
      options.dropout = {probability, {1, 2}, 5, positions->data(), positions->data()};
      const auto attention = [=](const Inputs& in, Vector& lse) {
        Vector y(96);
        lse.resize(32);
        device.attention(as_matrix(in[0], 12), as_matrix(in[1], 6), as_matrix(in[2], 6), options,
                         as_matrix(y, 12), as_matrix(lse, 4));
        return y;
      };
      cases.push_back(
          {std::string("attention") + (causal ? " causal window" : "") + (probability > 0 ? " dropout" : ""),
           {random_vector(96, -1, 1, 23), random_vector(48, -1, 1, 24), random_vector(48, -1, 1, 25)},
           [=](const Inputs& in) {
             (void)offsets;
             Vector lse;
             return attention(in, lse);
           },
           [=](const Inputs& in, const Vector& dy) {
             Vector lse, dq(96), dk(48), dv(48);
             const Vector y = attention(in, lse);
             device.attention_backward(as_matrix(dy, 12), as_matrix(in[0], 12), as_matrix(in[1], 6),
                                       as_matrix(in[2], 6), as_matrix(y, 12), as_matrix(lse, 4), options,
                                       as_matrix(dq, 12), as_matrix(dk, 6), as_matrix(dv, 6));
             return Inputs{dq, dk, dv};
           }});
    }

  for (const float smoothing : {0.0f, 0.2f}) {
    const std::vector<std::int32_t> labels{2, -100, 0};
    const Vector weights{0.5, 1.5, 1.0, 2.0, 0.25};
    const auto cross_entropy = [=](const Inputs& in, Vector& lse) {
      Vector losses(3);
      lse.resize(3);
      CrossEntropyOptions<double> options{-100, smoothing, weights};
      device.cross_entropy(as_matrix(in[0], 5), labels, options, losses, lse);
      return losses;
    };
    // The backward weighs all rows alike: the rows' sum is what it differentiates.
    cases.push_back({"cross_entropy " + std::to_string(smoothing),
                     {random_vector(15, -2, 2, 26)},
                     [=](const Inputs& in) {
                       Vector lse;
                       const Vector losses = cross_entropy(in, lse);
                       return Vector{(losses[0] + losses[1] + losses[2]) / 3.0};
                     },
                     [=](const Inputs& in, const Vector& dy) {
                       Vector lse, dx(15);
                       cross_entropy(in, lse);
                       const CrossEntropyOptions<double> options{-100, smoothing, weights};
                       device.cross_entropy_backward(as_matrix(in[0], 5), labels, options, lse, 1.0 / 3.0,
                                                     dy.data(), as_matrix(dx, 5));
                       return Inputs{dx};
                     }});
  }
  const Vector targets = random_vector(9, 0, 1, 27);
  const auto mean_of = [](const Vector& losses) {
    double sum = 0.0;
    for (const double loss : losses) sum += loss;
    return Vector{sum / 9.0};
  };
  cases.push_back({"mse",
                   {random_vector(9, -2, 2, 28)},
                   [=](const Inputs& in) {
                     Vector losses(9);
                     device.mse(in[0], targets, losses);
                     return mean_of(losses);
                   },
                   [=](const Inputs& in, const Vector& dy) {
                     Vector dx(9);
                     device.mse_backward(in[0], targets, 1.0 / 9.0, dy.data(), dx);
                     return Inputs{dx};
                   }});
  cases.push_back({"bce_with_logits",
                   {random_vector(9, -4, 4, 29)},
                   [=](const Inputs& in) {
                     Vector losses(9);
                     device.bce_with_logits(in[0], targets, losses);
                     return mean_of(losses);
                   },
                   [=](const Inputs& in, const Vector& dy) {
                     Vector dx(9);
                     device.bce_with_logits_backward(in[0], targets, 1.0 / 9.0, dy.data(), dx);
                     return Inputs{dx};
                   }});
  return cases;
}

}  // namespace attune::testing
