#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/io/pretrained.hpp>
#include <attune/models/config.hpp>
#include <attune/nn/module.hpp>

namespace attune {

/// What every model shares, over the parts that Derived::visit names. Derived has
///
///     static std::string architecture();               // as in config.json's "architectures"
///     static constexpr const char* base_model_prefix;  // "bert": may be missing from, or extra in, names
///     static std::string layer_prefix();               // "bert.encoder.layer."
///     static std::vector<std::string> embedding_patterns();  // the names of what lies below the layers
///     static std::vector<std::string> ignored_keys();        // of checkpoints; see LoadOptions
///     static constexpr CheckpointReader (*open_checkpoint)(const std::string&);  // see LoadOptions::open
///     std::int64_t num_layers() const;
///     Config config;                                   // with save(directory, architecture)
///     Derived(const Config&, const B& device);         // parameters are uninitialised
///
/// Models are moved, not copied.
template <class Derived, class Config, class T, class B>
class PretrainedModel {
 public:
  using value_type = T;
  using backend_type = B;

  /// Reads config.json and the weights of a directory (decoders: or of a GGUF file); a head that is not there
  /// begins anew (see load_report()). Throws IoError, FormatError or ConfigError.
  static Derived from_pretrained(const std::string& directory, const PretrainedOptions& options = {},
                                 const B& device = B());
  /// A new model, as transformers initialises one.
  static Derived from_config(const Config& config, const B& device = B(), std::uint64_t seed = 42);

  /// Dropout on.
  void train() { set_training(true); }
  /// Dropout off. A model in eval() may be called from many threads.
  void eval() { set_training(false); }
  bool training() const { return training_; }

  /// Every parameter once, under its checkpoint's name.
  ParameterList<B> parameters() const;
  std::int64_t num_parameters(bool only_trainable = false) const {
    return parameters().count(only_trainable);
  }

  /// Seeds dropout; from_pretrained() sets PretrainedOptions::seed.
  void set_seed(std::uint64_t seed) { run_->seed = seed; }
  const std::shared_ptr<RunState>& run_state() const { return run_; }

  /// Stops parameters from training, or lets them train again, by a pattern of their names in which * stands
  /// for anything. Make the optimizer afterwards. Returns how many fit; throws ConfigError when none does.
  std::int64_t freeze(std::string_view pattern);
  std::int64_t unfreeze(std::string_view pattern);
  /// Freezes the embeddings and the lowest `count` layers; nothing below them is computed in backward.
  /// Throws ConfigError when there are fewer layers.
  void freeze_layers(std::int64_t count);
  /// The topmost `count` layers train, whatever was frozen before, and nothing below them does. The head
  /// stays as it is. Throws ConfigError when there are fewer layers.
  void unfreeze_top_layers(std::int64_t count);

  /// Keeps only each layer's input and computes the rest again in backward: less memory, about a third more
  /// time.
  bool gradient_checkpointing = false;

  /// What loading found missing, unexpected or mismatched.
  const LoadReport& load_report() const { return load_report_; }

  /// Writes config.json and model.safetensors (float masters) so that transformers loads the directory
  /// unchanged. The directory is made when it is missing. Adapters are left out, unless they are merged.
  /// Throws IoError.
  void save_pretrained(const std::string& directory) const;

 protected:
  PretrainedModel() = default;
  PretrainedModel(PretrainedModel&&) noexcept = default;
  PretrainedModel& operator=(PretrainedModel&&) noexcept = default;

  /// Call at the end of a constructor: numbers the dropouts.
  void finish_construction();
  /// The random numbers of one call, when training.
  PassRandom draw(std::int64_t samples) const {
    return training_ ? PassRandom::draw(*run_, samples) : PassRandom{};
  }

