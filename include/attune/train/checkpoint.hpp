#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/formats/safetensors.hpp>
#include <attune/optim/optimizer.hpp>
#include <attune/train/checkpoint_contents.hpp>
#include <attune/train/ema.hpp>

namespace attune {

struct TrainingCheckpointsOptions {
  std::int64_t keep_last = 2;  ///< older ones are removed when one is saved; 0 keeps all
  bool frozen_weights = true;  ///< false leaves out what does not train and is loaded from elsewhere
};

/// What TrainingCheckpoints::load() tells of the checkpoint it went back to.
struct LoadedCheckpoint {
  std::string path;
  std::uint64_t step = 0;  ///< optimizer steps done
  std::map<std::string, std::string> values;
};

/// Saves a run between two steps and goes back to it, so that it continues with the same bits as if it had
/// never stopped:
///
///     attune::TrainingCheckpoints checkpoints("run", model.parameters(), optimizer, {.keep_last = 2});
///     checkpoints.add(scheduler);
///     checkpoints.add(loader);
///     checkpoints.load_latest();
///     ...
///     optimizer.step();
///     scheduler.step();
///     checkpoints.save();
///
/// A checkpoint is one safetensors file, "checkpoint-<step>.safetensors", written under a temporary name,
/// flushed and renamed: it is complete or not there. It holds the float masters (the rounded values or
/// quantised blocks of frozen parameters), the optimizer's moments, and in its metadata the optimizer's, the schedule's and the loader's
/// state, seed and step of the run, and values of the user's. The directory belongs to one run. What was
/// given to the constructor and to add() must outlive this object and not be moved meanwhile.
template <class B>
class TrainingCheckpoints {
 public:
  /// `parameters` are those of the model. Throws ConfigError for a keep_last below 0 or a float64 parameter.
  TrainingCheckpoints(std::string directory, ParameterList<B> parameters, Optimizer<B>& optimizer,
                      const TrainingCheckpointsOptions& options = {})
      : directory_(std::move(directory)),
        parameters_(std::move(parameters)),
        optimizer_(&optimizer),
        options_(options) {
    if (options.keep_last < 0)
      throw ConfigError("TrainingCheckpoints: keep_last must be at least 0, found " +
                        std::to_string(options.keep_last));
    if (!parameters_.run) throw ConfigError("TrainingCheckpoints: the parameter list has no run state");
    for (const auto& parameter : parameters_)
      if (parameter.state->dtype == DType::f64)
        throw ConfigError("TrainingCheckpoints: parameter " + parameter.name +
                          " is float64; float and bfloat16 parameters can be saved");
  }

  void add(LrSchedule& schedule) { schedule_ = &schedule; }
  void add(DataLoader& loader) { loader_ = &loader; }
  void add(EarlyStopping& stopping) { early_stopping_ = &stopping; }
  void add(Ema<B>& ema) { ema_ = &ema; }

  /// Writes the checkpoint of the run's present step and removes old ones, as well as those of later steps,
  /// which a run that went another way has left. To be called between step() and the next backward; gradients
  /// are not saved. `values` are texts of the user's own. Returns the path; throws IoError when it cannot be
  /// written, and TrainingError while the averages of an Ema are swapped in.
  std::string save(std::map<std::string, std::string> values = {}) {
    if (ema_ && ema_->swapped())
      throw TrainingError("TrainingCheckpoints: save() while the averages of Ema stand in the model");
    detail::CheckpointContents contents;
    contents.run = *parameters_.run;
    contents.optimizer = optimizer_->state();
    if (schedule_) contents.schedule = schedule_->state();
    if (loader_) contents.loader = loader_->state();
    if (early_stopping_) contents.early_stopping = early_stopping_->state();
    if (ema_) contents.ema_updates = ema_->updates();
    contents.values = std::move(values);

    const std::vector<Array> arrays = this->arrays();
    std::vector<SafetensorsTensor> tensors;
    for (const Array& array : arrays) tensors.push_back({array.name, array.dtype, array.shape});
    detail::prepare_checkpoint_directory(directory_);
    const std::string path = detail::checkpoint_path(directory_, contents.run.step);
    std::vector<std::byte> host;
    save_safetensors(path, tensors,
                     [&](std::size_t i) {
                       host.resize(arrays[i].storage.bytes());
                       if (!host.empty())
                         device().download(host.data(), arrays[i].storage.data(), host.size());
                       return std::span<const std::byte>(host);
                     },
                     {{detail::checkpoint_key, detail::to_json_text(contents)}});
    detail::prune_checkpoints(directory_, contents.run.step, options_.keep_last);
    return path;
  }

  /// Goes back to the newest checkpoint of the directory; nothing happens when there is none.
  std::optional<LoadedCheckpoint> load_latest() {
    const std::optional<std::string> path = latest_checkpoint(directory_);
    if (!path) return std::nullopt;
    return load(*path);
  }

