#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include <attune/core/log.hpp>
#include <attune/train/weights.hpp>

namespace attune {

struct EmaOptions {
  double decay = 0.999;  ///< in [0, 1): average = decay average + (1 - decay) weights
  bool warmup =
      false;  ///< decays by min(decay, (1 + n) / (10 + n)) at update n, so that the start fades soon
};

/// An exponential moving average of the trainable weights, in float. Polyak and Juditsky 1992.
///
///     optimizer.step();
///     ema.update();
///     ...
///     { attune::EmaGuard averaged(ema); evaluate(model); }
template <class B>
class Ema {
 public:
  /// Begins with the weights as they are. Throws ConfigError for a decay out of range and GraphError for a
  /// float64 parameter.
  explicit Ema(const ParameterList<B>& parameters, const EmaOptions& options = {}) : options_(options) {
    if (!(options.decay >= 0.0 && options.decay < 1.0))
      throw ConfigError("Ema: decay must lie in [0, 1), found " + std::to_string(options.decay));
    std::int64_t largest = 0;
    for (const auto& parameter : parameters) {
      if (!parameter.trainable()) continue;
      parameters_.push_back(parameter);
      averages_.push_back(parameter.master().clone());
      largest = std::max(largest, parameter.size());
    }
    if (parameters_.empty()) throw ConfigError("Ema: none of the parameters trains");
    scratch_ = Detached<float, B>(averages_[0].device(), {largest});
  }

  /// Takes the weights in, after a step. Throws TrainingError while the averages are swapped in.
  void update() {
    if (swapped_) throw TrainingError("Ema: update() while the averages stand in the model; swap() first");
    const auto n = static_cast<double>(updates_);
    const double decay = options_.warmup ? std::min(options_.decay, (1.0 + n) / (10.0 + n)) : options_.decay;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      averages_[i].device().axpby(static_cast<float>(1.0 - decay),
                                  std::span<const float>(parameters_[i].master().span()),
                                  static_cast<float>(decay), averages_[i].span());
    ++updates_;
  }

  /// Exchanges the model's weights and the averages; a second call exchanges them back, bit for bit.
  void swap() {
    for (const auto& parameter : parameters_)
      parameter.master();  // one that was frozen throws before any is moved
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const Detached<float, B> master = parameters_[i].master();
      const Detached<float, B> held = scratch_.slice(0, 0, master.size());
      detail::copy_floats(master, held);
      detail::copy_floats(averages_[i], master);
      detail::copy_floats(held, averages_[i]);
      detail::round_master(parameters_[i]);
    }
    swapped_ = !swapped_;
  }
  bool swapped() const { return swapped_; }
  std::int64_t updates() const { return updates_; }

  /// The parameters that are averaged and their averages, in one order; for checkpoints.
  const std::vector<NamedParameter<B>>& parameters() const { return parameters_; }
  const std::vector<Detached<float, B>>& averages() const { return averages_; }
  /// The count of a checkpoint, whose averages are written through averages(). Throws ConfigError when it is
  /// negative.
  void load_updates(std::int64_t updates) {
    if (updates < 0) throw ConfigError("Ema: there cannot have been " + std::to_string(updates) + " updates");
    updates_ = updates;
  }

 private:
  EmaOptions options_;
  std::vector<NamedParameter<B>> parameters_;
  std::vector<Detached<float, B>> averages_;
  Detached<float, B> scratch_;
  std::int64_t updates_ = 0;
  bool swapped_ = false;
};

/// While one lives, the model's weights are the averages.
template <class B>
class EmaGuard {
 public:
  explicit EmaGuard(Ema<B>& ema) : ema_(ema) { ema_.swap(); }
  ~EmaGuard() {
    try {
      ema_.swap();
    } catch (const std::exception& error) {
      log(LogLevel::warning, std::string("EmaGuard: the weights could not be put back: ") + error.what());
    }
  }
  EmaGuard(const EmaGuard&) = delete;
  EmaGuard& operator=(const EmaGuard&) = delete;

 private:
  Ema<B>& ema_;
};

}  // namespace attune
