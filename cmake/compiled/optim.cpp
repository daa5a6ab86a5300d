#include <attune/optim/instances.hpp>

#include <attune/optim/schedule.inl.hpp>
