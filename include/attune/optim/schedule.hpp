#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/optim/optimizer_groups.hpp>

namespace attune {

/// What a checkpoint keeps of a schedule.
struct LrScheduleState {
  std::string schedule;  ///< "linear", "cosine", ...
  std::int64_t steps = 0;
  std::vector<double> initial_lrs;  ///< of each group

  friend bool operator==(const LrScheduleState&, const LrScheduleState&) = default;
};

/// Sets the learning rate of an optimizer's groups before every step, as torch's LambdaLR: the group's
/// initial lr times factor(steps done). Making one sets the rate of the first step.
///
/// The functions below make those of Hugging Face's `get_scheduler`, under the same names; `optimizer` is any
/// optimizer. They throw ConfigError for an option out of range.
class LrSchedule {
 public:
  /// A schedule of one's own; `factor(step)` for step = 0, 1, ...
  LrSchedule(OptimizerGroups optimizer, std::string name, std::function<double(std::int64_t)> factor);

  /// To be called after each optimizer.step().
  void step();
  /// The learning rate of the coming step, of a group.
  double last_lr(std::size_t group = 0) const { return groups_[group].lr; }
  std::int64_t steps() const { return steps_; }

  LrScheduleState state() const;
  /// Throws ConfigError when the state is of another kind of schedule or number of groups.
  void load_state(const LrScheduleState& state);
  /// Throws the ConfigError of load_state().
  void check_state(const LrScheduleState& state) const;

 private:
  void apply();

  OptimizerGroups groups_;
  std::string name_;
  std::function<double(std::int64_t)> factor_;
  std::int64_t steps_ = 0;
};

/// lr stays as it is.
LrSchedule constant_schedule(OptimizerGroups optimizer);

struct ConstantScheduleOptions {
  std::int64_t warmup_steps = 0;  ///< lr rises from 0 in so many steps, >= 0
};
LrSchedule constant_schedule_with_warmup(OptimizerGroups optimizer,
                                         const ConstantScheduleOptions& options = {});

struct LinearScheduleOptions {
  std::int64_t warmup_steps = 0;  ///< lr rises from 0 in so many steps, >= 0
  std::int64_t total_steps = 0;   ///< of the whole training, >= 1; lr is 0 from then on
};
/// Falls in a straight line to 0.
LrSchedule linear_schedule_with_warmup(OptimizerGroups optimizer, const LinearScheduleOptions& options);

struct CosineScheduleOptions {
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 0;
  double num_cycles = 0.5;  ///< waves; a half falls once from lr to 0
};
LrSchedule cosine_schedule_with_warmup(OptimizerGroups optimizer, const CosineScheduleOptions& options);

struct CosineRestartsScheduleOptions {
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 0;
  std::int64_t num_cycles = 1;  ///< falls from lr to 0, >= 1
};
LrSchedule cosine_with_hard_restarts_schedule_with_warmup(OptimizerGroups optimizer,
                                                          const CosineRestartsScheduleOptions& options);

struct PolynomialScheduleOptions {
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 0;
  double lr_end = 1e-7;  ///< from total_steps on, below the optimizer's lr
  double power = 1.0;
};
LrSchedule polynomial_decay_schedule_with_warmup(OptimizerGroups optimizer,
                                                 const PolynomialScheduleOptions& options);

struct InverseSqrtScheduleOptions {
  std::int64_t warmup_steps = 0;
  std::int64_t timescale = 0;  ///< 0: warmup_steps, or 10000 without a warm-up
};
LrSchedule inverse_sqrt_schedule(OptimizerGroups optimizer, const InverseSqrtScheduleOptions& options = {});

/// How lr rises in a warm-up and falls in a decay.
enum class Ramp { linear, cosine, one_minus_sqrt };

struct WarmupStableDecayScheduleOptions {
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps = 0;
  std::int64_t total_steps = 0;    ///< of the whole training; not needed when stable_steps is given
  std::int64_t stable_steps = -1;  ///< -1: total_steps - warmup_steps - decay_steps
  Ramp warmup_type = Ramp::linear;
  Ramp decay_type = Ramp::cosine;
  double min_lr_ratio = 0.0;  ///< in [0, 1]: where lr begins and ends
  double num_cycles = 0.5;    ///< of a cosine decay
};
LrSchedule wsd_schedule(OptimizerGroups optimizer, const WarmupStableDecayScheduleOptions& options);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/optim/schedule.inl.hpp>
#endif
