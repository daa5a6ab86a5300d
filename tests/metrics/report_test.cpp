#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <attune/train/jsonl_log.hpp>
#include <attune/train/report.hpp>

#include "data/support.hpp"

using attune::JsonlLog;
using attune::RunReport;
using attune_test::contains;
using attune_test::TemporaryFile;

namespace {

std::string content_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

/// Every tag is closed in order, every attribute is quoted: enough to see that no text broke out of its
/// place.
bool is_well_formed(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const std::size_t end = html.find('>', at);
    if (end == std::string::npos) return false;
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.starts_with("!DOCTYPE")) continue;
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0 || contains(tag, "<")) return false;
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (!tag.ends_with("/") && !tag.starts_with("meta")) {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty();
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("the log: one complete JSON object a line, in the given order") {
  const TemporaryFile file("run.jsonl", "old\n");
  JsonlLog log(file.path());
  log.write({{"step", 1}, {"loss", 0.1f}, {"lr", 2e-5}, {"note", "caf\xC3\xA9 \"x\"\n"}, {"done", false}});
  CHECK(content_of(file.path()) ==
        "{\"step\":1,\"loss\":0.1,\"lr\":2e-05,\"note\":\"caf\xC3\xA9 \\\"x\\\"\\n\",\"done\":false}\n");
  log.write({{"step", std::int64_t{2}},
             {"tokens", std::size_t{18446744073709551615u}},
             {"loss", std::numeric_limits<float>::quiet_NaN()},
             {"bad", std::string("\xFF")}});
  const std::string all = content_of(file.path());
  CHECK(all.substr(all.find('\n') + 1) ==
        "{\"step\":2,\"tokens\":18446744073709551615,\"loss\":null,\"bad\":\"\xEF\xBF\xBD\"}\n");
}

TEST_CASE("a resumed log is that of a run that never stopped") {
  const std::string kept = "{\"step\":1}\n{\"step\":2}\n{\"eval_loss\":0.5}\n";
  for (const std::string rest : {"", "{\"step\":3}\n", "{\"step\":3}\n{\"step\":4}\n", "{\"st",
                                 "{\"step\":3}", "garbage\n", "{\"step\":3}\n{\"step\":1}\n"}) {
    CAPTURE(rest);
    const TemporaryFile file("run.jsonl", kept + rest);
    JsonlLog log(file.path(), {.resume_after_step = 2});
    log.write({{"step", 3}, {"loss", 0.5}});
    CHECK(content_of(file.path()) == kept + "{\"step\":3,\"loss\":0.5}\n");
  }
  const TemporaryFile file("run.jsonl", "");
  std::filesystem::remove(file.path());
  JsonlLog log(file.path(), {.resume_after_step = 7});
  log.write({{"step", 8}});
  CHECK(content_of(file.path()) == "{\"step\":8}\n");
  CHECK_THROWS_AS(JsonlLog("/nowhere/run.jsonl"), attune::IoError);
}

TEST_CASE("a full disk is an IoError") {
  if (!std::filesystem::exists("/dev/full")) return;
  JsonlLog log("/dev/full");
  CHECK_THROWS_AS(log.write({{"step", 1}}), attune::IoError);
}

TEST_CASE("charts of a log") {
  const TemporaryFile file(
      "run.jsonl",
      "{\"step\":1,\"loss\":0.5,\"lr\":0.1,\"note\":\"x\"}\nbroken\n[1]\n{\"loss\":3}\n"
      "{\"step\":2,\"loss\":null,\"lr\":0.05}\n{\"step\":2,\"eval_loss\":0.4,\"eval_f1\":0.9,"
      "\"eval_accuracy\":0.8}\n{\"step\":3,\"grad_norm\":1}");
  const auto charts = attune::charts_of_log(file.path());
  REQUIRE(charts.size() == 4);
  CHECK(charts[0].title == "loss");
  REQUIRE(charts[0].series.size() == 2);
  CHECK(charts[0].series[0].x == std::vector<double>{1, 2});
  CHECK(charts[0].series[0].y[0] == 0.5);
  CHECK(std::isnan(charts[0].series[0].y[1]));
  CHECK(charts[0].series[1].name == "eval_loss");
  CHECK(charts[1].title == "learning rate");
  CHECK(charts[2].title == "metrics");
  CHECK(charts[2].series.size() == 2);
  CHECK(charts[3].series[0].name == "grad_norm");
  CHECK_THROWS_AS(attune::charts_of_log("/nowhere.jsonl"), attune::IoError);
}

TEST_CASE("the page: everything is there, everything is escaped, nothing comes from outside") {
  const std::string nasty = "</td></table><script>alert(\"x\")</script> & 'y' \xFF\x01";
  const std::string escaped =
      "&lt;/td&gt;&lt;/table&gt;&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;y&#39; "
      "\xEF\xBF\xBD\xEF\xBF\xBD";
  RunReport report;
  report.title = nasty;
  report.results = {{nasty, nasty}};
  report.facts = {{nasty, nasty}};
  report.charts = {
      {.title = nasty, .series = {{nasty, {1, 2}, {1, 2}}, {nasty, {1, 2}, {2, 1}}}, .x_label = nasty}};
  report.confusion = {2, {5, 1, 2, 6}};
  report.labels = {nasty.substr(0, 20)};
  report.mistakes = {
      {.text = nasty, .pair = nasty, .expected = nasty, .predicted = nasty, .confidence = 0.75}};
  const std::string html = attune::to_html(report);
  CHECK(is_well_formed(html));
  CHECK(count(html, escaped) == 2 + 2 + 2 + (2 + 1 + 1 + 1 + 4) + 4);
  CHECK_FALSE(contains(html, "<script"));
  for (const char* outside : {"http:", "https:", "url(", "@import", "src=", "href="})
    CHECK_FALSE(contains(html, outside));
  CHECK(contains(html, "75 %"));
  CHECK(contains(html, ">5<small>83.3 %</small>"));
  CHECK(contains(html, "<th scope=\"row\">1</th>"));  // a class without a name

  const TemporaryFile file("report.html", "");
  attune::write_report(file.path(), report);
  CHECK(content_of(file.path()) == html);
  CHECK_THROWS_AS(attune::write_report("/nowhere/report.html", report), attune::IoError);
}

TEST_CASE("the page of an empty report, and of a matrix of many classes") {
  const std::string empty = attune::to_html({});
  CHECK(is_well_formed(empty));
  for (const char* part : {"<section", "<table", "<svg", "class=\"results\""})
    CHECK_FALSE(contains(empty, part));
  RunReport report;
  report.confusion = {40, std::vector<std::int64_t>(1600)};
  for (std::size_t at = 0; at < 40; ++at) report.confusion.counts[at * 41] = 1000;
  report.confusion.counts[3 * 40 + 7] = 12;
  report.confusion.counts[7 * 40 + 3] = 13;
  const std::string html = attune::to_html(report);
  CHECK(is_well_formed(html));
  CHECK(html.find("<td>7</td><td>3</td><td>13</td>") < html.find("<td>3</td><td>7</td><td>12</td>"));
  CHECK_FALSE(contains(html, "1000"));
}

TEST_CASE("long texts are cut between characters") {
  using attune::detail::escape_html;
  CHECK(escape_html("abcdef", 3) == "abc\xE2\x80\xA6");
  CHECK(escape_html("ab\xC3\xA9z", 3) == "ab\xE2\x80\xA6");
  CHECK(escape_html("ab\xC3\xA9", 4) == "ab\xC3\xA9");
  CHECK(escape_html("\x80\x80\x80", 2) == "\xE2\x80\xA6");
  CHECK(escape_html("line\n\ttab") == "line\n\ttab");
}

TEST_CASE("charts: odd curves draw, in bounds and in few bytes") {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const std::vector<attune::ReportSeries> odd = {
      {"empty"},
      {"one", {5}, {3}},
      {"constant", {1, 2, 3}, {2, 2, 2}},
      {"zero", {1, 2}, {0, 0}},
      {"holes", {1, 2, 3, 4}, {1, nan, infinity, 2}},
      {"nothing finite", {1, 2}, {nan, -infinity}},
      {"uneven", {1, 2, 3}, {1}},
      {"tiny", {0, 1}, {1e-300, 2e-300}},
      {"huge", {0, 1}, {-1e300, 1e300}},
      {"far", {1e15, 1e15 + 1}, {1e15, 1e15 + 1}},
      {"backwards", {3, 1}, {1, 2}},
  };
  for (const attune::ReportSeries& series : odd) {
    CAPTURE(series.name);
    const std::string svg = attune::detail::draw_chart({.title = "t", .series = {series}});
    CHECK(is_well_formed(svg));
    CHECK_FALSE(contains(svg, "nan"));
    CHECK_FALSE(contains(svg, "inf\""));
    CHECK(contains(svg, "no values") == (series.name == "empty" || series.name == "nothing finite"));
  }
  CHECK(count(attune::detail::draw_chart({.title = "t", .series = {odd[4]}}), "M") ==
        2);  // the hole is a gap

  attune::ReportSeries noisy{"loss"};
  for (int step = 0; step < 100000; ++step) {
    noisy.x.push_back(step);
    noisy.y.push_back(step == 50000 ? 9 : 1 + 0.5 * std::sin(step * 1.7));
  }
  const std::string svg = attune::detail::draw_chart({.title = "t", .series = {noisy}});
  CHECK(svg.size() < 40000);
  CHECK(count(svg, "<path") == 2);
  noisy.y.assign(noisy.x.begin(), noisy.x.end());
  CHECK(count(attune::detail::draw_chart({.title = "t", .series = {noisy}}), "<path") ==
        1);  // no mean of a smooth curve
}

TEST_CASE("the worst mistakes are those with the largest losses") {
  const std::vector<float> logits{2, 0, 0, 3, 1, 0, 0, 9, 5, 0};
  const std::vector<std::int32_t> labels{0, 0, 1, -100, 1};
  const auto mistakes = attune::worst_mistakes(logits, 2, labels, 10);
  REQUIRE(mistakes.size() == 3);
  CHECK(mistakes[0].row == 4);
  CHECK(mistakes[0].expected == 1);
  CHECK(mistakes[0].predicted == 0);
  CHECK(mistakes[0].loss == doctest::Approx(5.00671535));
  CHECK(mistakes[0].confidence == doctest::Approx(0.99330715));
  CHECK(mistakes[1].row == 1);
  CHECK(mistakes[2].row == 2);
  CHECK(attune::worst_mistakes(logits, 2, labels, 1).size() == 1);
  CHECK(attune::worst_mistakes(logits, 2, labels, 0).empty());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(attune::worst_mistakes(std::vector<float>{nan, 1, 0, nan, 3, 1}, 2,
                               std::vector<std::int32_t>{1, 1, 1}, 9)
            .size() <= 3);
  CHECK_THROWS_AS(attune::worst_mistakes(logits, 3, labels, 1), attune::ShapeError);
  CHECK_THROWS_AS(attune::worst_mistakes(logits, 2, std::vector<std::int32_t>{0, 0, 1, 2, 1}, 1),
                  attune::ConfigError);
}
