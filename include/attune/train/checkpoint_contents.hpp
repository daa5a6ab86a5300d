#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/optim/optimizer_groups.hpp>
#include <attune/optim/schedule.hpp>
#include <attune/tensor/parameter_list.hpp>
#include <attune/train/early_stopping.hpp>

namespace attune {

/// The newest training checkpoint in a directory (the one of the highest step), if there is any. Throws
/// IoError when the directory exists and cannot be read.
std::optional<std::string> latest_checkpoint(const std::string& directory);

namespace detail {

/// Everything in a training checkpoint but its arrays.
struct CheckpointContents {
  RunState run;
  OptimizerState optimizer;
  std::optional<LrScheduleState> schedule;
  std::optional<DataLoaderState> loader;
  std::optional<EarlyStoppingState> early_stopping;
  std::optional<std::int64_t> ema_updates;
  std::map<std::string, std::string> values;
};

/// The key of a checkpoint file's metadata that holds the contents.
inline constexpr const char* checkpoint_key = "attune_training_checkpoint";

std::string to_json_text(const CheckpointContents& contents);
/// Throws FormatError or ConfigError naming the file.
CheckpointContents checkpoint_from_json(const std::string& text, const std::string& file);

/// "<directory>/checkpoint-<step>.safetensors"
std::string checkpoint_path(const std::string& directory, std::uint64_t step);
/// Creates the directory, and removes what a killed process left half written in it.
void prepare_checkpoint_directory(const std::string& directory);
/// Removes the checkpoints of later steps than `step`, and of the others all but the last `keep` (0: keeps
/// all).
void prune_checkpoints(const std::string& directory, std::uint64_t step, std::int64_t keep);

}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/checkpoint_contents.inl.hpp>
#endif
