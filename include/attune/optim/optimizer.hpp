#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/optim/late_number.hpp>
#include <attune/optim/optimizer_groups.hpp>
#include <attune/optim/parameter_arena.hpp>

namespace attune {

/// An array of an optimizer's state, for checkpoints: "<parameter>.exp_avg" and the like.
template <class B>
struct OptimizerArray {
  std::string name;
  Detached<float, B> values;  ///< shares the optimizer's memory
};

/// What AdamW and SGD have in common. It owns the masters, gradients and moments of its trainable parameters:
/// when an optimizer is made it moves them into its arena, and older optimizers of the same parameters can no
/// longer step. Make it after the model stands on its device and what trains is decided.
template <class B>
class Optimizer {
 public:
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Forgets all gradients: the next backward overwrites them. Parameters that it does not reach have no
  /// gradient then, and step() passes them over, without weight decay too, as PyTorch does.
  void zero_grad();

  /// Returns the 2-norm of all gradients and scales them, in the next step(), to a norm of at most
  /// `max_norm`, as torch.nn.utils.clip_grad_norm_ does; infinity only measures. The gradients themselves are
  /// not rewritten: the factor is applied in the same pass that updates the weights. It takes the place of
  /// the option max_grad_norm for that step. Throws ConfigError unless max_norm > 0.
  float clip_grad_norm(double max_norm);

  /// The groups' learning rates and weight decays, read and changed by schedules.
  const OptimizerGroups& groups() const { return groups_; }
  operator OptimizerGroups() const { return groups_; }  // NOLINT: what schedules are made from
  double lr(std::size_t group = 0) const { return groups_[group].lr; }
  /// Sets the learning rate of the next steps, of every group.
  void set_lr(double lr);

  /// Steps that changed nothing because a gradient was not finite.
  std::int64_t skipped_steps();

  /// Steps and samples of the models that are trained (one unless groups of several models are given).
  const std::vector<std::shared_ptr<RunState>>& runs() const { return runs_; }

  /// What a checkpoint needs beside arrays(). Throws ConfigError when two parameters have one name.
  OptimizerState state();

  /// Takes over a state() of an optimizer of the same kind, groups and parameters, else throws ConfigError
  /// and changes nothing. The arrays are written through arrays().
  void load_state(const OptimizerState& state);
  /// Throws the ConfigError of load_state().
  void check_state(const OptimizerState& state) const;

  /// The moments under the names that PyTorch gives them, in the order of the parameters. What is written
  /// into them counts from the next step on; ask again to write after that.
  std::vector<OptimizerArray<B>> arrays() const;

 protected:
  struct Settings {
    double lr;
    double weight_decay;
    std::array<double, 2> betas;
    std::optional<double> max_grad_norm;
    bool skip_non_finite;
  };

  Optimizer(std::string name, std::vector<std::string> moment_names,
            const std::vector<ParameterGroup<B>>& groups, const Settings& settings);
  Optimizer(Optimizer&&) = default;
  Optimizer& operator=(Optimizer&&) = default;
  ~Optimizer() = default;

