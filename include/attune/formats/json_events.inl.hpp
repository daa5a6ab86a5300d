#pragma once

#include <cstddef>
#include <exception>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include <attune/formats/json_events.hpp>

namespace attune::detail {

/// Walks over a text and keeps `position` up to date, since the parser's events carry no offset.
class JsonTextIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  JsonTextIterator() = default;
  JsonTextIterator(const char* at, std::int64_t* position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  JsonTextIterator& operator++() {
    ++at_;
    ++*position_;
    return *this;
  }
  JsonTextIterator operator++(int) {
    JsonTextIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const JsonTextIterator& a, const JsonTextIterator& b) { return a.at_ == b.at_; }
  friend bool operator!=(const JsonTextIterator& a, const JsonTextIterator& b) { return a.at_ != b.at_; }

 private:
  const char* at_ = nullptr;
  std::int64_t* position_ = nullptr;
};

/// Hands the parser's events on.
class JsonEventsAdapter {
 public:
  using Json = nlohmann::json;

  explicit JsonEventsAdapter(JsonEvents& events) : events_(events) {}

  bool null() { return events_.null(), true; }
  bool boolean(bool value) { return events_.boolean(value), true; }
  bool number_integer(Json::number_integer_t value) { return events_.number_integer(value), true; }
  bool number_unsigned(Json::number_unsigned_t value) { return events_.number_unsigned(value), true; }
  bool number_float(Json::number_float_t value, const std::string&) {
    return events_.number_float(value), true;
  }
  bool string(std::string& value) { return events_.string(value), true; }
  bool binary(Json::binary_t&) { return false; }  // not in JSON texts
  bool start_object(std::size_t) { return events_.start_object(), true; }
  bool key(std::string& name) { return events_.key(name), true; }
  bool end_object() { return events_.end_object(), true; }
  bool start_array(std::size_t) { return events_.start_array(), true; }
  bool end_array() { return events_.end_array(), true; }
  // The messages begin with a code in brackets and may quote a token of any length.
  bool parse_error(std::size_t offset, const std::string&, const std::exception& error) {
    std::string what = error.what();
    if (const std::size_t bracket = what.find("] "); bracket != std::string::npos) what.erase(0, bracket + 2);
    constexpr std::size_t longest = 300;
    if (what.size() > longest) what = what.substr(0, longest) + "...";
    events_.fail_at(static_cast<std::int64_t>(offset), "not valid JSON: " + what);
  }

 private:
  JsonEvents& events_;
};

ATTUNE_INLINE void parse_json_events(std::string_view text, JsonEvents& events) {
  // The parser takes a zero byte for the end of the text and would not look at what follows.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos)
    events.fail_at(static_cast<std::int64_t>(zero), "not valid JSON: a zero byte");
  events.position_ = 0;
  JsonEventsAdapter adapter(events);
  // json::sax_parse() would do the same and compile the readers of four binary formats as well.
  auto source =
      nlohmann::detail::input_adapter(JsonTextIterator(text.data(), &events.position_),
                                      JsonTextIterator(text.data() + text.size(), &events.position_));
  nlohmann::detail::parser<nlohmann::json, decltype(source)>(std::move(source)).sax_parse(&adapter);
}

}  // namespace attune::detail
