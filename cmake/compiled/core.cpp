#include <attune/core/parallel.inl.hpp>
