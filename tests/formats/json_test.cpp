#include <attune/formats/json.hpp>
#include <attune/formats/json_writer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "format_tools.hpp"

using namespace attune;
using namespace attune_test;

namespace {

JsonObject config() {
  return JsonObject::parse(R"({"hidden_size": 384, "eps": 1e-12, "act": "gelu", "tied": true, "nothing": null,
      "negative": -3, "wide": 5000000000, "unsigned": 18446744073709551615, "huge": 1e300,
      "labels": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}, "architectures": ["Bert", "x"],
      "sizes": [1, 2], "fractions": [1, 2.5], "scaling": {"factor": 2.0}})",
                           "config.json");
}

}  // namespace

TEST_CASE("JsonObject reads fields by type") {
  const JsonObject object = config();
  CHECK(object.get<int>("hidden_size") == 384);
  CHECK(object.get<std::int64_t>("wide") == 5000000000);
  CHECK(object.get("eps", 1.0) == 1e-12);
  CHECK(object.get<double>("hidden_size") == 384.0);
  CHECK(object.get<float>("eps") == 1e-12f);
  CHECK(object.get("act", "relu") == "gelu");
  CHECK(object.get("absent", "relu") == "relu");
  CHECK(object.get("absent", 7) == 7);
  CHECK(object.get("nothing", 7) == 7);
  CHECK(object.get<bool>("tied"));
  CHECK(object.get<std::vector<std::string>>("architectures") == std::vector<std::string>{"Bert", "x"});
  CHECK(object.get<std::vector<std::int64_t>>("sizes") == std::vector<std::int64_t>{1, 2});
  CHECK(object.get<std::vector<double>>("fractions") == std::vector<double>{1, 2.5});
  CHECK(object.get<std::map<std::string, std::string>>("labels").at("1") == "good");
  CHECK(object.get<std::map<std::string, std::int64_t>>("label2id").at("good") == 1);
  CHECK(object.find<int>("absent") == std::nullopt);
  CHECK(object.find<int>("negative") == -3);
  CHECK(object.has("act"));
  CHECK_FALSE(object.has("nothing"));
  CHECK_FALSE(object.has("absent"));
  CHECK(object.object("scaling").get<double>("factor") == 2.0);
}

TEST_CASE("JsonObject complains by file and field") {
  const JsonObject object = config();
  CHECK(error_of([&] { object.get<int>("act"); }) ==
        "ConfigError: config.json: act: expected an integer, found a string");
  CHECK(error_of([&] { object.get("hidden_size", "gelu"); }) ==
        "ConfigError: config.json: hidden_size: expected a string, found the integer 384");
  CHECK(error_of([&] { object.get("eps", 1); }) ==
        "ConfigError: config.json: eps: expected an integer, found the number 1e-12");
  CHECK(
      error_of([&] { object.get<int>("wide"); }) ==
      "ConfigError: config.json: wide: expected an integer of at most 32 bits, found the integer 5000000000");
  CHECK(error_of([&] { object.get<std::int64_t>("unsigned"); }).find("at most 64 bits") != std::string::npos);
  CHECK(error_of([&] { object.get<float>("huge"); }).find("in float's range") != std::string::npos);
  CHECK(error_of([&] { object.get<int>("tied"); }) ==
        "ConfigError: config.json: tied: expected an integer, found a boolean");
  CHECK(error_of([&] { object.get<bool>("hidden_size"); }).find("expected a boolean") != std::string::npos);
  CHECK(error_of([&] { object.get<std::vector<std::int64_t>>("fractions"); }) ==
        "ConfigError: config.json: fractions: expected an array of integers, found an array");
  CHECK(error_of([&] { object.get<std::map<std::string, std::string>>("label2id"); }) ==
        "ConfigError: config.json: label2id: expected an object of strings, found an object");
  CHECK(error_of([&] { object.get<int>("absent"); }) ==
        "ConfigError: config.json: absent: this field is required and missing");
  CHECK(error_of([&] { object.get<int>("nothing"); }) ==
        "ConfigError: config.json: nothing: this field is required, found null");
  CHECK(error_of([&] { object.object("act"); }) ==
        "ConfigError: config.json: act: expected an object, found a string");
  CHECK(error_of([&] { object.object("scaling").get<int>("factor"); }) ==
        "ConfigError: config.json: scaling: factor: expected an integer, found the number 2.0");
  CHECK(error_of([&] { object.refuse("act", "\"swish\" is not supported"); }) ==
        "ConfigError: config.json: act: \"swish\" is not supported");
  CHECK(error_of([] { JsonObject(nlohmann::json(3), "x"); }) ==
        "ConfigError: x: expected an object, found the integer 3");
  CHECK(error_of([] { JsonObject::parse("[]", "x.json"); }) ==
        "FormatError: x.json at 0: expected an object, found an array");
}

TEST_CASE("parse_json keeps values, counts bytes and bounds depth, size and number of values") {
  const nlohmann::json value =
      parse_json(R"([1, -2, 2.5, "é\n", {"a": [], "b": {"c": null}}, true])", "x.json");
  CHECK(value.dump() == R"([1,-2,2.5,"é\n",{"a":[],"b":{"c":null}},true])");

  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']');
  };
  CHECK(parse_json(nested(64), "x.json").size() == 1);
  CHECK(error_of([&] { parse_json(nested(65), "x.json"); }) ==
        "FormatError: x.json at 65: nested deeper than 64 levels");
  CHECK(error_of([&] { parse_json("[1,2,3]", "x.json", {.max_values = 3}); }).find("more than 3 values") !=
        std::string::npos);
  CHECK(error_of([&] {
          parse_json("[1,2,3]", "x.json", {.max_bytes = 6});
        }).find("at most 6 bytes, found 7") != std::string::npos);
  CHECK(error_of([&] { parse_json(R"({"a": 1, "a": 2})", "x.json"); }) ==
        "FormatError: x.json at 12: duplicate key \"a\"");
  CHECK(parse_json(R"({"a": 1, "a": 2})", "x.json", {.allow_duplicate_keys = true})["a"] == 2);
}

