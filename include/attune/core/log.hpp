#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace attune {

enum class LogLevel { info, warning };

/// Receives the library's messages (load reports, truncation counts). The library itself prints nothing.
using LogSink = std::function<void(LogLevel, std::string_view)>;

namespace detail {
struct LogState {
  std::mutex mutex;
  LogSink sink;
};
inline LogState& log_state() {
  static LogState state;
  return state;
}
}  // namespace detail

/// Replaces the sink; an empty one (the default) drops messages. Calls to the sink are serialised.
inline void set_log_sink(LogSink sink) {
  const std::lock_guard lock(detail::log_state().mutex);
  detail::log_state().sink = std::move(sink);
}

inline void log(LogLevel level, std::string_view message) {
  const std::lock_guard lock(detail::log_state().mutex);
  if (detail::log_state().sink) detail::log_state().sink(level, message);
}

}  // namespace attune
