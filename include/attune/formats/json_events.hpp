#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune::detail {

/// A receiver of parse events: what JSON texts are read through when a general value would not do. A receiver
/// that does not like an event throws. One abstract class, so that the parser is compiled for one receiver.
class JsonEvents {
 public:
  /// `base` is where in the file the text begins.
  explicit JsonEvents(std::string name, std::int64_t base = 0) : name_(std::move(name)), base_(base) {}
  JsonEvents(const JsonEvents&) = delete;
  JsonEvents& operator=(const JsonEvents&) = delete;

  virtual void null() = 0;
  virtual void boolean(bool value) = 0;
  virtual void number_integer(std::int64_t value) = 0;    ///< a negative one
  virtual void number_unsigned(std::uint64_t value) = 0;  ///< an integer from 0
  virtual void number_float(double value) = 0;            ///< finite
  virtual void string(std::string& value) = 0;            ///< may be moved from, as may a key
  virtual void start_object() = 0;
  virtual void key(std::string& name) = 0;
  virtual void end_object() = 0;
  virtual void start_array() = 0;
  virtual void end_array() = 0;

  /// Throws FormatError with the place that the parser has reached.
  [[noreturn]] void fail(const std::string& what) const { fail_at(position_, what); }
  [[noreturn]] void fail_at(std::int64_t position, const std::string& what) const {
    throw FormatError(name_, base_ + position, what);
  }

 protected:
  ~JsonEvents() = default;

 private:
  friend void parse_json_events(std::string_view text, JsonEvents& events);

  std::string name_;
  std::int64_t base_;
  std::int64_t position_ = 0;
};

/// Sends the events of `text` to `events`. Throws FormatError for what is not JSON. The parser keeps its
/// state on the heap, so no nesting overflows the stack.
void parse_json_events(std::string_view text, JsonEvents& events);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/json_events.inl.hpp>
#endif