 private:
  static std::string layer_pattern(std::int64_t layer) {
    return Derived::layer_prefix() + std::to_string(layer) + ".*";
  }
  void check_layer_count(const char* function, std::int64_t count) const;
  void load(const std::string& directory, const PretrainedOptions& options, double initializer_range);
  const Derived& self() const { return static_cast<const Derived&>(*this); }
  void set_training(bool training);

  std::shared_ptr<RunState> run_ = std::make_shared<RunState>();
  bool training_ = true;
  LoadReport load_report_;
};

// Defined outside of the class, so that instances in attune::compiled are not compiled again by their users.

template <class Derived, class Config, class T, class B>
Derived PretrainedModel<Derived, Config, T, B>::from_pretrained(const std::string& directory,
                                                                const PretrainedOptions& options,
                                                                const B& device) {
  Derived model(Config::from_pretrained(directory, options), device);
  if (options.frozen) model.freeze("*");
  static_cast<PretrainedModel&>(model).load(directory, options, model.config.initializer_range);
  return model;
}

template <class Derived, class Config, class T, class B>
Derived PretrainedModel<Derived, Config, T, B>::from_config(const Config& config, const B& device,
                                                            std::uint64_t seed) {
  Derived model(config, device);
  model.set_seed(seed);
  place_together(model.parameters());
  initialize_parameters(model.parameters(), config.initializer_range, seed);
  return model;
}

template <class Derived, class Config, class T, class B>
ParameterList<B> PretrainedModel<Derived, Config, T, B>::parameters() const {
  return {list_parameters<B>(self()), run_};
}

template <class Derived, class Config, class T, class B>
std::int64_t PretrainedModel<Derived, Config, T, B>::freeze(std::string_view pattern) {
  return set_trainable<B>(self(), pattern, false);
}

template <class Derived, class Config, class T, class B>
std::int64_t PretrainedModel<Derived, Config, T, B>::unfreeze(std::string_view pattern) {
  return set_trainable<B>(self(), pattern, true);
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::freeze_layers(std::int64_t count) {
  check_layer_count("freeze_layers", count);
  for (const std::string& pattern : Derived::embedding_patterns()) freeze(pattern);
  for (std::int64_t i = 0; i < count; ++i) freeze(layer_pattern(i));
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::unfreeze_top_layers(std::int64_t count) {
  check_layer_count("unfreeze_top_layers", count);
  const std::int64_t layers = self().num_layers();
  freeze_layers(layers - count);
  for (std::int64_t i = layers - count; i < layers; ++i) unfreeze(layer_pattern(i));
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::check_layer_count(const char* function,
                                                               std::int64_t count) const {
  if (count >= 0 && count <= self().num_layers()) return;
  throw ConfigError(std::string(function) + ": the model has " + std::to_string(self().num_layers()) +
                    " layers, found " + std::to_string(count));
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::save_pretrained(const std::string& directory) const {
  self().config.save(directory, Derived::architecture());
  ParameterList<B> own = parameters();
  std::erase_if(own.items,
                [](const auto& parameter) { return parameter.name.find(".lora_") != std::string::npos; });
  save_parameters(own, directory + "/model.safetensors");
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::finish_construction() {
  number_dropouts(static_cast<Derived&>(*this));
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::load(const std::string& directory,
                                                  const PretrainedOptions& options,
                                                  double initializer_range) {
  run_->seed = options.seed;
  if (options.quantized && !options.frozen)
    throw ConfigError("quantized: such weights do not train; set `frozen` as well");
  place_together(parameters());
  load_report_ = load_parameters(parameters(), directory,
                                 {std::string(Derived::base_model_prefix) + ".", initializer_range,
                                  options.seed, options.ignore_mismatched_sizes, Derived::ignored_keys(),
                                  Derived::open_checkpoint, options.quantized});
}

template <class Derived, class Config, class T, class B>
void PretrainedModel<Derived, Config, T, B>::set_training(bool training) {
  training_ = training;
  for_each_dropout(static_cast<Derived&>(*this),
                   [&](const std::string&, Dropout& d) { d.training = training; });
}

}  // namespace attune
