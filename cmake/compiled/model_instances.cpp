#include <attune/models/instances.hpp>
