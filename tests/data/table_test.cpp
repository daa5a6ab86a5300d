#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include <attune/data/table.hpp>

#include "data/support.hpp"

using attune::parse_table;
using attune::Table;
using attune_test::contains;
using attune_test::message_of;

namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(const Table& table) {
  Rows rows;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    rows.emplace_back();
    for (int column = 0; column < table.columns(); ++column)
      rows.back().emplace_back(table.find(row, column).value_or("<none>"));
  }
  return rows;
}

}  // namespace

TEST_CASE("TSV: quotes and backslashes are ordinary, CRLF and blank lines are handled") {
  const Table table = parse_table("a \"b\tc\\n\r\n\r\n\n\"x\t\ny\t\"z", "t.tsv");
  CHECK(rows_of(table) == Rows{{"a \"b", "c\\n"}, {"\"x", ""}, {"y", "\"z"}});
  CHECK(table.line(0) == 1);
  CHECK(table.line(1) == 4);
  CHECK(table.line(2) == 5);
  CHECK(table.names() == std::vector<std::string>{"0", "1"});
  CHECK_FALSE(table.has_names());
}

TEST_CASE("CSV: RFC 4180 quoting, line breaks inside fields, a byte order mark, a last line without break") {
  const Table table =
      parse_table("\xEF\xBB\xBFlabel,review\r\n1,\"a, \"\"b\"\"\r\nsecond line\"\r\n0,plain\r\n1,\"\"\n0,",
                  "t.csv", {.header = true});
  CHECK(table.names() == std::vector<std::string>{"label", "review"});
  CHECK(rows_of(table) == Rows{{"1", "a, \"b\"\r\nsecond line"}, {"0", "plain"}, {"1", ""}, {"0", ""}});
  CHECK(table.line(0) == 2);
  CHECK(table.line(1) == 4);  // the first row took two lines
  CHECK(table.line(3) == 6);
  CHECK(table.column("review") == 1);
  CHECK(table.column(1) == 1);
}

TEST_CASE("CSV: another delimiter, and a header that is quoted") {
  const Table table = parse_table("\"a;1\";b\n1,5;x", "t.csv", {.header = true, .delimiter = ';'});
  CHECK(table.names() == std::vector<std::string>{"a;1", "b"});
  CHECK(rows_of(table) == Rows{{"1,5", "x"}});
}

TEST_CASE("JSON lines: types, absent keys, null, nesting as JSON text, CRLF") {
  const Table table = parse_table(
      "{\"text\": \"caf\\u00e9\", \"label\": 1}\r\n\n{\"label\": true, \"extra\": [1, \"b\"], \"text\": "
      "null}\n"
      "{\"score\": 0.5}",
      "t.jsonl");
  CHECK(table.names() == std::vector<std::string>{"label", "text", "extra", "score"});
  CHECK(rows_of(table) == Rows{{"1", "caf\xC3\xA9", "<none>", "<none>"},
                               {"true", "<none>", "[1,\"b\"]", "<none>"},
                               {"<none>", "<none>", "<none>", "0.5"}});
  CHECK(table.line(1) == 3);
  CHECK(table.at(0, 1) == "caf\xC3\xA9");
  CHECK(contains(message_of<attune::FormatError>([&] { table.at(1, 1); }),
                 "line 3: expected a value for 'text'"));
}

TEST_CASE("ill-formed UTF-8 becomes U+FFFD, one for each maximal part, as Python's errors=replace") {
  const std::string mark = "\xEF\xBF\xBD";
  const auto repaired = [](std::string text) { return attune::detail::to_utf8(std::move(text), "t"); };
  CHECK(repaired("plain \xE2\x82\xAC \xF0\x9F\x98\x80") == "plain \xE2\x82\xAC \xF0\x9F\x98\x80");
  CHECK(repaired("a\xFFz") == "a" + mark + "z");
  CHECK(repaired("\xE2\x82") == mark);  // cut off
  CHECK(repaired("\xE2\x82z") == mark + "z");
  CHECK(repaired("\xC0\xAF") == mark + mark);                        // overlong
  CHECK(repaired("\xE0\x80\xAF") == mark + mark + mark);             // overlong
  CHECK(repaired("\xED\xA0\x80") == mark + mark + mark);             // surrogate
  CHECK(repaired("\xF4\x90\x80\x80") == mark + mark + mark + mark);  // above U+10FFFF
  CHECK(repaired("\xF0\x9F\x98") == mark);
  CHECK(repaired("\x80\xE1\xA0\xC0\xF1\x80\x80\x41") == mark + mark + mark + mark + "A");
  CHECK(parse_table("a\xFF\t1", "t.tsv").at(0, 0) == "a" + mark);
  CHECK(parse_table("{\"a\": \"\xFF\"}", "t.jsonl").at(0, 0) == mark);
  CHECK(parse_table("\"\xFF\",1", "t.csv").at(0, 0) == mark);
}

