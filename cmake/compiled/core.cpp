#include <attune/core/file.inl.hpp>
#include <attune/core/memory.inl.hpp>
#include <attune/core/parallel.inl.hpp>
#include <attune/core/sort.inl.hpp>
