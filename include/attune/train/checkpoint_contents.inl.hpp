#pragma once

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/json_writer.hpp>
#include <attune/train/checkpoint_contents.hpp>

namespace attune::detail {

inline constexpr std::string_view checkpoint_prefix = "checkpoint-", checkpoint_suffix = ".safetensors";
inline constexpr std::int64_t checkpoint_version = 1;

/// The step in "checkpoint-<step>.safetensors"; nothing for another name.
ATTUNE_INLINE std::optional<std::uint64_t> checkpoint_step(std::string_view name) {
  if (!name.starts_with(checkpoint_prefix) || !name.ends_with(checkpoint_suffix)) return std::nullopt;
  name.remove_prefix(checkpoint_prefix.size());
  name.remove_suffix(std::min(name.size(), checkpoint_suffix.size()));
  std::uint64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (name.empty() || error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return step;
}

/// The checkpoints of a directory by their step. `other` is called with every other file's name.
template <class F>
std::map<std::uint64_t, std::string> list_checkpoints(const std::string& directory, const F& other) {
  std::map<std::uint64_t, std::string> found;
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (const auto step = checkpoint_step(name))
      found[*step] = entry->path().string();
    else
      other(entry->path(), name);
  }
  if (error && error != std::errc::no_such_file_or_directory)
    throw IoError(directory, "cannot list the directory: " + error.message());
  return found;
}

ATTUNE_INLINE std::string checkpoint_path(const std::string& directory, std::uint64_t step) {
  return directory + "/" + std::string(checkpoint_prefix) + std::to_string(step) +
         std::string(checkpoint_suffix);
}

ATTUNE_INLINE void prepare_checkpoint_directory(const std::string& directory) {
  make_directories(directory);
  std::error_code error;
  const std::string left_over = std::string(checkpoint_suffix) + ".tmp.";
  list_checkpoints(directory, [&](const std::filesystem::path& path, std::string_view name) {
    if (name.starts_with(checkpoint_prefix) && name.find(left_over) != name.npos)
      std::filesystem::remove(path, error);
  });
}

ATTUNE_INLINE void prune_checkpoints(const std::string& directory, std::uint64_t step, std::int64_t keep) {
  const auto found = list_checkpoints(directory, [](const std::filesystem::path&, std::string_view) {});
  std::int64_t kept = 0;
  for (auto entry = found.rbegin(); entry != found.rend(); ++entry) {
    const bool later = entry->first > step;
    if (!later && (keep == 0 || kept++ < keep)) continue;
    std::error_code error;
    std::filesystem::remove(entry->second, error);
    if (error) throw IoError(entry->second, "cannot remove the checkpoint: " + error.message());
  }
}

ATTUNE_INLINE void write_optimizer(JsonWriter& json, const OptimizerState& state) {
  json.begin_object("optimizer");
  json.begin_array("groups");
  for (const OptimizerGroup& group : state.groups) {
    json.begin_object();
    json.begin_array("betas");
    for (const double beta : group.betas) json.number({}, beta);
    json.end_array();
    json.number("initial_lr", group.initial_lr);
    json.number("lr", group.lr);
    json.number("weight_decay", group.weight_decay);
    json.end_object();
  }
  json.end_array();
  json.string("kind", state.optimizer);
  json.integer("skipped_steps", state.skipped_steps);
  json.begin_object("steps");
  for (const auto& [name, steps] : state.steps) json.integer(name, steps);
  json.end_object();
  json.end_object();
}

ATTUNE_INLINE std::string to_json_text(const CheckpointContents& contents) {
  JsonWriter json(-1);
  json.begin_object();
  if (contents.early_stopping) {
    json.begin_object("early_stopping");
    json.number("best", contents.early_stopping->best);
    json.integer("best_evaluation", contents.early_stopping->best_evaluation);
    json.integer("evaluations", contents.early_stopping->evaluations);
    json.end_object();
  }
  if (contents.ema_updates) json.integer("ema_updates", *contents.ema_updates);
  if (contents.loader) {
    json.begin_array("loader");
    for (const std::uint64_t integer : contents.loader->to_integers()) json.integer({}, integer);
    json.end_array();
  }
  write_optimizer(json, contents.optimizer);
  json.begin_object("run");
  json.integer("samples", std::uint64_t{contents.run.samples});
  json.integer("seed", contents.run.seed);
  json.integer("step", contents.run.step);
  json.end_object();
  if (contents.schedule) {
    json.begin_object("schedule");
    json.begin_array("initial_lrs");
    for (const double lr : contents.schedule->initial_lrs) json.number({}, lr);
    json.end_array();
    json.string("kind", contents.schedule->schedule);
    json.integer("steps", contents.schedule->steps);
    json.end_object();
  }
  json.begin_object("values");
  for (const auto& [name, value] : contents.values) json.string(name, value);
  json.end_object();
  json.integer("version", std::int64_t{checkpoint_version});
  json.end_object();
  return json.take();
}

/// Reads typed fields and complains in one voice.
class ContentsReader {
 public:
  explicit ContentsReader(const std::string& file) : file_(file) {}

