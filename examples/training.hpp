// What the fine-tuning examples share: their options, and everything around the loop that is not the loop.
#pragma once

#include <CLI/CLI.hpp>
#include <attune/attune.hpp>
#include <attune/text/auto_tokenizer.hpp>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

struct TrainingOptions {
  std::string model, train, eval, output;
  int epochs = 3;
  std::int64_t batch_size = 16, accumulate = 1, max_length = 128, freeze_layers = 0, checkpoint_every = 0;
  double lr = 2e-5, warmup_ratio = 0.0, weight_decay = 0.01, max_grad_norm = 1.0;
  std::string schedule = "linear", precision = "fp32", device = "auto", log, report;
  std::uint64_t seed = 42;
  int threads = 0;
  bool resume = false, skip_non_finite = false;

  void add_to(CLI::App& app) {
    app.add_option("--model", model, "Hugging Face model directory")->required();
    app.add_option("--train", train, "Training file")->required();
    app.add_option("--eval", eval, "Evaluation file");
    app.add_option("--output", output, "Directory for the fine-tuned model")->required();
    app.add_option("--epochs", epochs)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--batch-size", batch_size, "Rows in a batch")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--accumulate", accumulate, "Batches in an optimizer step")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--max-length", max_length, "Most tokens of a row, special tokens included")
        ->capture_default_str();
    app.add_option("--lr", lr, "Highest learning rate")->capture_default_str();
    app.add_option("--schedule", schedule)
        ->capture_default_str()
        ->check(CLI::IsMember({"constant", "linear", "cosine", "polynomial", "inverse_sqrt"}));
    app.add_option("--warmup-ratio", warmup_ratio, "Share of the steps in which the learning rate rises")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1.0));
    app.add_option("--weight-decay", weight_decay, "Of matrices; biases and norms have none")
        ->capture_default_str();
    app.add_option("--max-grad-norm", max_grad_norm, "Norm to which gradients are clipped")
        ->capture_default_str();
    app.add_option("--seed", seed, "Of new layers, shuffling and dropout")->capture_default_str();
    app.add_option("--precision", precision, "What is computed in; weights are kept in float")
        ->capture_default_str()
        ->check(CLI::IsMember({"fp32", "bf16"}));
    app.add_option("--freeze-layers", freeze_layers,
                   "Freeze the embeddings and so many of the lowest layers");
    app.add_option("--device", device)->capture_default_str()->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    app.add_option("--threads", threads, "Threads to compute with (default: all processors)");
    app.add_option("--log", log, "JSON-lines file with a line a step");
    app.add_option("--report", report, "HTML page about the run");
    app.add_option("--checkpoint-every", checkpoint_every, "Save a training checkpoint every so many steps");
    app.add_flag("--resume", resume,
                 "Go on from the newest checkpoint in the output directory, if there is one");
    app.add_flag("--skip-non-finite", skip_non_finite, "Pass over a step whose gradient is not finite");
  }
};

/// Calls f(device, float()) or f(device, bfloat16()) as the options say.
template <class F>
void with_device_and_precision(const TrainingOptions& options, const F& f) {
  if (options.threads > 0) attune::set_num_threads(options.threads);
  attune::set_log_sink([](attune::LogLevel, std::string_view message) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
  });
  attune::with_device(options.device, [&](auto device) {
    if (options.precision == "bf16")
      f(device, attune::bfloat16());
    else
      f(device, float());
  });
}

inline attune::LrSchedule make_schedule(const TrainingOptions& options, attune::OptimizerGroups groups,
                                        std::int64_t total_steps) {
  // Rounded up, as transformers does.
  const auto warmup =
      static_cast<std::int64_t>(std::ceil(options.warmup_ratio * static_cast<double>(total_steps)));
  if (options.schedule == "constant")
    return attune::constant_schedule_with_warmup(groups, {.warmup_steps = warmup});
  if (options.schedule == "inverse_sqrt")
    return attune::inverse_sqrt_schedule(groups, {.warmup_steps = warmup});
  if (options.schedule == "cosine")
    return attune::cosine_schedule_with_warmup(groups, {.warmup_steps = warmup, .total_steps = total_steps});
  if (options.schedule == "polynomial")
    return attune::polynomial_decay_schedule_with_warmup(
        groups, {.warmup_steps = warmup, .total_steps = total_steps});
  return attune::linear_schedule_with_warmup(groups, {.warmup_steps = warmup, .total_steps = total_steps});
}