TEST_CASE("malformed tables: a typed error with file and line, or a counted row when bad rows are skipped") {
  struct Case {
    const char* name;
    std::string content;
    std::int64_t line;
    const char* says;
    bool header = false;
    std::int64_t good_rows = -1;  // that are left when bad ones are skipped; -1: an error all the same
  };
  using namespace std::string_literals;
  const std::vector<Case> cases = {
      {"t.tsv", "", 1, "found none"},
      {"t.csv", "", 1, "found none"},
      {"t.jsonl", "", 1, "found none"},
      {"t.tsv", "\n\r\n  \n", 1, "found none"},
      {"t.tsv", "\xEF\xBB\xBF", 1, "found none"},
      {"t.csv", "label,text\n", 1, "found none", true},
      {"t.tsv", "a\tb\nc\n", 2, "expected 2 fields as on line 1, found 1", false, 1},
      {"t.tsv", "\n\na\tb\n\nc\td\te\nf\tg", 5, "expected 2 fields as on line 3, found 3", false, 2},
      {"t.tsv", "text\tlabel\na\n", 2, "expected 2 fields as on line 1, found 1", true},
      {"t.tsv", "a\0b\t1\nc\t2"s, 1, "zero byte", false, 1},
      {"t.tsv",
       "\xFF\xFE"
       "a\0"s,
       1, "UTF-16"},
      {"t.csv", "\xFE\xFF\0a"s, 1, "UTF-16"},
      {"t.csv", "a,b\nc,d,e\n", 2, "expected 2 fields as on line 1, found 3", false, 1},
      {"t.csv", "a,b\n\"x\ny\",d,e\nf,g", 2, "found 3", false, 2},
      {"t.csv", "a,b\n\"never,1\n2,3\n", 2, "never ends"},
      {"t.csv", "a,\"b\"\"\n", 1, "never ends"},
      {"t.csv", "\"", 1, "never ends"},
      {"t.csv", "a,\"x\nb\" c,\"", 2, "never ends"},
      {"t.csv", "a,\"b\"c\nd,e", 1, "after the closing quote of field 2", false, 1},
      {"t.csv", "a,b \"c\"\nd,e", 1, "a quote inside field 2", false, 1},
      {"t.csv", "a,b\n\"c\0\",d"s, 2, "zero byte", false, 1},
      {"t.csv", "la\"bel,text\n1,2", 1, "in the header", true},
      {"t.jsonl", "{\"a\": 1}\n{\"a\": \n", 2, "broken JSON", false, 1},
      {"t.jsonl", "{\"a\": 1}\n[1]\n", 2, "expected a JSON object, found array", false, 1},
      {"t.jsonl", "3\n", 1, "expected a JSON object, found number"},
      {"t.jsonl", "[{\"a\": 1},\n{\"a\": 2}]", 1, "broken JSON"},
      {"t.jsonl", "{\"a\": 1} trailing\n{\"a\": 2}", 1, "broken JSON", false, 1},
      {"t.jsonl", "{\"a\": 'x'}\n", 1, "broken JSON"},
      {"t.jsonl", "{\"a\": 1e999}\n", 1, "broken JSON"},
      {"t.jsonl", "{\"a\": NaN}\n", 1, "broken JSON"},
      {"t.jsonl", "{\"a\": \"\\ud800\"}\n", 1, "broken JSON"},
      {"t.jsonl", "{\"a\": \"tab\there\"}\n", 1, "broken JSON"},
      {"t.jsonl", "{\"a\": \"\\u0000\"}\n{\"a\": 1}", 1, "a zero byte inside 'a'", false, 1},
      {"t.jsonl", "{\"a\": \"\0\"}\n"s, 1, "zero byte"},
      {"t.jsonl", "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}\n{\"a\": 1}", 1,
       "nested deeper", false, 1},
      {"t.jsonl", std::string(100000, '{'), 1, "broken JSON"},
      {"t.xlsx", "a\tb", -1, "expected the extension"},
      {"noextension", "a\tb", -1, "expected the extension"},
  };
  for (const Case& entry : cases) {
    CAPTURE(entry.content.substr(0, 60));
    try {
      parse_table(entry.content, entry.name, {.header = entry.header});
      FAIL("accepted");
    } catch (const attune::FormatError& error) {
      CHECK(error.file == entry.name);
      CHECK(error.offset == entry.line);
      CHECK(contains(error.what(), entry.says));
      CHECK(contains(error.what(), entry.name));
      CHECK(std::string_view(error.what()).size() < 500);
    }
    const attune::TableOptions skip{.header = entry.header, .bad_rows = attune::BadRows::skip};
    if (entry.good_rows < 0) {
      CHECK_THROWS_AS(parse_table(entry.content, entry.name, skip), attune::FormatError);
    } else {
      const Table table = parse_table(entry.content, entry.name, skip);
      CHECK(table.rows() == entry.good_rows);
      CHECK(table.skipped() == 1);
    }
  }
}

