#pragma once

#include <cstdint>

namespace attune {

/// How the scores of several classes become one.
enum class Average {
  binary,    ///< the scores of one class, the positive one
  macro,     ///< the mean over the classes that occur
  micro,     ///< from the counts of all classes together; for one label a row this is the accuracy
  weighted,  ///< the mean over the classes, each as often as it occurs in the references
};

struct ScoreOptions {
  Average average = Average::binary;
  std::int32_t positive = 1;  ///< the positive class of Average::binary
};

struct Scores {
  double precision = 0;
  double recall = 0;
  double f1 = 0;
};

}  // namespace attune