  /// Goes back to a checkpoint. Throws IoError or FormatError when the file is not a whole training
  /// checkpoint, ConfigError when it is one of another model, optimizer, schedule or dataset, and
  /// TrainingError while the averages of an Ema are swapped in; then nothing has been changed.
  LoadedCheckpoint load(const std::string& path) {
    if (ema_ && ema_->swapped())
      throw TrainingError("TrainingCheckpoints: load() while the averages of Ema stand in the model");
    const SafetensorsFile file = SafetensorsFile::open(path);
    const auto text = file.metadata().find(detail::checkpoint_key);
    if (text == file.metadata().end())
      throw FormatError(path, -1, "a safetensors file, but not a training checkpoint of attune");
    detail::CheckpointContents contents = detail::checkpoint_from_json(text->second, path);
    const std::vector<Array> arrays = this->arrays();
    check(file, arrays);
    check_parts(path, contents);

    // The loader checks and takes over in one, so it comes first.
    if (loader_) within(path, [&] { loader_->load_state(*contents.loader); });
    optimizer_->load_state(contents.optimizer);
    if (schedule_) schedule_->load_state(*contents.schedule);
    if (early_stopping_) early_stopping_->load_state(*contents.early_stopping);
    if (ema_) ema_->load_updates(*contents.ema_updates);
    for (const Array& array : arrays) {
      const std::span<const std::byte> bytes = file.bytes(*file.find(array.name));
      if (!bytes.empty()) device().upload(array.storage.data(), bytes.data(), bytes.size());
    }
    for (const auto& parameter : parameters_) {
      if (has_master(parameter))
        detail::round_master(parameter);
      else
        parameter.state->value.mark_changed();
      parameter.state->has_grad = false;
    }
    *parameters_.run = contents.run;
    return {path, contents.run.step, std::move(contents.values)};
  }

 private:
  /// A tensor of the file and where its elements stand.
  struct Array {
    std::string name;
    DType dtype;
    Shape shape;
    Storage<B> storage;
  };

  const B& device() const { return parameters_.items.front().state->value.device(); }

  static bool has_master(const NamedParameter<B>& parameter) {
    return static_cast<bool>(parameter.state->master);
  }
  static Array floats(std::string name, const Detached<float, B>& values) {
    return {std::move(name), DType::f32, values.shape(), values.own_storage()};
  }

  std::vector<Array> arrays() const {
    std::vector<Array> result;
    for (const auto& parameter : parameters_) {
      if (!parameter.trainable() && !options_.frozen_weights) continue;
      if (has_master(parameter)) {
        result.push_back(floats("model." + parameter.name, parameter.master()));
      } else if (parameter.state->blocks) {
        const std::int64_t row =
            parameter.row_size() / block_elements * block_bytes(*parameter.state->blocks);
        const std::int64_t rows = parameter.row_end - parameter.row_begin;
        result.push_back({"model." + parameter.name,
                          DType::u8,
                          {rows, row},
                          parameter.state->value.slice(static_cast<std::size_t>(parameter.row_begin * row),
                                                       static_cast<std::size_t>(rows * row))});
      } else {
        const std::size_t width = size_of(parameter.state->dtype);
        result.push_back({"model." + parameter.name, parameter.state->dtype, parameter.shape(),
                          parameter.state->value.slice(static_cast<std::size_t>(parameter.offset()) * width,
                                                       static_cast<std::size_t>(parameter.size()) * width)});
      }
    }
    for (const auto& array : optimizer_->arrays())
      result.push_back(floats("optimizer." + array.name, array.values));
    if (ema_)
      for (std::size_t i = 0; i < ema_->parameters().size(); ++i)
        result.push_back(floats("ema." + ema_->parameters()[i].name, ema_->averages()[i]));
    return result;
  }

  static void check(const SafetensorsFile& file, const std::vector<Array>& arrays) {
    for (const Array& array : arrays) {
      const SafetensorsEntry* entry = file.find(array.name);
      if (!entry) throw ConfigError(file.path() + ": the checkpoint lacks " + array.name);
      if (entry->dtype != array.dtype || !(entry->shape == array.shape))
        throw ConfigError(file.path() + ": " + array.name + ": expected " +
                          std::string(name_of(array.dtype)) + " " + array.shape.to_string() + ", found " +
                          std::string(entry->dtype_name) + " " + entry->shape.to_string());
    }
    if (file.entries().size() == arrays.size()) return;
    std::map<std::string, bool> known;
    for (const Array& array : arrays) known[array.name] = true;
    for (const SafetensorsEntry& entry : file.entries())
      if (!known.count(entry.name))
        throw ConfigError(file.path() + ": the checkpoint has " + entry.name + ", which this run has not");
  }

  /// Names the file in what `f` complains of.
  template <class F>
  static void within(const std::string& path, const F& f) {
    try {
      f();
    } catch (const ConfigError& error) {
      throw ConfigError(path + ": " + error.what());
    }
  }

  void check_parts(const std::string& path, const detail::CheckpointContents& contents) const {
    const auto both = [&](const char* what, bool wanted, bool found) {
      if (wanted == found) return;
      throw ConfigError(path + ": the checkpoint has " + (found ? "" : "no ") + what + ", this run has " +
                        (wanted ? "one" : "none"));
    };
    both("schedule", schedule_ != nullptr, contents.schedule.has_value());
    both("loader position", loader_ != nullptr, contents.loader.has_value());
    both("early stopping", early_stopping_ != nullptr, contents.early_stopping.has_value());
    both("weight average", ema_ != nullptr, contents.ema_updates.has_value());
    within(path, [&] {
      optimizer_->check_state(contents.optimizer);
      if (schedule_) schedule_->check_state(*contents.schedule);
      if (early_stopping_) EarlyStopping(*early_stopping_).load_state(*contents.early_stopping);
      if (ema_ && *contents.ema_updates < 0) throw ConfigError("a negative number of updates of the average");
    });
  }

  std::string directory_;
  ParameterList<B> parameters_;
  Optimizer<B>* optimizer_;
  TrainingCheckpointsOptions options_;
  LrSchedule* schedule_ = nullptr;
  DataLoader* loader_ = nullptr;
  EarlyStopping* early_stopping_ = nullptr;
  Ema<B>* ema_ = nullptr;
};

}  // namespace attune
