#pragma once

#include <concepts>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

/// A number, a truth value or a text. A float is written with a float's digits: 0.1f as 0.1.
class LogValue {
 public:
  template <std::integral Integer>
  LogValue(Integer value) {  // NOLINT: fields read {"step", 3}
    if constexpr (std::same_as<Integer, bool>)
      value_ = value;
    else if constexpr (std::is_signed_v<Integer>)
      value_ = static_cast<std::int64_t>(value);
    else
      value_ = static_cast<std::uint64_t>(value);
  }
  LogValue(float value);                                            // NOLINT
  LogValue(double value) : value_(value) {}                         // NOLINT
  LogValue(const char* value) : value_(std::string(value)) {}       // NOLINT
  LogValue(std::string_view value) : value_(std::string(value)) {}  // NOLINT
  LogValue(std::string value) : value_(std::move(value)) {}         // NOLINT

  const auto& get() const { return value_; }

 private:
  std::variant<bool, std::int64_t, std::uint64_t, double, std::string> value_;
};

struct LogField {
  std::string_view name;
  LogValue value;
};

struct JsonlLogOptions {
  /// Unset: an old file is replaced. Set: the run goes on after this step; the old file's lines are kept up
  /// to the first one of a later "step" (or the first broken one, which a killed run may leave), and new
  /// lines follow them.
  std::optional<std::int64_t> resume_after_step = {};
};

/// A file with one JSON object for each step of a run, complete after each write.
///
///     JsonlLog log("run.jsonl");
///     log.write({{"step", step}, {"loss", loss}, {"lr", lr}});
class JsonlLog {
 public:
  /// Throws IoError.
  explicit JsonlLog(const std::string& file, const JsonlLogOptions& options = {});
  JsonlLog(JsonlLog&&) noexcept = default;
  JsonlLog& operator=(JsonlLog&&) noexcept = default;

  /// Appends a line with the fields in this order and hands it to the operating system. What JSON cannot say
  /// becomes null (infinities, NaN) or U+FFFD (ill-formed UTF-8). Throws IoError.
  void write(std::span<const LogField> fields);
  void write(std::initializer_list<LogField> fields) { write(std::span(fields.begin(), fields.size())); }

 private:
  struct Close {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
  };
  std::string file_;
  std::unique_ptr<std::FILE, Close> stream_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/jsonl_log.inl.hpp>
#endif
