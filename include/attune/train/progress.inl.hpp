#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ios>
#include <ostream>
#include <utility>
#include <vector>

#include <sys/ioctl.h>
#include <unistd.h>

#include <attune/train/progress.hpp>

namespace attune {

namespace detail {

ATTUNE_INLINE std::string format_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) return "?";
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  const auto two = [](std::int64_t value) { return std::to_string(100 + value).substr(1); };
  const std::int64_t hours = whole / 3600;
  if (hours >= 48) return std::to_string(hours / 24) + " d " + std::to_string(hours % 24) + " h";
  if (hours > 0) return std::to_string(hours) + ":" + two(whole / 60 % 60) + ":" + two(whole % 60);
  return std::to_string(whole / 60) + ":" + two(whole % 60);
}

ATTUNE_INLINE std::string format_number(double value, bool scaled) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const char* unit = "";
  if (scaled)
    for (const char* next : {"k", "M", "G"})
      if (std::abs(value) >= 999.95) {
        value /= 1000;
        unit = next;
      }
  char digits[32];
  const auto end =
      std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::general, scaled ? 3 : 4);
  return std::string(digits, end.ptr) + unit;
}

inline bool can_redraw(std::FILE* out) {
  const char* kind = std::getenv("TERM");
  return isatty(fileno(out)) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

inline int terminal_width(std::FILE* out) {
  winsize size{};
  return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace detail

ATTUNE_INLINE ProgressBar::ProgressBar(std::function<void(std::string_view)> write, bool terminal, int width,
                                       std::int64_t total, const ProgressOptions& options)
    : write_(std::move(write)),
      options_(options),
      terminal_(options.terminal.value_or(terminal)),
      width_(options.width > 0 ? options.width : width),
      total_(total),
      done_(options.initial) {
  if (!options_.clock) options_.clock = detail::steady_seconds;
  started_ = shown_ = options_.clock();
}

ATTUNE_INLINE ProgressBar::ProgressBar(std::FILE* out, std::int64_t total, const ProgressOptions& options)
    : ProgressBar(
          [out](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), out);
            std::fflush(out);
          },
          detail::can_redraw(out), detail::terminal_width(out), total, options) {}

ATTUNE_INLINE ProgressBar::ProgressBar(std::ostream& out, std::int64_t total, const ProgressOptions& options)
    : ProgressBar(
          [&out](std::string_view text) {
            try {
              out << text << std::flush;
            } catch (const std::ios_base::failure&) {
              // A display that is gone must not end a training run.
            }
          },
          /*terminal=*/false, /*width=*/80, total, options) {}

ATTUNE_INLINE ProgressBar::~ProgressBar() {
  try {
    finish();
  } catch (...) {  // the user's clock threw, or memory ran out
    active_ = false;
  }
}

ATTUNE_INLINE double ProgressBar::elapsed() const { return options_.clock() - started_; }

ATTUNE_INLINE void ProgressBar::step(const ProgressValues& values) {
  if (!active_) return;
  ++done_;
  tokens_ += values.tokens;
  latest_ = values;
  const double interval = terminal_ ? options_.interval : options_.plain_interval;
  if (options_.clock() - shown_ >= interval || (terminal_ && !drawn_)) show(/*last=*/false);
}

ATTUNE_INLINE void ProgressBar::describe(std::string description) {
  options_.description = std::move(description);
}

ATTUNE_INLINE void ProgressBar::message(std::string_view line) {
  if (!active_) return;
  std::string text = drawn_ ? "\r\x1b[K" : "";  // to the line's begin, and clear it
  text += line;
  text += '\n';
  if (drawn_) text += bar_line();
  write_(text);
}

ATTUNE_INLINE void ProgressBar::finish() {
  if (!active_) return;
  show(/*last=*/true);
  active_ = false;
}

ATTUNE_INLINE void ProgressBar::show(bool last) {
  shown_ = options_.clock();
  if (!terminal_) {
    write_(plain_line(last) + "\n");
    return;
  }
  drawn_ = true;
  write_("\r" + bar_line() + "\x1b[K" + (last ? "\n" : ""));
}

ATTUNE_INLINE std::string ProgressBar::bar_line() const {
  const double seconds = elapsed();
  const auto steps = static_cast<double>(done_ - options_.initial);
  std::string counts = std::to_string(done_);
  std::string times = " " + detail::format_duration(seconds);
  if (total_ > 0) {
    counts += "/" + std::to_string(total_);
    if (steps > 0) {
      times += " <";
      times += detail::format_duration(seconds / steps *
                                       static_cast<double>(std::max<std::int64_t>(total_ - done_, 0)));
    }
  }
  std::vector<std::string> values;  // those that do not fit are left out, the last ones first
  if (latest_.loss) values.push_back("  loss " + detail::format_number(*latest_.loss));
  if (latest_.lr) values.push_back("  lr " + detail::format_number(*latest_.lr));
  if (tokens_ > 0 && seconds > 0)
    values.push_back("  " + detail::format_number(static_cast<double>(tokens_) / seconds, /*scaled=*/true) +
                     " tok/s");
  if (steps > 0 && seconds > 0) values.push_back("  " + detail::format_number(steps / seconds) + " it/s");

  std::string head = options_.description.empty() ? "" : options_.description + " ";
  std::string tail = " " + counts + times;
  constexpr std::size_t narrowest_bar = 10, widest_bar = 40;
  const std::size_t brackets = total_ > 0 ? 7 : 0;                       // "100% []"
  const auto room = static_cast<std::size_t>(std::max(width_ - 1, 20));  // a full last column would wrap
  const std::size_t bar = total_ > 0 ? narrowest_bar : 0;
  for (const std::string& value : values) {
    if (head.size() + brackets + bar + tail.size() + value.size() > room) break;
    tail += value;
  }
  std::string line = head;
  const std::size_t used = head.size() + brackets + tail.size();
  if (total_ > 0 && used + 3 <= room) {
    const double share = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
    const std::size_t cells = std::min(room - used, widest_bar);
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(cells));
    const std::string percent = std::to_string(static_cast<int>(share * 100));
    line += std::string(3 - percent.size(), ' ') + percent + "% [" + std::string(filled, '=');
    if (filled < cells) line += ">" + std::string(cells - filled - 1, ' ');
    line += "]";
  }
  line += tail;
  if (line.size() > room) {
    std::size_t end = room;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80)
      --end;  // not inside a character
    line.resize(end);
  }
  return line;
}

ATTUNE_INLINE std::string ProgressBar::plain_line(bool last) const {
  const double seconds = elapsed();
  const auto steps = static_cast<double>(done_ - options_.initial);
  std::string line = options_.description.empty() ? "" : options_.description + ": ";
  line += "step " + std::to_string(done_);
  if (total_ > 0)
    line +=
        "/" + std::to_string(total_) + " (" +
        std::to_string(static_cast<int>(100.0 * static_cast<double>(done_) / static_cast<double>(total_))) +
        "%)";
  if (latest_.loss) line += ", loss " + detail::format_number(*latest_.loss);
  if (latest_.lr) line += ", lr " + detail::format_number(*latest_.lr);
  if (tokens_ > 0 && seconds > 0)
    line +=
        ", " + detail::format_number(static_cast<double>(tokens_) / seconds, /*scaled=*/true) + " tokens/s";
  line += ", " + detail::format_duration(seconds) + (last ? " in all" : " so far");
  if (!last && total_ > done_ && steps > 0)
    line += ", " + detail::format_duration(seconds / steps * static_cast<double>(total_ - done_)) + " left";
  return line;
}

}  // namespace attune
