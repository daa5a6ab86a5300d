#include <attune/core/file.inl.hpp>
#include <attune/core/parallel.inl.hpp>
