#include <attune/optim/schedule.inl.hpp>