  template <class T>
  T get(const nlohmann::json& from, const char* key) const {
    const auto found = from.is_object() ? from.find(key) : from.end();
    if (!from.is_object() || found == from.end()) refuse(key, "is missing");
    return as<T>(*found, key);
  }
  template <class T>
  T as(const nlohmann::json& value, const char* key) const {
    if constexpr (std::is_integral_v<T>) {
      // nlohmann would convert a float, a negative number or one that is too large without a word.
      if (!value.is_number_integer() ||
          (std::is_unsigned_v<T> && !value.is_number_unsigned() && value.get<std::int64_t>() < 0))
        refuse(key, "is not an integer that fits");
      if (value.is_number_unsigned() &&
          value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<T>::max()))
        refuse(key, "is not an integer that fits");
      return value.get<T>();
    } else if constexpr (std::is_same_v<T, double>) {
      if (!value.is_number()) refuse(key, "is not a number");
      return value.get<double>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!value.is_string()) refuse(key, "is not a text");
      return value.get<std::string>();
    } else {
      return value.get<T>();
    }
  }
  template <class T>
  std::vector<T> list(const nlohmann::json& from, const char* key) const {
    const auto values = get<nlohmann::json>(from, key);
    if (!values.is_array()) refuse(key, "is not a list");
    std::vector<T> result;
    for (const auto& value : values) result.push_back(as<T>(value, key));
    return result;
  }
  template <class T>
  std::map<std::string, T> map(const nlohmann::json& from, const char* key) const {
    const auto values = get<nlohmann::json>(from, key);
    if (!values.is_object()) refuse(key, "is not an object");
    std::map<std::string, T> result;
    for (const auto& [name, value] : values.items()) result.emplace(name, as<T>(value, key));
    return result;
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    throw FormatError(file_, -1, "not a training checkpoint: " + key + " " + what);
  }

 private:
  const std::string& file_;
};

ATTUNE_INLINE OptimizerState optimizer_from_json(const nlohmann::json& json, const ContentsReader& read) {
  OptimizerState state;
  state.optimizer = read.get<std::string>(json, "kind");
  state.skipped_steps = read.get<std::int64_t>(json, "skipped_steps");
  state.steps = read.map<std::int64_t>(json, "steps");
  for (const auto& group : read.list<nlohmann::json>(json, "groups")) {
    const auto betas = read.list<double>(group, "betas");
    if (betas.size() != 2) read.refuse("betas", "is not a list of two numbers");
    state.groups.push_back({read.get<double>(group, "lr"),
                            read.get<double>(group, "initial_lr"),
                            read.get<double>(group, "weight_decay"),
                            {betas[0], betas[1]}});
  }
  return state;
}

ATTUNE_INLINE CheckpointContents checkpoint_from_json(const std::string& text, const std::string& file) {
  const nlohmann::json json = parse_json(text, file);
  const ContentsReader read(file);
  const auto version = read.get<std::int64_t>(json, "version");
  if (version != checkpoint_version)
    throw FormatError(file, -1,
                      "a training checkpoint of version " + std::to_string(version) + ", expected " +
                          std::to_string(checkpoint_version));
  CheckpointContents contents;
  const auto run = read.get<nlohmann::json>(json, "run");
  contents.run = {read.get<std::uint64_t>(run, "seed"), read.get<std::uint64_t>(run, "step"),
                  read.get<std::uint32_t>(run, "samples")};
  contents.optimizer = optimizer_from_json(read.get<nlohmann::json>(json, "optimizer"), read);
  if (json.contains("schedule"))
    contents.schedule = {read.get<std::string>(json["schedule"], "kind"),
                         read.get<std::int64_t>(json["schedule"], "steps"),
                         read.list<double>(json["schedule"], "initial_lrs")};
  if (json.contains("loader")) {
    const auto integers = read.list<std::uint64_t>(json, "loader");
    if (integers.size() != 5) read.refuse("loader", "is not a list of five integers");
    contents.loader = DataLoaderState::from_integers(integers);
  }
  if (json.contains("early_stopping"))
    contents.early_stopping = {read.get<double>(json["early_stopping"], "best"),
                               read.get<std::int64_t>(json["early_stopping"], "evaluations"),
                               read.get<std::int64_t>(json["early_stopping"], "best_evaluation")};
  if (json.contains("ema_updates")) contents.ema_updates = read.get<std::int64_t>(json, "ema_updates");
  contents.values = read.map<std::string>(json, "values");
  return contents;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::optional<std::string> latest_checkpoint(const std::string& directory) {
  const auto found =
      detail::list_checkpoints(directory, [](const std::filesystem::path&, std::string_view) {});
  if (found.empty()) return std::nullopt;
  return found.rbegin()->second;
}

}  // namespace attune