TEST_CASE("every truncation and every changed byte of a small file gives a table or a FormatError") {
  const std::string csv = "label,\"re\"\"view\"\r\n1,\"a\nb\"\n0,\xC3\xA9,\n";
  const std::string jsonl = "{\"a\": \"\\u00e9\\\"\", \"b\": [1, {\"c\": null}]}\n{\"a\": -1.5e3}\n";
  for (const auto& [name, content] :
       {std::pair<std::string, std::string>{"t.csv", csv}, {"t.tsv", csv}, {"t.jsonl", jsonl}}) {
    const auto attempt = [&, &file = name](const std::string& text) {
      for (const auto bad_rows : {attune::BadRows::error, attune::BadRows::skip}) {
        try {
          const Table table = parse_table(text, file, {.header = true, .bad_rows = bad_rows});
          CHECK(table.rows() > 0);
          rows_of(table);
        } catch (const attune::FormatError& error) {
          CHECK(error.file == file);
        }
      }
    };
    for (std::size_t length = 0; length < content.size(); ++length) attempt(content.substr(0, length));
    for (std::size_t at = 0; at < content.size(); ++at)
      for (int value = 0; value < 256; ++value) {
        std::string changed = content;
        changed[at] = static_cast<char>(value);
        attempt(changed);
      }
  }
}

TEST_CASE("a JSON object with very many keys is read in reasonable time") {
  std::string line = "{";
  for (int key = 0; key < 100000; ++key) line += (key > 0 ? ",\"" : "\"") + std::to_string(key) + "\":1";
  CHECK(parse_table(line + "}", "t.jsonl").columns() == 100000);
}

TEST_CASE("columns that are not there are named, with those that are") {
  const Table named = parse_table("label,text,text\n1,a,b", "t.csv", {.header = true});
  const auto error = [&](const Table& table, const attune::Column& column) {
    return message_of<attune::FormatError>([&] { table.column(column); });
  };
  CHECK(contains(error(named, "review"), "expected column 'review', found 'label', 'text', 'text'"));
  CHECK(contains(error(named, "text"), "occurs more than once"));
  CHECK(contains(error(named, 3), "expected column 3 (counted from 0), found 3 columns"));
  const Table plain = parse_table("1,a", "t.csv");
  CHECK(contains(error(plain, "0"), "has no header"));
  CHECK_THROWS_AS(attune::Column(-1), attune::ConfigError);
}

TEST_CASE("a column from a command line") {
  CHECK(attune::Column::parse("12").number() == 12);
  CHECK(attune::Column::parse("text").name() == "text");
  CHECK(attune::Column::parse("1a").is_name());
  CHECK(attune::Column::parse("-1").is_name());
  CHECK(attune::Column::parse("99999999999999").is_name());
}

TEST_CASE("files that cannot be read") {
  CHECK_THROWS_AS(attune::read_table("/nowhere/table.tsv"), attune::IoError);
  CHECK(contains(message_of<attune::IoError>([] { attune::read_table("/tmp"); }), "regular file"));
  CHECK(contains(message_of<attune::IoError>([] { attune::read_table("/dev/zero"); }), "regular file"));
  const attune_test::TemporaryFile file("x.CSV", "a,b");
  CHECK(attune::read_table(file.path()).columns() == 2);
}

TEST_CASE("lists of strings in JSON") {
  using attune::detail::parse_string_list;
  CHECK(parse_string_list("[\"a\", 1, true]") == std::vector<std::string>{"a", "1", "true"});
  CHECK(parse_string_list("[]") == std::vector<std::string>{});
  for (const char* text : {"", "a", "[", "[[1]]", "[{}]", "[null]", "{}", "[1] x"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_string_list(text));
  }
}