  /// One step. `make_row(group, steps before this one)` gives the kernel's numbers of a group;
  /// `kernel(device, arena, chunks, rows, scale)` runs it.
  template <class MakeRow, class Kernel>
  void run_step(const MakeRow& make_row, const Kernel& kernel) {
    arena_.check_owned();
    for (const OptimizerGroup& group : groups_) check_lr(group.lr);
    const std::vector<std::size_t> active = arena_.active();
    if (std::exchange(moments_shown_, false))
      for (auto& entry : arena_.entries()) entry.moment_rows.clear();
    for (const std::size_t index : active) arena_.find_moment_rows(arena_.entries()[index]);
    std::vector<ParameterChunk> chunks = active_chunks(active);
    if (!std::exchange(clip_requested_, false))
      measure(chunks, settings_.max_grad_norm.value_or(std::numeric_limits<double>::infinity()));
    if (!settings_.skip_non_finite && std::isnan(download(scale()))) refuse_non_finite(active);
    settle();

    std::vector<std::pair<std::int32_t, std::int64_t>> keys;  // (group, steps) of each row
    std::vector<decltype(make_row(groups_[0], std::int64_t{}))> rows;
    std::size_t chunk = 0;
    for (const std::size_t index : active) {
      auto& entry = arena_.entries()[index];
      const std::pair key{entry.group, entry.steps++};
      std::size_t row = 0;
      while (row < keys.size() && keys[row] != key) ++row;
      if (row == keys.size()) {
        keys.push_back(key);
        rows.push_back(make_row(groups_[static_cast<std::size_t>(key.first)], key.second));
      }
      for (std::size_t at = entry.first_chunk; at < entry.last_chunk; ++at)
        chunks[chunk++].group = static_cast<std::int32_t>(row);
    }
    kernel(arena_.device(), arena_.view(), std::span<const ParameterChunk>(chunks), rows,
           static_cast<const float*>(scale()));
    for (const std::size_t index : active) arena_.add_moment_rows(arena_.entries()[index]);
    arena_.mark_changed(active);
    for (const auto& run : runs_) {
      ++run->step;
      run->samples = 0;
    }
    if (settings_.skip_non_finite) {  // whether it was skipped is read when somebody needs to know
      unsettled_ = active;
      last_scale_.request(arena_.device(), scale());
      slot_ = 1 - slot_;
    }
  }

  static void check_range(const std::string& what, double value, double low, double below);

 private:
  static std::string number(double value);

  void check_lr(double lr) const { check_range(name_ + ": lr", lr, 0.0, infinity); }
  void check_max_norm(double max_norm) const {
    if (!(max_norm > 0.0))
      throw ConfigError(name_ + ": the maximal gradient norm must be above 0, found " + number(max_norm));
  }

  std::vector<OptimizerGroup> make_groups(const std::vector<ParameterGroup<B>>& groups) const;

  std::vector<ParameterChunk> active_chunks(const std::vector<std::size_t>& active) const;

  // On the device: a norm and a scale for this step, and those of the step before, which may still run.
  float* norm() const { return numbers_.data() + 2 * slot_; }
  float* scale() const { return norm() + 1; }
  float download(const float* number) const {
    float value;
    arena_.device().download(&value, number, sizeof(float));
    return value;
  }

  void measure(const std::vector<ParameterChunk>& chunks, double max_norm) const {
    arena_.device().grad_norm(arena_.view(), std::span<const ParameterChunk>(chunks), norm());
    arena_.device().clip_scale(norm(), static_cast<float>(max_norm), scale());
  }

  /// Takes the step counts back if the step before was skipped.
  void settle();

  [[noreturn]] void refuse_non_finite(const std::vector<std::size_t>& active) const {
    for (const std::size_t index : active) {
      measure(active_chunks({index}), infinity);
      if (!std::isfinite(download(norm())))
        throw TrainingError(name_ + ": the gradient of " + arena_.entries()[index].parameter.name +
                            " is not finite (norm " + number(double{download(norm())}) +
                            "); the weights were left as they were");
    }
    throw TrainingError(name_ + ": the norm of all gradients overflows; the weights were left as they were");
  }

  static constexpr double infinity = std::numeric_limits<double>::infinity();

