#include "corpus.hpp"

// The broken safetensors files, JSON texts and indices.

namespace attune_test {

std::vector<BrokenFile> broken_safetensors() {
  std::vector<BrokenFile> files;
  const auto raw = [&](const std::string& name, const std::string& bytes, const std::string& message) {
    files.push_back({"safetensors: " + name, Reader::safetensors, bytes, "FormatError", message});
  };
  const auto header = [&](const std::string& name, const std::string& text, std::size_t data,
                          const std::string& message) { raw(name, safetensors_bytes(text, data), message); };
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };

  raw("empty", "", "too short for a safetensors file: 0 bytes");
  raw("seven bytes", "1234567", "too short for a safetensors file: 7 bytes");
  raw("no header", bytes_of<std::uint64_t>(0), "does not begin with {");
  raw("header longer than the file", bytes_of<std::uint64_t>(100) + "{}", "does not fit in the file of 10");
  raw("header one byte too long", bytes_of<std::uint64_t>(3) + "{}", "the header of 3 bytes does not fit");
  raw("header of 2^64 - 1 bytes", bytes_of<std::uint64_t>(~std::uint64_t{0}) + "{}", "at most 100 MB");
  raw("header of 2^63 bytes", bytes_of<std::uint64_t>(std::uint64_t{1} << 63) + "{}", "at most 100 MB");
  raw("header of 2^64 - 8 bytes", bytes_of<std::uint64_t>(~std::uint64_t{7}) + "{}", "at most 100 MB");
  raw("header just above 100 MB", bytes_of<std::uint64_t>(100000001) + "{}", "at most 100 MB");
  raw("a pickle", std::string("\x80\x02}q\0.   ", 9), "at most 100 MB");
  header("begins with a space", " {}", 0, "does not begin with {");
  header("an array", "[]", 0, "does not begin with {");
  header("not JSON", "{hello}", 0, "not valid JSON");
  header("unfinished", R"({"a":)", 0, "not valid JSON");
  header("text after the object", "{} x", 0, "not valid JSON");
  header("invalid UTF-8", "{\"\xff\":1}", 0, "not valid JSON");
  header("zero bytes as padding", std::string("{}\0\0", 4), 0, "not valid JSON");
  header("a tensor that is a number", R"({"a":1})", 0, "\"a\": expected an object, found a number");
  header("a tensor that is null", R"({"a":null})", 0, "\"a\": expected an object, found null");
  header("a tensor that is a string", R"({"a":"b"})", 0, "\"a\": expected an object, found a string");
  header("a tensor that is an array", R"({"a":[]})", 0, "found an array");
  header("a tensor that is a boolean", R"({"a":true})", 0, "found a boolean");
  header("deeply nested", "{\"a\":" + std::string(100000, '['), 0,
         "\"a\": expected an object, found an array");
  header("deeply nested objects", R"({"a":{"dtype":{"dtype":{"dtype":{)", 0,
         "expected a string, found an object");
  header("no dtype", R"({"a":{"shape":[],"data_offsets":[0,4]}})", 4, "tensor \"a\": dtype is missing");
  header("no shape", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "tensor \"a\": shape is missing");
  header("no data_offsets", R"({"a":{"dtype":"F32","shape":[]}})", 4,
         "tensor \"a\": data_offsets are missing");
  header("an empty tensor object", R"({"a":{}})", 0, "tensor \"a\": dtype is missing");
  header("unknown field", R"({"a":{"dtype":"F32","stride":[1]}})", 0,
         "tensor \"a\": unknown field \"stride\"");
  header("dtype twice", R"({"a":{"dtype":"F32","dtype":"F32"}})", 0, "duplicate field \"dtype\"");
  header("shape twice", R"({"a":{"shape":[],"shape":[]}})", 0, "duplicate field \"shape\"");
  header("data_offsets twice", R"({"a":{"data_offsets":[0,0],"data_offsets":[0,0]}})", 0,
         "duplicate field \"data_offsets\"");
  header("unknown dtype", tensor("F33", "[1]", "[0,4]"), 4, "tensor \"a\": unknown dtype \"F33\"");
  header("lower-case dtype", tensor("f32", "[1]", "[0,4]"), 4, "unknown dtype \"f32\"");
  header("dtype that is a number", R"({"a":{"dtype":4}})", 0, "dtype: expected a string, found a number");
  header("dtype that is null", R"({"a":{"dtype":null}})", 0, "dtype: expected a string, found null");
  header("shape that is a number", tensor("F32", "4", "[0,4]"), 4,
         "shape: expected an array, found a number");
  header("shape of strings", tensor("F32", R"(["1"])", "[0,4]"), 4,
         "shape: expected numbers from 0, found a string");
  header("shape of arrays", tensor("F32", "[[1]]", "[0,4]"), 4, "found an array");
  header("negative extent", tensor("F32", "[-1]", "[0,4]"), 4,
         "shape: expected numbers from 0, found a negative");
  header("fractional extent", tensor("F32", "[1.0]", "[0,4]"), 4,
         "found a number that is not a 64-bit integer");
  header("extent above 2^63", tensor("F32", "[9223372036854775808]", "[0,4]"), 4, "is too large");
  header("extent above 2^64", tensor("F32", "[99999999999999999999]", "[0,4]"), 4,
         "found a number that is not a 64-bit integer");
  header("nine dimensions", tensor("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "shape: more than 8 numbers");
  header(
      "a million dimensions",
      R"({"a":{"shape":[1)" +
          [] {
            std::string ones;
            for (int i = 0; i < 1000000; ++i) ones += ",1";
            return ones;
          }() +
          "]}}",
      0, "shape: more than 8 numbers");
  header("shape whose product overflows", tensor("F32", "[4294967296,4294967296]", "[0,4]"), 4, "overflows");
  header("shape whose bytes overflow", tensor("F64", "[2305843009213693952]", "[0,0]"), 0, "overflows");
  header("shape that overflows behind a zero", tensor("F32", "[0,4294967296,4294967296]", "[0,0]"), 0,
         "overflows");
  header("product that wraps to the right size", tensor("F32", "[4611686018427387904,4,1]", "[0,0]"), 0,
         "overflows");
  header("half a byte", tensor("F4", "[3]", "[0,1]"), 1, "does not end at a whole byte");
  header("one offset", tensor("F32", "[1]", "[0]"), 4, "data_offsets: expected 2 numbers, found 1");
  header("three offsets", tensor("F32", "[1]", "[0,4,8]"), 4, "data_offsets: expected 2 numbers, found 3");
  header("no offset", tensor("F32", "[1]", "[]"), 4, "data_offsets: expected 2 numbers, found 0");
  header("offsets backwards", tensor("F32", "[1]", "[4,0]"), 4, "data_offsets end before they begin");
  header("negative offsets", tensor("F32", "[1]", "[-4,0]"), 4, "found a negative number");
  header("offsets near 2^63", tensor("F32", "[1]", "[9223372036854775803,9223372036854775807]"), 4,
         "after a hole");
  header("offsets above 2^63", tensor("F32", "[1]", "[18446744073709551612,18446744073709551615]"), 4,
         "is too large");
  header("too few bytes for the shape", tensor("F32", "[2]", "[0,4]"), 4,
         "F32 of shape [2] takes 8 bytes, found data_offsets of 4");
  header("too many bytes for the shape", tensor("F16", "[1]", "[0,4]"), 4,
         "takes 2 bytes, found data_offsets of 4");
  header("hole at the beginning", tensor("F32", "[1]", "[4,8]"), 8, "begin at 4, after a hole, expected 0");
  const std::string a = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  header("hole between tensors", a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", 12,
         "tensor \"b\": its data begin at 8, after a hole, expected 4");
  header("overlap", a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", 6,
         "inside another tensor");
  header("the same data twice", a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
         "inside another tensor");
  header("an empty tensor inside another", a + R"(,"b":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}})", 4,
         "inside another tensor");
  header("a name twice", a + R"(,"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8,
         "duplicate tensor name \"a\"");
  header("an escaped name twice", a + R"(,"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8,
         "duplicate tensor name \"a\"");
  header("data missing", a + "}", 0, "the tensors take 4 bytes, found 0 bytes of data");
  header("data too short", a + "}", 3, "the tensors take 4 bytes, found 3");
  header("data too long", a + "}", 5, "the tensors take 4 bytes, found 5");
  header("data without tensors", "{}", 8, "the tensors take 0 bytes, found 8");
  header("unsupported type", tensor("U64", "[1]", "[0,8]"), 8, "has dtype U64, which is not supported");
  header("unsupported complex type", tensor("C64", "[1]", "[0,8]"), 8,
         "has dtype C64, which is not supported");
  header("metadata that is a string", R"({"__metadata__":"pt"})", 0, "\"__metadata__\": expected an object");
  header("metadata of numbers", R"({"__metadata__":{"format":1}})", 0,
         "\"format\": expected a string, found a number");
  header("nested metadata", R"({"__metadata__":{"format":{}}})", 0,
         "\"format\": expected a string, found an object");
  header("metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0, "duplicate key \"__metadata__\"");
  header("a metadata key twice", R"({"__metadata__":{"a":"1","a":"2"}})", 0,
         "__metadata__: duplicate key \"a\"");
  return files;
}

std::vector<BrokenFile> broken_json() {
  std::vector<BrokenFile> files;
  const auto json = [&](const std::string& name, const std::string& text, const std::string& message) {
    files.push_back({"json: " + name, Reader::json, text, "FormatError", message});
  };
  json("empty", "", "not valid JSON");
  json("only space", " \n\t ", "not valid JSON");
  json("zero bytes", std::string(64, '\0'), "not valid JSON");
  json("two values", "{} {}", "not valid JSON");
  json("a trailing comma", R"({"a": 1,})", "not valid JSON");
  json("a missing comma", R"({"a": 1 "b": 2})", "not valid JSON");
  json("a missing colon", R"({"a" 1})", "not valid JSON");
  json("single quotes", "{'a': 1}", "not valid JSON");
  json("an unquoted key", "{a: 1}", "not valid JSON");
  json("a comment", "{} // no", "not valid JSON");
  json("NaN", R"({"a": NaN})", "not valid JSON");
  json("infinity", R"({"a": -Infinity})", "not valid JSON");
  json("a number out of range", R"({"a": 1e999})", "number overflow");
  json("a leading zero", R"({"a": 012})", "not valid JSON");
  json("a hexadecimal number", R"({"a": 0x12})", "not valid JSON");
  json("a lone minus", R"({"a": -})", "not valid JSON");
  json("an unfinished text", R"({"a": "b)", "not valid JSON");
  json("a raw newline in a text", "{\"a\": \"b\nc\"}", "not valid JSON");
  json("an unknown escape", R"({"a": "\x"})", "not valid JSON");
  json("half a surrogate pair", R"({"a": "\ud800"})", "not valid JSON");
  json("half an escape", R"({"a": "\u12"})", "not valid JSON");
  json("an invalid UTF-8 byte", "{\"a\": \"\xff\"}", "not valid JSON");
  json("an overlong UTF-8 sequence", "{\"a\": \"\xc0\xaf\"}", "not valid JSON");
  json("a cut UTF-8 sequence", "{\"a\": \"\xe2\x82\"}", "not valid JSON");
  json("UTF-16", std::string("\xff\xfe{\0}\0", 6), "not valid JSON");
  json("half a byte order mark", "\xef\xbb{}", "not valid JSON");
  json("unbalanced brackets", "[[]", "not valid JSON");
  json("the wrong bracket", "[1}", "not valid JSON");
  json("a million open arrays", std::string(1000000, '['), "nested deeper than 64 levels");
  json("65 arrays", std::string(65, '[') + std::string(65, ']'), "nested deeper than 64 levels");
  json("a duplicate key", R"({"a": 1, "b": 2, "a": 3})", "duplicate key \"a\"");
  json("a nested duplicate key", R"({"x": [{"a": 1, "a": 1}]})", "duplicate key \"a\"");

  const auto config = [&](const std::string& name, const std::string& text, const std::string& type,
                          const std::string& message) {
    files.push_back({"config: " + name, Reader::config, text, type, message});
  };
  config("an array", "[1]", "FormatError", "expected an object, found an array");
  config("null", "null", "FormatError", "expected an object, found null");
  config("a text", "\"a\"", "FormatError", "expected an object, found a string");
  config("no hidden_size", "{}", "ConfigError", "hidden_size: this field is required and missing");
  config("a null hidden_size", R"({"hidden_size": null})", "ConfigError",
         "hidden_size: this field is required");
  config("a text as hidden_size", R"({"hidden_size": "768"})", "ConfigError",
         "hidden_size: expected an integer, found a string");
  config("a fraction as hidden_size", R"({"hidden_size": 768.5})", "ConfigError",
         "hidden_size: expected an integer, found the number 768.5");
  config("a hidden_size of 2^40", R"({"hidden_size": 1099511627776})", "ConfigError", "at most 32 bits");
  config("a hidden_size of 10^30", R"({"hidden_size": 1000000000000000000000000000000})", "ConfigError",
         "expected an integer, found the number 1e+30");
  return files;
}

std::vector<BrokenFile> broken_indices() {
  std::vector<BrokenFile> files;
  const auto index = [&](const std::string& name, const std::string& text, const std::string& type,
                         const std::string& message) {
    files.push_back({"index: " + name, Reader::index, text, type, message});
  };
  const auto shard = [&](const std::string& name, const std::string& message) {
    index("shard " + name, R"({"weight_map": {"a": ")" + name + "\"}}", "FormatError", message);
  };
  index("not JSON", "weight_map", "FormatError", "not valid JSON");
  index("an array", "[]", "FormatError", "expected an object with an object \"weight_map\"");
  index("no weight_map", R"({"metadata": {}})", "FormatError",
        "expected an object with an object \"weight_map\"");
  index("weight_map that is an array", R"({"weight_map": []})", "FormatError",
        "with an object \"weight_map\"");
  index("a shard that is a number", R"({"weight_map": {"a": 1}})", "FormatError",
        "\"a\": expected the name of a shard");
  index("a tensor twice", R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})", "FormatError",
        "duplicate key \"a\"");
  index("a tensor that its shard lacks", R"({"weight_map": {"b": "shard.safetensors"}})", "FormatError",
        "tensor \"b\" is not in its shard shard.safetensors");
  index("a shard that is not there", R"({"weight_map": {"a": "absent.safetensors"}})", "IoError",
        "absent.safetensors: cannot open: No such file or directory");
  index("a shard that is broken", R"({"weight_map": {"a": "broken.safetensors"}})", "FormatError",
        "broken.safetensors at 0: too short");
  index("a shard of another kind", R"({"weight_map": {"a": "index.txt"}})", "IoError", "cannot open");
  shard("../shard.safetensors", "has a path separator");
  shard("sub/shard.safetensors", "has a path separator");
  shard("/etc/passwd", "has a path separator");
  shard("./shard.safetensors", "has a path separator");
  shard("..\\\\shard.safetensors", "has a path separator");
  shard("C:\\\\shard.safetensors", "has a path separator");
  shard("\\u002e\\u002e\\u002fshard.safetensors", "has a path separator");
  shard("..", "has dots that lead elsewhere");
  shard(".", "has dots that lead elsewhere");
  shard("a..safetensors", "has dots that lead elsewhere");
  shard("", "is empty");
  shard("shard.safetensors\\u0000.bin", "has a zero byte");
  shard("model.safetensors.index.json", "is not a weights file");
  return files;
}

}  // namespace attune_test
