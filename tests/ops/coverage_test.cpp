// Every operation has a case in a table of this program.
#include <filesystem>

#include "suites/operations.hpp"

TEST_CASE("operations: each header in ops/ and loss/ has a case, and each case a header") {
  std::set<std::string> headers{"checkpoint"};
  for (const char* folder : {"ops", "loss"})
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(ATTUNE_SOURCE_DIR) + "/include/attune/" + folder))
      headers.insert(entry.path().stem().string());
  headers.erase("total");  // what the losses share
  CHECK(headers.size() > 20);
  for (const std::string& header : headers)
    CHECK_MESSAGE(attune::testing::covered_headers().contains(header), header);
  for (const std::string& covered : attune::testing::covered_headers())
    CHECK_MESSAGE(headers.contains(covered), covered);
}