  std::string name_;
  std::vector<std::string> moment_names_;
  Settings settings_;
  OptimizerGroups groups_;
  detail::ParameterArena<B> arena_;
  Detached<float, B> numbers_;
  int slot_ = 0;
  bool clip_requested_ = false;
  std::vector<std::size_t> unsettled_;                 // the entries of a step whose outcome was not read
  typename detail::LateNumberOf<B>::type last_scale_;  // and the scale of that step
  std::int64_t skipped_ = 0;
  mutable bool moments_shown_ = false;  // somebody may have written into them
  std::vector<std::shared_ptr<RunState>> runs_;
};

template <class B>
void Optimizer<B>::zero_grad() {
  for (auto& entry : arena_.entries()) entry.parameter.state->has_grad = false;
  clip_requested_ = false;
}

template <class B>
float Optimizer<B>::clip_grad_norm(double max_norm) {
  check_max_norm(max_norm);
  arena_.check_owned();
  settle();
  measure(active_chunks(arena_.active()), max_norm);
  clip_requested_ = true;
  return download(norm());
}

template <class B>
void Optimizer<B>::set_lr(double lr) {
  check_lr(lr);
  for (OptimizerGroup& group : groups_) group.lr = lr;
}

template <class B>
std::int64_t Optimizer<B>::skipped_steps() {
  settle();
  return skipped_;
}

template <class B>
OptimizerState Optimizer<B>::state() {
  settle();
  OptimizerState state{name_, {groups_.begin(), groups_.end()}, {}, skipped_};
  for (const auto& entry : arena_.entries())
    if (!state.steps.emplace(entry.parameter.name, entry.steps).second)
      throw ConfigError(name_ + ": two parameters are called " + entry.parameter.name +
                        "; the state of the optimizer cannot be saved by name");
  return state;
}

template <class B>
void Optimizer<B>::load_state(const OptimizerState& state) {
  check_state(state);
  settle();
  for (std::size_t group = 0; group < groups_.size(); ++group) groups_[group] = state.groups[group];
  for (auto& entry : arena_.entries()) entry.steps = state.steps.at(entry.parameter.name);
  skipped_ = state.skipped_steps;
  clip_requested_ = false;
}

template <class B>
void Optimizer<B>::check_state(const OptimizerState& state) const {
  if (state.optimizer != name_)
    throw ConfigError(name_ + ": the state is of another optimizer, " + state.optimizer);
  if (state.groups.size() != groups_.size())
    throw ConfigError(name_ + ": expected the state of " + std::to_string(groups_.size()) +
                      " groups, found " + std::to_string(state.groups.size()));
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    const std::string where = name_ + ": group " + std::to_string(group) + " of the state: ";
    const OptimizerGroup& numbers = state.groups[group];
    check_range(where + "lr", numbers.lr, 0.0, infinity);
    check_range(where + "initial_lr", numbers.initial_lr, 0.0, infinity);
    check_range(where + "weight_decay", numbers.weight_decay, 0.0, infinity);
    check_range(where + "betas[0]", numbers.betas[0], 0.0, 1.0);
    check_range(where + "betas[1]", numbers.betas[1], 0.0, 1.0);
  }
  if (state.skipped_steps < 0)
    throw ConfigError(name_ + ": the state cannot have " + std::to_string(state.skipped_steps) +
                      " skipped steps");
  for (const auto& entry : arena_.entries()) {
    const auto found = state.steps.find(entry.parameter.name);
    if (found == state.steps.end())
      throw ConfigError(name_ + ": the state lacks parameter " + entry.parameter.name);
    if (found->second < 0)
      throw ConfigError(name_ + ": parameter " + entry.parameter.name + " cannot have had " +
                        std::to_string(found->second) + " steps");
  }
  if (state.steps.size() != arena_.entries().size())
    throw ConfigError(name_ + ": expected the state of " + std::to_string(arena_.entries().size()) +
                      " parameters, found " + std::to_string(state.steps.size()));
}

template <class B>
std::vector<OptimizerArray<B>> Optimizer<B>::arrays() const {
  moments_shown_ = true;
  std::vector<OptimizerArray<B>> result;
  for (const auto& entry : arena_.entries())
    for (std::size_t which = 0; which < moment_names_.size(); ++which)
      result.push_back({entry.parameter.name + "." + moment_names_[which], arena_.moment(entry, which)});
  return result;
}

