#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format_tools.hpp"

namespace attune_test {

/// How a broken file is to be read.
enum class Reader { safetensors, json, config, zip, torch, index };

/// A broken file with the error that it must give: its type and a part of its message.
struct BrokenFile {
  std::string name;
  Reader reader;
  std::string bytes;
  std::string type;
  std::string message;
};

std::vector<BrokenFile> broken_safetensors();
std::vector<BrokenFile> broken_json();
std::vector<BrokenFile> broken_zips();
std::vector<BrokenFile> broken_pickles();
std::vector<BrokenFile> broken_indices();

/// Reads the file as its case says, elements included.
void read_broken(const std::string& path, Reader reader);

}  // namespace attune_test
