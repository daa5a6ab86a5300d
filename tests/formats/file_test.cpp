#include <attune/core/file.hpp>

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <array>
#include <utility>

#include "format_tools.hpp"

using namespace attune;
using namespace attune_test;

namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::size_t files_in(const TemporaryDirectory& directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path())) ++count;
  return count;
}

}  // namespace

TEST_CASE("MappedFile shows a file's bytes, follows symbolic links and survives moves and replacement") {
  const TemporaryDirectory directory;
  const std::string path = directory.write("plain", "some bytes");
  std::filesystem::create_symlink(path, directory.path("link"));
  MappedFile linked(directory.path("link"));
  CHECK(text_of(linked.bytes()) == "some bytes");

  MappedFile moved(std::move(linked));
  CHECK(text_of(moved.bytes()) == "some bytes");
  write_text_file(path, "other");  // a new file under the old name
  CHECK(text_of(moved.bytes()) == "some bytes");
  moved = MappedFile(path);
  CHECK(text_of(moved.bytes()) == "other");
  CHECK(moved.path() == path);

  CHECK(MappedFile(directory.write("empty", "")).bytes().empty());
}

TEST_CASE("MappedFile and read_text_file refuse what is not a regular file and name it") {
  const TemporaryDirectory directory;
  REQUIRE(::mkfifo(directory.path("pipe").c_str(), 0600) == 0);
  const auto mapped = [](const std::string& path) { return error_of([&] { MappedFile file(path); }); };
  const auto read = [](const std::string& path) { return error_of([&] { read_text_file(path); }); };
  for (const std::string& error : {mapped(directory.path("missing")), read(directory.path("missing"))}) {
    CHECK(error.starts_with("IoError: " + directory.path("missing")));
    CHECK(error.ends_with("cannot open: No such file or directory"));
  }
  CHECK(mapped(directory.path()).ends_with("expected a regular file, found a directory"));
  CHECK(read(directory.path()).ends_with("expected a regular file, found a directory"));
  CHECK(mapped(directory.path("pipe")).ends_with("found a device, pipe or socket"));
  CHECK(mapped("/dev/zero").ends_with("found a device, pipe or socket"));
  CHECK(mapped(std::string("a\0b", 3)).ends_with("the name contains a zero byte"));
}

TEST_CASE("read_text_file reads all or refuses what is too long") {
  const TemporaryDirectory directory;
  const std::string path = directory.write("text", "12345");
  CHECK(read_text_file(path) == "12345");
  CHECK(read_text_file(path, 5) == "12345");
  CHECK(error_of([&] { read_text_file(path, 4); }) ==
        "FormatError: " + path + ": expected at most 4 bytes, found 5");
}

TEST_CASE("AtomicFile leaves the old file until it commits, and no temporary file behind") {
  const TemporaryDirectory directory;
  const std::string path = directory.write("file", "old");
  {
    AtomicFile file(path);
    file.write("new ");
    CHECK(read_text_file(path) == "old");
    CHECK(files_in(directory) == 2);
  }
  CHECK(read_text_file(path) == "old");
  CHECK(files_in(directory) == 1);
  {
    AtomicFile first(path);
    first.write("new ");
    AtomicFile file(std::move(first));
    const std::array<std::byte, 2> bytes = {std::byte{'o'}, std::byte{'k'}};
    file.write(bytes);
    file.commit();
    CHECK(read_text_file(path) == "new ok");
    CHECK(error_of([&] { file.write("more"); }) ==
          "IoError: " + path + ": cannot write: the file is already committed");
    CHECK(error_of([&] { file.commit(); }) ==
          "IoError: " + path + ": cannot commit: the file is already committed");
  }
  CHECK(read_text_file(path) == "new ok");
  CHECK(files_in(directory) == 1);
}

TEST_CASE("AtomicFile says why it cannot write") {
  const TemporaryDirectory directory;
  const std::string error = error_of([&] { write_text_file(directory.path("no/such/file"), "text"); });
  CHECK(error.starts_with("IoError: " + directory.path("no/such/file.tmp.")));
  CHECK(error.ends_with("cannot create: No such file or directory"));
  std::filesystem::create_directory(directory.path("taken"));
  CHECK(error_of([&] { write_text_file(directory.path("taken"), "text"); }).find("Is a directory") !=
        std::string::npos);
  CHECK(files_in(directory) == 1);
}

TEST_CASE("AtomicFile replaces a symbolic link, not the file it points to") {
  const TemporaryDirectory directory;
  const std::string target = directory.write("blob", "shared");
  std::filesystem::create_symlink(target, directory.path("link"));
  write_text_file(directory.path("link"), "mine");
  CHECK(read_text_file(directory.path("link")) == "mine");
  CHECK(read_text_file(target) == "shared");
}

TEST_CASE(
    "file_exists counts what opening would complain of, and make_directories names what is in the way") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("plain", "");
  CHECK(file_exists(file));
  CHECK(!file_exists(directory.path("missing")));
  CHECK(!file_exists(file + "/below"));
  std::filesystem::create_symlink(directory.path("gone"), directory.path("dangling"));
  CHECK(file_exists(directory.path("dangling")));
  std::filesystem::create_symlink(directory.path("circle"), directory.path("circle"));
  CHECK(file_exists(directory.path("circle") + "/below"));  // too many links: not known to be missing

  make_directories(directory.path("a/b/c"));
  make_directories(directory.path("a/b/c"));
  CHECK(std::filesystem::is_directory(directory.path("a/b/c")));
  CHECK_THROWS_AS(make_directories(file + "/below"), IoError);
}
