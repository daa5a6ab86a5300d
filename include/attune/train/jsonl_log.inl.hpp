#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/core/file.hpp>
#include <attune/formats/json.hpp>
#include <attune/formats/json_writer.hpp>
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
    try {
      const JsonObject object = JsonObject::parse(line, "a line", {.allow_duplicate_keys = true});
      const auto found = object.json().find("step");
      if (found != object.json().end() && found->is_number() &&
          found->get<double>() > static_cast<double>(step))
        return kept;
    } catch (const FormatError&) {
      return kept;
    }
    kept = end + 1;
  }
}

ATTUNE_INLINE void write_log_value(JsonWriter& json, std::string_view name, const LogValue& value) {
  const auto& held = value.get();
  if (const bool* truth = std::get_if<bool>(&held))
    json.boolean(name, *truth);
  else if (const std::int64_t* integer = std::get_if<std::int64_t>(&held))
    json.integer(name, *integer);
  else if (const std::uint64_t* integer = std::get_if<std::uint64_t>(&held))
    json.integer(name, *integer);
  else if (const double* number = std::get_if<double>(&held))
    json.number(name, *number);
  else
    json.string(name, std::get<std::string>(held));
}

}  // namespace detail

ATTUNE_INLINE JsonlLog::JsonlLog(const std::string& file, const JsonlLogOptions& options) : file_(file) {
  const bool resume = options.resume_after_step && file_exists(file);
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
  detail::JsonWriter json(-1, detail::JsonWriter::Unwritable::replace);
  json.begin_object();
  for (const LogField& field : fields) {
    // Of fields with one name the first gives the place and the last the value.
    const auto same = [&](const LogField& other) { return other.name == field.name; };
    if (&*std::find_if(fields.begin(), fields.end(), same) != &field) continue;
    detail::write_log_value(json, field.name, std::find_if(fields.rbegin(), fields.rend(), same)->value);
  }
  json.end_object();
  const std::string line = json.take() + "\n";
  const bool written = std::fwrite(line.data(), 1, line.size(), stream_.get()) == line.size();
  if (!written || std::fflush(stream_.get()) != 0) throw IoError(file_, "cannot be written");
}

}  // namespace attune
