#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include <attune/core/inline.hpp>

namespace attune {

struct ProgressOptions {
  std::string description = {};        ///< stands before the numbers, such as "epoch 1/3"
  std::int64_t initial = 0;            ///< steps that were done before, by the run that is resumed
  std::optional<bool> terminal = {};   ///< draws a bar; unset: whether the stream is a terminal that can
  double interval = 0.1;               ///< seconds between two drawings of the bar
  double plain_interval = 10;          ///< seconds between two lines when there is no terminal
  int width = 0;                       ///< columns; 0 asks the terminal, and takes 80 when it does not say
  std::function<double()> clock = {};  ///< seconds from any origin; unset: the steady clock
};

/// What a step has to show; what is unset is not shown.
struct ProgressValues {
  std::optional<double> loss = {};
  std::optional<double> lr = {};
  std::int64_t tokens = 0;  ///< tokens of this step, for the tokens a second
};

/// Shows how far a loop is: on a terminal a bar that is drawn again in place, elsewhere (a file, a pipe, CI)
/// a plain line now and then. It writes to the given stream alone and never throws for a stream that does not
/// take it.
///
///     ProgressBar progress(stderr, loader.size() * epochs);
///     for (const auto& batch : loader) { ...; progress.step({.loss = loss, .lr = lr, .tokens =
///     batch.tokens()}); } progress.finish();
class ProgressBar {
 public:
  /// `total` steps make the whole; 0 when unknown. The stream must outlive the bar.
  ProgressBar(std::FILE* out, std::int64_t total, const ProgressOptions& options = {});
  /// A stream counts as no terminal unless the options say so.
  ProgressBar(std::ostream& out, std::int64_t total, const ProgressOptions& options = {});
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// finish().
  ~ProgressBar();

  /// One more step is done.
  void step(const ProgressValues& values = {});
  /// Shows another description from now on.
  void describe(std::string description);
  /// Writes a line of its own above the bar.
  void message(std::string_view line);
  /// Shows the end and leaves the line. Nothing is written afterwards.
  void finish();

 private:
  ProgressBar(std::function<void(std::string_view)> write, bool terminal, int width, std::int64_t total,
              const ProgressOptions& options);
  void show(bool last);
  std::string bar_line() const;
  std::string plain_line(bool last) const;
  double elapsed() const;

  std::function<void(std::string_view)> write_;
  ProgressOptions options_;
  bool terminal_;
  int width_;
  std::int64_t total_;
  std::int64_t done_;
  std::int64_t tokens_ = 0;
  ProgressValues latest_;
  double started_;
  double shown_;        // when
  bool drawn_ = false;  // a bar stands on the line
  bool active_ = true;
};

namespace detail {
/// "1:05", "2:03:04", "3 d 4 h".
std::string format_duration(double seconds);
/// Four significant digits whatever the locale, with k, M or G from a thousand on when `scaled`.
std::string format_number(double value, bool scaled = false);
}  // namespace detail

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/progress.inl.hpp>
#endif
