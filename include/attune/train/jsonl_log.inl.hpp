#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/train/jsonl_log.hpp>

namespace attune {

ATTUNE_INLINE LogValue::LogValue(float value) {
  char digits[32];
  double parsed = value;
  if (std::isfinite(value))
    std::from_chars(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr, parsed);
  value_ = parsed;
}

namespace detail {

/// The length of the part of a log that a run which goes on after `step` keeps.
inline std::size_t kept_log(std::string_view log, std::int64_t step) {
  std::size_t kept = 0;
  for (;;) {
    const std::size_t end = log.find('\n', kept);
    if (end == std::string_view::npos) return kept;
    const std::string_view line = log.substr(kept, end - kept);
    const auto object = nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return kept;
    const auto found = object.find("step");
    if (found != object.end() && found->is_number() && found->get<double>() > static_cast<double>(step))
      return kept;
    kept = end + 1;
  }
}

}  // namespace detail

ATTUNE_INLINE JsonlLog::JsonlLog(const std::string& file, const JsonlLogOptions& options) : file_(file) {
  const bool resume = options.resume_after_step && std::filesystem::exists(file);
  if (resume) {
    const std::string old = read_text_file(file);
    std::error_code failure;
    std::filesystem::resize_file(file, detail::kept_log(old, *options.resume_after_step), failure);
    if (failure) throw IoError(file, "cannot be cut to the step that is resumed: " + failure.message());
  }
  stream_.reset(std::fopen(file.c_str(), resume ? "ab" : "wb"));
  if (!stream_) throw IoError(file, "cannot be opened for writing");
}

ATTUNE_INLINE void JsonlLog::write(std::span<const LogField> fields) {
  auto object = nlohmann::ordered_json::object();
  for (const LogField& field : fields)
    std::visit([&](const auto& value) { object[std::string(field.name)] = value; }, field.value.get());
  const std::string line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const bool written = std::fwrite(line.data(), 1, line.size(), stream_.get()) == line.size();
  if (!written || std::fflush(stream_.get()) != 0) throw IoError(file_, "cannot be written");
}

}  // namespace attune