template <class B>
Optimizer<B>::Optimizer(std::string name, std::vector<std::string> moment_names,
                        const std::vector<ParameterGroup<B>>& groups, const Settings& settings)
    : name_(std::move(name)),
      moment_names_(std::move(moment_names)),
      settings_(settings),
      groups_(make_groups(groups), settings.lr),
      arena_(name_, groups, static_cast<int>(moment_names_.size())),
      numbers_(arena_.device(), {4}) {
  for (const auto& group : groups) {
    bool known = !group.parameters.run;
    for (const auto& run : runs_) known = known || run == group.parameters.run;
    if (!known) runs_.push_back(group.parameters.run);
  }
}

template <class B>
void Optimizer<B>::check_range(const std::string& what, double value, double low, double below) {
  const bool fits = below == std::numeric_limits<double>::infinity()
                        ? std::isfinite(value) && value >= low
                        : value >= low && static_cast<float>(value) < static_cast<float>(below);
  if (fits) return;
  throw ConfigError(what +
                    (below == std::numeric_limits<double>::infinity()
                         ? " must be at least " + number(low)
                         : " must lie in [" + number(low) + ", " + number(below) + ")") +
                    ", found " + number(value));
}

template <class B>
std::string Optimizer<B>::number(double value) {
  const std::string text = std::to_string(value);  // six decimals, without idle zeros
  const std::size_t last = text.find_last_not_of('0');
  return text.find('.') == text.npos ? text : text.substr(0, text[last] == '.' ? last : last + 1);
}

template <class B>
std::vector<OptimizerGroup> Optimizer<B>::make_groups(const std::vector<ParameterGroup<B>>& groups) const {
  if (settings_.max_grad_norm) check_max_norm(*settings_.max_grad_norm);
  std::vector<OptimizerGroup> result;
  for (std::size_t index = 0; index < groups.size(); ++index) {
    const ParameterGroup<B>& group = groups[index];
    const std::string where =
        name_ + (groups.size() > 1 ? std::string(": group ").append(std::to_string(index)) : "") + ": ";
    OptimizerGroup made;
    check_range(where + "lr", group.lr.value_or(settings_.lr), 0.0, infinity);
    if (!(group.lr_scale > 0.0 && std::isfinite(group.lr_scale)))
      throw ConfigError(where + "lr_scale must be above 0, found " + number(group.lr_scale));
    made.lr = made.initial_lr = group.lr.value_or(settings_.lr) * group.lr_scale;
    made.weight_decay = group.weight_decay.value_or(settings_.weight_decay);
    check_range(where + "weight_decay", made.weight_decay, 0.0, infinity);
    if (group.betas && name_ != "AdamW") throw ConfigError(where + "betas belong to AdamW");
    made.betas = group.betas.value_or(settings_.betas);
    check_range(where + "betas[0]", made.betas[0], 0.0, 1.0);
    check_range(where + "betas[1]", made.betas[1], 0.0, 1.0);
    result.push_back(made);
  }
  return result;
}

template <class B>
std::vector<ParameterChunk> Optimizer<B>::active_chunks(const std::vector<std::size_t>& active) const {
  const std::vector<ParameterChunk>& all = arena_.chunks();
  std::vector<ParameterChunk> chunks;
  chunks.reserve(all.size());
  for (const std::size_t index : active) {
    const auto& entry = arena_.entries()[index];
    chunks.insert(chunks.end(), all.begin() + static_cast<std::ptrdiff_t>(entry.first_chunk),
                  all.begin() + static_cast<std::ptrdiff_t>(entry.last_chunk));
    arena_.tell_rows(entry, std::span(chunks).last(entry.last_chunk - entry.first_chunk));
  }
  return chunks;
}

template <class B>
void Optimizer<B>::settle() {
  if (unsettled_.empty()) return;
  if (std::isnan(last_scale_.get())) {
    for (const std::size_t index : unsettled_) --arena_.entries()[index].steps;
    ++skipped_;
  }
  unsettled_.clear();
}

}  // namespace attune
