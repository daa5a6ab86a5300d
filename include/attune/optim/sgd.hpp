#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/optim/optimizer.hpp>

namespace attune {

/// Options of SGD; the defaults are those of torch.optim.SGD.
struct SgdOptions {
  double lr = 1e-3;                       ///< learning rate, >= 0
  double momentum = 0.0;                  ///< >= 0; 0 keeps no momentum
  double dampening = 0.0;                 ///< of what enters the momentum after the first step
  double weight_decay = 0.0;              ///< added to the gradient times the weight, >= 0
  bool nesterov = false;                  ///< needs a momentum and no dampening
  std::optional<double> max_grad_norm{};  ///< as in AdamWOptions
  bool skip_non_finite = false;           ///< as in AdamWOptions
};

/// Stochastic gradient descent with momentum (Polyak 1964) or Nesterov's, as torch.optim.SGD computes it.
template <class B>
class SGD : public Optimizer<B> {
 public:
  /// Throws ConfigError for an option out of range, and when nothing trains or a parameter is float64.
  explicit SGD(ParameterList<B> parameters, const SgdOptions& options = {})
      : SGD(std::vector<ParameterGroup<B>>{{.parameters = std::move(parameters)}}, options) {}
  explicit SGD(const std::vector<ParameterGroup<B>>& groups, const SgdOptions& options = {})
      : Optimizer<B>("SGD",
                     options.momentum == 0.0 ? std::vector<std::string>{}
                                             : std::vector<std::string>{"momentum_buffer"},
                     groups, checked(options)),
        options_(options) {}

  /// Updates every parameter that has a gradient, and counts the step. Throws as AdamW::step().
  void step() {
    this->run_step(
        [&](const OptimizerGroup& group, std::int64_t steps) {
          SgdGroup row{};
          row.lr = static_cast<float>(group.lr);
          row.momentum = static_cast<float>(options_.momentum);
          row.dampening = static_cast<float>(options_.dampening);
          row.weight_decay = static_cast<float>(group.weight_decay);
          row.nesterov = options_.nesterov;
          row.first = steps == 0;
          return row;
        },
        [](const B& device, const ArenaView& arena, std::span<const ParameterChunk> chunks,
           const std::vector<SgdGroup>& rows,
           const float* scale) { device.sgd(arena, chunks, std::span<const SgdGroup>(rows), scale); });
  }

 private:
  // Checked before the parameters are moved.
  static typename Optimizer<B>::Settings checked(const SgdOptions& options) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Optimizer<B>::check_range("SGD: momentum", options.momentum, 0.0, infinity);
    Optimizer<B>::check_range("SGD: dampening", options.dampening, -std::numeric_limits<double>::max(),
                              infinity);
    if (options.nesterov && (options.momentum == 0.0 || options.dampening != 0.0))
      throw ConfigError("SGD: nesterov needs a momentum above 0 and a dampening of 0");
    return {options.lr, options.weight_decay, {}, options.max_grad_norm, options.skip_non_finite};
  }

  SgdOptions options_;
};

}  // namespace attune
