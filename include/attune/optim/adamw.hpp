#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <attune/optim/optimizer.hpp>

namespace attune {

/// Options of AdamW; the defaults are those of torch.optim.AdamW.
struct AdamWOptions {
  double lr = 1e-3;                            ///< learning rate, >= 0
  std::array<double, 2> betas = {0.9, 0.999};  ///< decay of the two moments, each in [0, 1)
  double eps = 1e-8;                           ///< >= 0
  double weight_decay = 1e-2;                  ///< >= 0
  std::optional<double> max_grad_norm{};       ///< every step clips the gradients' global norm to this, > 0
  /// What a gradient that is not finite does: throw (false), or leave weights and moments as they were and
  /// count the step (true; then step() does not wait for the device).
  bool skip_non_finite = false;
};

/// Adam with decoupled weight decay. Loshchilov and Hutter 2017, arXiv:1711.05101; computed as in
/// torch.optim.AdamW, with a step count for each parameter.
///
///     attune::AdamW optimizer(model.parameters(), {.lr = 2e-5});
template <class B>
class AdamW : public Optimizer<B> {
 public:
  /// Throws ConfigError for an option out of range, and when nothing trains or a parameter is float64.
  explicit AdamW(ParameterList<B> parameters, const AdamWOptions& options = {});
  explicit AdamW(const std::vector<ParameterGroup<B>>& groups, const AdamWOptions& options = {});

  /// Updates every parameter that has a gradient, and counts the step. Throws TrainingError, naming the
  /// parameter, when a gradient is not finite (see skip_non_finite), and GraphError when a parameter is no
  /// longer this optimizer's.
  void step();

 private:
  // Checked before the parameters are moved.
  static typename Optimizer<B>::Settings checked(const AdamWOptions& options) {
    Optimizer<B>::check_range("AdamW: eps", options.eps, 0.0, std::numeric_limits<double>::infinity());
    return {options.lr, options.weight_decay, options.betas, options.max_grad_norm, options.skip_non_finite};
  }

  double eps_;
};

template <class B>
AdamW<B>::AdamW(ParameterList<B> parameters, const AdamWOptions& options)
    : AdamW(std::vector<ParameterGroup<B>>{{.parameters = std::move(parameters)}}, options) {}

template <class B>
AdamW<B>::AdamW(const std::vector<ParameterGroup<B>>& groups, const AdamWOptions& options)
    : Optimizer<B>("AdamW", {"exp_avg", "exp_avg_sq"}, groups, checked(options)), eps_(options.eps) {}

template <class B>
void AdamW<B>::step() {
  this->run_step(
      [&](const OptimizerGroup& group, std::int64_t steps) {
        AdamWGroup row{};
        row.lr = static_cast<float>(group.lr);
        row.beta1 = static_cast<float>(group.betas[0]);
        row.beta2 = static_cast<float>(group.betas[1]);
        row.eps = static_cast<float>(eps_);
        row.weight_decay = static_cast<float>(group.weight_decay);
        // From the rounded betas, which the moments decay by: so the first step is exactly the gradient's.
        const auto after = static_cast<double>(steps + 1);
        row.bias_correction1 = static_cast<float>(1.0 - std::pow(double{row.beta1}, after));
        row.bias_correction2 = static_cast<float>(1.0 - std::pow(double{row.beta2}, after));
        return row;
      },
      [](const B& device, const ArenaView& arena, std::span<const ParameterChunk> chunks,
         const std::vector<AdamWGroup>& rows,
         const float* scale) { device.adamw(arena, chunks, std::span<const AdamWGroup>(rows), scale); });
}

}  // namespace attune
