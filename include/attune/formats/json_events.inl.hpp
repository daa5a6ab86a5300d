#pragma once

#include <cstddef>
#include <exception>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>

namespace attune::detail {

/// What every receiver of parse events has in common: the text's name and how far the parser has read.
class JsonEvents {
 public:
  /// `base` is where in the file the text begins.
  JsonEvents(std::string_view text, const std::string& name, std::int64_t base = 0)
      : begin_(text.data()), position_(begin_), base_(base), name_(name) {}

  std::int64_t offset() const { return base_ + (position_ - begin_); }
  [[noreturn]] void fail(const std::string& what) const { throw FormatError(name_, offset(), what); }

  // Called by the parser. Its messages begin with a code in brackets and may quote a token of any length.
  bool parse_error(std::size_t offset, const std::string&, const std::exception& error) const {
    std::string what = error.what();
    if (const std::size_t bracket = what.find("] "); bracket != std::string::npos) what.erase(0, bracket + 2);
    constexpr std::size_t longest = 300;
    if (what.size() > longest) what = what.substr(0, longest) + "...";
    throw FormatError(name_, base_ + static_cast<std::int64_t>(offset), "not valid JSON: " + what);
  }

  /// Walks over the text and keeps `position_` up to date, since events carry no offset.
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    Iterator() = default;
    Iterator(const char* at, const char** position) : at_(at), position_(position) {}
    reference operator*() const { return *at_; }
    Iterator& operator++() {
      *position_ = ++at_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.at_ == b.at_; }
    friend bool operator!=(const Iterator& a, const Iterator& b) { return a.at_ != b.at_; }

   private:
    const char* at_ = nullptr;
    const char** position_ = nullptr;
  };

  Iterator iterator(const char* at) { return {at, &position_}; }

 private:
  const char* begin_;
  const char* position_;
  std::int64_t base_;
  std::string name_;
};

/// Sends the events of `text` to `events`, which derives from JsonEvents and throws when it does not like
/// one. The parser keeps its state on the heap, so no nesting overflows the stack.
template <class Events>
void parse_json_events(std::string_view text, Events& events) {
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos)
    events.parse_error(zero, "", std::runtime_error("a zero byte"));
  nlohmann::json::sax_parse(events.iterator(text.data()), events.iterator(text.data() + text.size()),
                            &events);
}

}  // namespace attune::detail
