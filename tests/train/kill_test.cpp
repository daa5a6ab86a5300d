// A training process is killed with SIGKILL at random moments and started again until it is through.

#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/core/file.hpp>
#include <attune/core/random.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "train/tiny_run.hpp"

using namespace attune;
using namespace train_test;

namespace {

constexpr const char* directory_variable = "ATTUNE_TEST_KILL_DIRECTORY";

std::string digest(const std::vector<float>& weights) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a over the bytes
  for (const float weight : weights) {
    std::uint32_t bits;
    std::memcpy(&bits, &weight, sizeof(bits));
    for (int byte = 0; byte < 4; ++byte) hash = (hash ^ ((bits >> (8 * byte)) & 0xffu)) * 1099511628211u;
  }
  return std::to_string(hash);
}

/// One write, so that a line is whole or missing.
void append_line(const std::string& path, const std::string& line) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  REQUIRE(file >= 0);
  REQUIRE(::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
  ::close(file);
}

std::size_t line_count(const std::string& path) {
  if (!std::filesystem::exists(path)) return 0;
  const std::string text = read_text_file(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

pid_t start_training(const std::string& directory) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setenv(directory_variable, directory.c_str(), 1);
  const int nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, STDOUT_FILENO);
  ::execl("/proc/self/exe", "test_train", "--no-skip", "--test-case=the training process of the kill test",
          static_cast<char*>(nullptr));
  ::_exit(127);
}

}  // namespace

TEST_CASE("the training process of the kill test" * doctest::skip()) {
  const char* directory = std::getenv(directory_variable);
  if (directory == nullptr) return;
  TinyRun<bfloat16, Cpu> run(std::string(directory) + "/checkpoints", 2);
  run.resume();
  append_line(std::string(directory) + "/log", "from " + std::to_string(run.model.run->step) + "\n");
  run.train(TinyRun<bfloat16, Cpu>::total_steps + 1, [&](std::uint64_t step) {
    append_line(std::string(directory) + "/log",
                std::to_string(step) + " " + digest(run.model.weights()) + "\n");
  });
  append_line(std::string(directory) + "/log", "end " + digest(run.model.weights()) + "\n");
}

TEST_CASE("killed at random moments and resumed, a run ends with the same bits") {
  const TemporaryDirectory place;
  std::map<std::string, std::string> expected;
  {
    TinyRun<bfloat16, Cpu> run(place.path("straight"), 2);
    run.train(TinyRun<bfloat16, Cpu>::total_steps + 1,
              [&](std::uint64_t step) { expected[std::to_string(step)] = digest(run.model.weights()); });
    expected["end"] = digest(run.model.weights());
  }
  REQUIRE(expected.size() == TinyRun<bfloat16, Cpu>::total_steps + 1);

  const std::string log = place.path("log");
  RandomStream random(static_cast<std::uint64_t>(::getpid()));
  int kills = 0;
  for (int attempt = 0; attempt < 200; ++attempt) {
    const std::size_t before = line_count(log);
    const pid_t child = start_training(place.path());
    REQUIRE(child > 0);
    // Some are killed before their first step, the others after one to three steps and a little more.
    const std::size_t steps = random.below(4);
    const auto moment = std::chrono::microseconds(random.below(8000));
    int status = 0;
    bool ended = false;
    if (steps > 0)
      while (!(ended = ::waitpid(child, &status, WNOHANG) == child) && line_count(log) < before + 1 + steps)
        std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (!ended) {
      std::this_thread::sleep_for(moment);
      ::kill(child, SIGKILL);
      REQUIRE(::waitpid(child, &status, 0) == child);
    }
    if (WIFSIGNALED(status)) {
      CHECK(WTERMSIG(status) == SIGKILL);
      ++kills;
      continue;
    }
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
    if (kills >= 8) break;
    std::filesystem::remove_all(place.path("checkpoints"));  // too quick for this machine: once more
  }
  CHECK(kills >= 8);
  MESSAGE("killed ", kills, " times");

  // Each life goes on from the last step that was saved (one may be saved and not yet in the log).
  std::istringstream lines(read_text_file(log));
  std::uint64_t last = 0;
  int resumed = 0, ends = 0;
  bool ended = false;
  for (std::string what, value; lines >> what >> value;) {
    CAPTURE(what);
    CAPTURE(last);
    if (what == "from") {
      const std::uint64_t from = std::stoull(value);
      const bool newest = from == last || from == last + 1 || (from == 0 && ended);
      CHECK(newest);
      resumed += from > 0 ? 1 : 0;
      last = from;
      continue;
    }
    REQUIRE(expected.count(what) == 1);
    CHECK(value == expected[what]);
    if (what == "end") {
      ended = true;
      ++ends;
    } else {
      CHECK(std::stoull(what) == last + 1);
      ++last;
      ended = false;
    }
  }
  CHECK(ends >= 1);
  CHECK(resumed >= 1);
  for (const auto& entry : std::filesystem::directory_iterator(place.path("checkpoints")))
    CHECK(entry.path().extension() == ".safetensors");  // nothing half written is left
}
