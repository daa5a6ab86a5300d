#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

/// What parse_json accepts. The defaults hold every configuration and tokenizer file in use with room to
/// spare and bound the memory that a hostile file can take.
struct JsonReadOptions {
  std::size_t max_bytes = std::size_t{128} << 20;
  int max_depth = 64;
  std::size_t max_values = 4'000'000;
  /// Two readers may disagree about which of two equal keys counts, so a file that has them is refused. When
  /// allowed, the last one counts, as in Python.
  bool allow_duplicate_keys = false;
};

struct JsonWriteOptions {
  /// Spaces per level; -1 writes one line.
  int indent = 2;
  /// Writes every character above 0x7f as an escape.
  bool ascii = false;
};

/// Parses a text. `name` is the file it came from, for messages. Throws FormatError with the byte offset.
nlohmann::json parse_json(std::string_view text, const std::string& name,
                          const JsonReadOptions& options = {});
/// Reads and parses a file. Throws IoError or FormatError.
nlohmann::json read_json(const std::string& path, const JsonReadOptions& options = {});

/// Writes integers as integers and floats with the fewest digits that read back as the same double. Throws
/// ConfigError for what JSON cannot hold (NaN, infinity, text that is not UTF-8) or nesting deeper than 64.
std::string dump_json(const nlohmann::json& value, const JsonWriteOptions& options = {});
/// dump_json and a final newline, written atomically.
void write_json(const std::string& path, const nlohmann::json& value, const JsonWriteOptions& options = {});

/// The double nearest to the shortest decimal that reads back as `value`: 0.1f becomes 0.1, not
/// 0.10000000149011612.
double shortest_decimal(float value);

/// A JSON object whose fields are read by type. Every complaint is a ConfigError that names the file and the
/// field: "config.json: hidden_size: expected an integer, found a string". Copies share one immutable value.
///
///     auto config = JsonObject::read(dir + "/config.json");
///     auto hidden_size = config.get<int>("hidden_size");         // must be there
///     auto layer_norm_eps = config.get("layer_norm_eps", 1e-12);  // absent or null: the fallback
///
/// Field types: bool, int, std::int64_t, float, double, std::string, vectors of std::string, std::int64_t and
/// double, maps from std::string to std::string and std::int64_t. An integer may be read as a float, never
/// the reverse.
class JsonObject {
 public:
  /// Throws FormatError when the file is not JSON or its top is not an object.
  static JsonObject read(const std::string& path, const JsonReadOptions& options = {});
  static JsonObject parse(std::string_view text, const std::string& name,
                          const JsonReadOptions& options = {});
  /// `where` begins every message. Throws ConfigError when `value` is not an object.
  JsonObject(nlohmann::json value, std::string where);

  /// Whether the field is there and not null.
  bool has(std::string_view key) const;

  template <class T>
  T get(std::string_view key) const {
    T value{};
    if (!load(key, value)) throw_missing(key);
    return value;
  }
  template <class T>
  T get(std::string_view key, T fallback) const {
    load(key, fallback);
    return fallback;
  }
  std::string get(std::string_view key, const char* fallback) const {
    return get(key, std::string(fallback));
  }
  /// Nothing when the field is absent or null.
  template <class T>
  std::optional<T> find(std::string_view key) const {
    T value{};
    if (!load(key, value)) return std::nullopt;
    return value;
  }
  /// A field that is itself an object; "config.json: rope_scaling" then begins its messages.
  JsonObject object(std::string_view key) const;

  const nlohmann::json& json() const { return *value_; }
  const std::string& where() const { return where_; }
  /// For a field whose value is not allowed: ConfigError("<where>: <key>: <what>").
  [[noreturn]] void refuse(std::string_view key, const std::string& what) const;

 private:
  JsonObject(std::shared_ptr<const nlohmann::json> value, std::string where)
      : value_(std::move(value)), where_(std::move(where)) {}

  bool load(std::string_view key, bool& value) const;
  bool load(std::string_view key, int& value) const;
  bool load(std::string_view key, std::int64_t& value) const;
  bool load(std::string_view key, float& value) const;
  bool load(std::string_view key, double& value) const;
  bool load(std::string_view key, std::string& value) const;
  bool load(std::string_view key, std::vector<std::string>& value) const;
  bool load(std::string_view key, std::vector<std::int64_t>& value) const;
  bool load(std::string_view key, std::vector<double>& value) const;
  bool load(std::string_view key, std::map<std::string, std::string>& value) const;
  bool load(std::string_view key, std::map<std::string, std::int64_t>& value) const;
  template <class T>
  bool load_field(std::string_view key, T& value) const;
  [[noreturn]] void throw_missing(std::string_view key) const;

  std::shared_ptr<const nlohmann::json> value_;
  std::string where_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/json.inl.hpp>
#endif