/// Optimizer, schedule, checkpoints, progress bar and log of one run.
template <class B>
class TrainingRun {
 public:
  /// Goes back to the newest checkpoint when the options ask for it.
  template <class Model>
  TrainingRun(const TrainingOptions& options, Model& model, attune::DataLoader& loader)
      : options_(options),
        parameters_(model.parameters()),
        optimizer(attune::no_decay_for_biases_and_norms(parameters_, options.weight_decay),
                  {.lr = options.lr,
                   .max_grad_norm = options.max_grad_norm,
                   .skip_non_finite = options.skip_non_finite}),
        steps_per_epoch_(attune::accumulate(loader, options.accumulate).size()),
        scheduler(make_schedule(options, optimizer, steps_per_epoch_ * options.epochs)),
        loader_(&loader),
        checkpoints_((std::filesystem::path(options.output) / "checkpoints").string(), parameters_,
                     optimizer) {
    checkpoints_.add(scheduler);
    checkpoints_.add(loader);
    if (options.resume)
      if (const auto loaded = checkpoints_.load_latest()) {
        std::fprintf(stderr, "Resumed after step %llu from %s\n",
                     static_cast<unsigned long long>(loaded->step), loaded->path.c_str());
        resumed_ = true;
      }
    const std::string log = log_file();
    if (!log.empty()) {
      attune::JsonlLogOptions log_options;
      if (resumed_) log_options.resume_after_step = static_cast<std::int64_t>(step());
      if (const auto folder = std::filesystem::path(log).parent_path(); !folder.empty())
        std::filesystem::create_directories(folder);
      log_.emplace(log, log_options);
    }
    progress_ = std::make_unique<attune::ProgressBar>(
        stderr, steps_per_epoch_ * options.epochs,
        attune::ProgressOptions{.initial = static_cast<std::int64_t>(step())});
  }

  /// Whether an epoch is left, or begun and not ended.
  bool goes_on() {
    const auto epoch = static_cast<int>(loader_->state().epoch);
    if (epoch >= options_.epochs) return false;
    progress_->describe("epoch " + std::to_string(epoch + 1) + "/" + std::to_string(options_.epochs));
    return true;
  }

  /// One optimizer step from the gradients that are there, and all that follows a step.
  void step_with(double loss, std::int64_t tokens) {
    if (!audited_) attune::require_gradients(parameters_);
    audited_ = true;
    if (!std::isfinite(loss) && !options_.skip_non_finite)
      throw attune::TrainingError("step " + std::to_string(step() + 1) + ": the loss is not finite");
    const double lr = scheduler.last_lr();
    optimizer.step();
    scheduler.step();
    progress_->step({.loss = loss, .lr = lr, .tokens = tokens});
    if (log_) log_->write({{"step", step()}, {"loss", loss}, {"lr", lr}, {"tokens", tokens}});
    if (options_.checkpoint_every > 0 && step() % static_cast<std::uint64_t>(options_.checkpoint_every) == 0)
      checkpoints_.save();
  }

  /// Notes metrics of the evaluation file.
  void note(const std::vector<std::pair<std::string, double>>& metrics) {
    std::string line;
    std::vector<attune::LogField> fields{{"step", step()}};
    std::vector<std::string> names;
    names.reserve(metrics.size());
    for (const auto& [name, value] : metrics) {
      char text[64];
      std::snprintf(text, sizeof(text), "%s=%.4f ", name.c_str(), value);
      line += text;
      names.push_back("eval_" + name);
      fields.push_back({names.back(), value});
    }
    progress_->message("eval after step " + std::to_string(step()) + ": " + line);
    if (log_) log_->write(fields);
  }

  void finish() { progress_->finish(); }
  std::uint64_t step() const { return parameters_.run->step; }
  /// The log that the report is made from; empty when there is none.
  std::string log_file() const {
    if (!options_.log.empty() || options_.report.empty()) return options_.log;
    return (std::filesystem::path(options_.output) / "training_log.jsonl").string();
  }

 private:
  TrainingOptions options_;
  attune::ParameterList<B> parameters_;

 public:
  attune::AdamW<B> optimizer;

 private:
  std::int64_t steps_per_epoch_;

 public:
  attune::LrSchedule scheduler;

 private:
  attune::DataLoader* loader_;
  attune::TrainingCheckpoints<B> checkpoints_;
  std::optional<attune::JsonlLog> log_;
  std::unique_ptr<attune::ProgressBar> progress_;
  bool audited_ = false, resumed_ = false;
};

/// The loop itself. `loss_of(batch)` gives a batch's loss; `evaluate()` is called after each epoch.
template <class B, class Model, class LossOf, class Evaluate>
void train(TrainingRun<B>& run, Model& model, attune::DataLoader& loader, std::int64_t accumulate,
           const LossOf& loss_of, const Evaluate& evaluate) {
  std::vector<float> class_weights;
  if constexpr (requires { model.loss_options.class_weights; }) class_weights = model.loss_options.class_weights;
  while (run.goes_on()) {
    model.train();
    for (const auto& step : attune::accumulate(loader, accumulate, class_weights)) {
      run.optimizer.zero_grad();
      double loss = 0.0;
      std::int64_t tokens = 0;
      for (const auto& micro : step) {
        const auto part = loss_of(micro.batch);
        attune::backward(part, micro.weight);
        if (micro.weight > 0.0) loss += micro.weight * static_cast<double>(part.item());
        tokens += micro.batch.tokens();
      }
      run.step_with(loss, tokens);
    }
    evaluate();
  }
  run.finish();
}

/// Reports errors as one line and an exit status.
template <class F>
int run_example(const char* name, const F& f) {
  try {
    f();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}
