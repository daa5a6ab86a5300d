#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <ostream>
#include <sstream>
#include <streambuf>
#include <string>
#include <vector>

#include <attune/train/progress.hpp>

#include "data/support.hpp"

using attune::ProgressBar;
using attune::ProgressOptions;
using attune_test::contains;

namespace {

/// What a terminal of endless width would show: each line as it stands after carriage returns and erasures.
std::vector<std::string> screen(const std::string& output) {
  std::vector<std::string> lines(1);
  for (std::size_t at = 0; at < output.size(); ++at) {
    if (output[at] == '\r')
      lines.back().clear();
    else if (output.compare(at, 3, "\x1b[K") == 0)
      at += 2;
    else if (output[at] == '\n')
      lines.emplace_back();
    else
      lines.back() += output[at];
  }
  return lines;
}

}  // namespace

TEST_CASE("on a terminal: one line, drawn again, with bar, loss, lr, tokens a second and the time left") {
  std::ostringstream out;
  double now = 100;
  ProgressOptions options;
  options.description = "epoch 1/3";
  options.terminal = true;
  options.width = 110;
  options.clock = [&] { return now; };
  ProgressBar progress(out, 40, options);
  for (int step = 0; step < 10; ++step) {
    now += 2;
    progress.step({.loss = 0.5 / (step + 1), .lr = 2e-5, .tokens = 1000});
  }
  REQUIRE(screen(out.str()).size() == 1);
  const std::string bar = "[" + std::string(8, '=') + ">" + std::string(24, ' ') + "]";  // a quarter of 33
  CHECK(screen(out.str()).front() ==
        "epoch 1/3  25% " + bar + " 10/40 0:20 <1:00  loss 0.05  lr 2e-05  500 tok/s  0.5 it/s");
  CHECK(screen(out.str()).front().size() == 109);  // the width but for the last column
  progress.message("accuracy 0.9");
  progress.describe("epoch 2/3");
  now += 2;
  progress.step();
  progress.finish();
  const auto lines = screen(out.str());
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "accuracy 0.9");
  CHECK(contains(lines[1], "epoch 2/3  27% ["));
  CHECK(contains(lines[1], " 11/40 0:22 <0:58"));
  CHECK(lines[2].empty());
  const std::string before = out.str();
  progress.step();
  progress.message("late");
  progress.finish();
  CHECK(out.str() == before);
}

TEST_CASE("the bar is drawn no more often than the interval says") {
  std::ostringstream out;
  double now = 0;
  ProgressOptions options;
  options.terminal = true;
  options.interval = 1;
  options.clock = [&] { return now; };
  ProgressBar progress(out, 1000, options);
  for (int step = 0; step < 1000; ++step) {
    now += 0.01;
    progress.step();
  }
  const std::string text = out.str();
  const auto drawings = std::count(text.begin(), text.end(), '\r');
  CHECK(drawings >= 10);
  CHECK(drawings <= 11);
}

TEST_CASE("a line never wraps, whatever the width, the description and the numbers") {
  for (const int width : {1, 20, 30, 45, 60, 79, 80, 200}) {
    std::ostringstream out;
    double now = 0;
    ProgressOptions options;
    options.description =
        "stra\xC3\x9F"
        "e \xE6\x96\x87";
    options.terminal = true;
    options.interval = 0;
    options.width = width;
    options.clock = [&] { return now; };
    ProgressBar progress(out, 123456789, options);
    for (const double value : {0.1, 1e300, -1e-300, std::numeric_limits<double>::quiet_NaN()}) {
      now += 1e6;
      progress.step({.loss = value, .lr = value, .tokens = 1 << 30});
      CHECK(screen(out.str()).back().size() <= static_cast<std::size_t>(std::max(width - 1, 20)));
    }
  }
}

TEST_CASE("without a terminal: plain lines now and then, and one at the end") {
  std::ostringstream out;
  double now = 0;
  ProgressOptions options;
  options.description = "train";
  options.clock = [&] { return now; };
  {
    ProgressBar progress(out, 40, options);
    for (int step = 0; step < 40; ++step) {
      now += 1;
      progress.step({.loss = 0.25, .lr = 1e-5, .tokens = 2048});
    }
  }
  CHECK(out.str() ==
        "train: step 10/40 (25%), loss 0.25, lr 1e-05, 2.05k tokens/s, 0:10 so far, 0:30 left\n"
        "train: step 20/40 (50%), loss 0.25, lr 1e-05, 2.05k tokens/s, 0:20 so far, 0:20 left\n"
        "train: step 30/40 (75%), loss 0.25, lr 1e-05, 2.05k tokens/s, 0:30 so far, 0:10 left\n"
        "train: step 40/40 (100%), loss 0.25, lr 1e-05, 2.05k tokens/s, 0:40 so far\n"
        "train: step 40/40 (100%), loss 0.25, lr 1e-05, 2.05k tokens/s, 0:40 in all\n");
}

TEST_CASE("a resumed run counts the steps that were done, and not their time") {
  std::ostringstream out;
  double now = 0;
  ProgressOptions options;
  options.initial = 30;
  options.plain_interval = 5;
  options.clock = [&] { return now; };
  ProgressBar progress(out, 40, options);
  now = 5;
  progress.step();
  CHECK(out.str() == "step 31/40 (77%), 0:05 so far, 0:45 left\n");
}

TEST_CASE("an unknown total, a stream that fails, a file that is no terminal") {
  std::ostringstream out;
  {
    ProgressOptions options;
    options.terminal = true;
    options.clock = [] { return 0.0; };
    ProgressBar progress(out, 0, options);
    progress.step({.loss = 1});
    CHECK(contains(out.str(), "1 0:00  loss 1"));
    CHECK_FALSE(contains(out.str(),
                         "["
                         "="));
    CHECK_FALSE(contains(out.str(), "%"));
  }
  struct Refusing : std::streambuf {
  } refusing;
  std::ostream broken(&refusing);
  broken.exceptions(std::ios::badbit | std::ios::failbit);
  CHECK_THROWS(broken << "x" << std::flush);
  broken.clear();
  {
    ProgressBar progress(broken, 3, {.plain_interval = 0});
    CHECK_NOTHROW(progress.step());
    CHECK_NOTHROW(progress.message("x"));
  }
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  {
    ProgressBar progress(file, 2);
    progress.step();
  }
  CHECK(std::ftell(file) > 0);
  std::rewind(file);
  char line[80] = "";
  CHECK(std::fgets(line, sizeof(line), file) != nullptr);
  CHECK(std::string(line) == "step 1/2 (50%), 0:00 in all\n");
  std::fclose(file);
}

TEST_CASE("durations and numbers") {
  using attune::detail::format_duration;
  using attune::detail::format_number;
  CHECK(format_duration(0) == "0:00");
  CHECK(format_duration(59.6) == "1:00");
  CHECK(format_duration(3599) == "59:59");
  CHECK(format_duration(3661) == "1:01:01");
  CHECK(format_duration(86400 * 3 + 3600 * 4) == "3 d 4 h");
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
  CHECK(format_number(0.123456) == "0.1235");
  CHECK(format_number(2e-5) == "2e-05");
  CHECK(format_number(999.94, true) == "1e+03");
  CHECK(format_number(12345, true) == "12.3k");
  CHECK(format_number(1.5e6, true) == "1.5M");
  CHECK(format_number(2.5e12, true) == "2.5e+03G");
  CHECK(format_number(std::numeric_limits<double>::quiet_NaN()) == "nan");
  CHECK(format_number(-std::numeric_limits<double>::infinity()) == "-inf");
}