TEST_CASE("a hostile JSON text takes little time and memory") {
  const AllocationCap cap(std::size_t{64} << 20);
  CHECK(error_of([] { parse_json(std::string(1 << 20, '['), "x.json"); }).find("nested deeper") !=
        std::string::npos);
  std::string flat = "[";
  for (int i = 0; i < (1 << 20); ++i) flat += "{},";
  CHECK(error_of([&] { parse_json(flat, "x.json", {.max_values = 1000}); }).find("more than 1000") !=
        std::string::npos);
  const std::string error = error_of([] { parse_json('"' + std::string(1 << 20, 'a'), "x.json"); });
  CHECK(error.find("not valid JSON") != std::string::npos);
  CHECK(error.size() < 500);  // the token is not quoted whole
}

TEST_CASE("dump_json keeps integers integers and floats exact") {
  nlohmann::json value;
  value["count"] = 768;
  value["eps"] = 1e-12;
  value["rate"] = shortest_decimal(0.1f);
  value["third"] = 1.0 / 3.0;
  value["two"] = 2.0;
  value["text"] = "é";
  CHECK(dump_json(value, {.indent = -1}) ==
        R"({"count":768,"eps":1e-12,"rate":0.1,"text":"é","third":0.3333333333333333,"two":2.0})");
  CHECK(dump_json(value["text"], {.indent = -1, .ascii = true}) == "\"\\u00e9\"");
  for (const double number : {0.1, 1e300, 5e-324, 123456789.123456789, -1.0 / 3.0, 1e21, 0.00001}) {
    const nlohmann::json back = parse_json(dump_json(nlohmann::json(number)), "x.json");
    CHECK(back.is_number_float());
    CHECK(back.get<double>() == number);
  }
  for (const float number : {0.1f, 3e-5f, 1.1754944e-38f, 16777216.0f, -0.3f})
    CHECK(static_cast<float>(shortest_decimal(number)) == number);

  const TemporaryDirectory directory;
  write_json(directory.path("config.json"), value);
  CHECK(read_json(directory.path("config.json")) == value);
  CHECK(read_text_file(directory.path("config.json")).ends_with("}\n"));
}

TEST_CASE("dump_json refuses what JSON cannot hold") {
  nlohmann::json value;
  value["loss"]["steps"] = {1.0, std::nan("")};
  CHECK(error_of([&] { dump_json(value); }) ==
        "ConfigError: dump_json: loss.steps[1]: JSON has no NaN or infinity");
  CHECK(error_of([] { dump_json(nlohmann::json("\xff")); }) ==
        "ConfigError: dump_json: a text is not valid UTF-8");
  nlohmann::json deep;
  for (int i = 0; i < 100; ++i) deep = nlohmann::json::array({deep});
  CHECK(error_of([&] { dump_json(deep); }).find("nested too deeply") != std::string::npos);
}

TEST_CASE("JsonWriter writes as dump_json does and keeps the order") {
  const std::string odd = "a\"b\\c\n\x01\x7f h\xc3\xa9 \xf0\x9f\x98\x80";
  for (const int indent : {-1, 0, 2}) {
    detail::JsonWriter json(indent);
    json.begin_object();
    json.begin_array("a");
    json.end_array();
    json.begin_array("b");
    json.integer({}, std::int64_t{-3});
    json.begin_object();
    json.end_object();
    json.begin_array();
    json.null({});
    json.boolean({}, false);
    json.end_array();
    json.string({}, odd);
    json.end_array();
    json.begin_object("b" + odd);
    json.integer("big", std::numeric_limits<std::uint64_t>::max());
    json.number("half", 0.5);
    json.number("huge", 1e30);
    json.null("nothing");
    json.number("three", 3.0);
    json.end_object();
    json.boolean("c", true);
    json.end_object();
    const std::string text = json.take();
    const nlohmann::json back = parse_json(text, "written");
    CHECK(back.at("b").at(3) == odd);
    CHECK(back.at("b" + odd).at("nothing").is_null());
    CHECK(text == dump_json(back, {.indent = indent}));  // the names above are sorted
  }
  detail::JsonWriter unsorted(-1);
  unsorted.begin_object();
  unsorted.integer("b", std::int64_t{1});
  unsorted.integer("a", std::int64_t{2});
  unsorted.end_object();
  CHECK(unsorted.take() == R"({"b":1,"a":2})");
}

TEST_CASE("JsonWriter refuses or replaces what JSON cannot hold") {
  detail::JsonWriter refusing(2);
  CHECK(error_of([&] { refusing.string({}, "a\xff"); }) ==
        "ConfigError: cannot write JSON: a text is not valid UTF-8");
  detail::JsonWriter replacing(2, detail::JsonWriter::Unwritable::replace);
  replacing.string({}, "a\xff");
  CHECK(replacing.take() == "\"a\xef\xbf\xbd\"");
  CHECK(error_of([&] { refusing.number({}, std::nan("")); }).find("NaN") != std::string::npos);
  detail::JsonWriter infinite(2, detail::JsonWriter::Unwritable::replace);
  infinite.number({}, -std::numeric_limits<double>::infinity());
  CHECK(infinite.take() == "null");
}
