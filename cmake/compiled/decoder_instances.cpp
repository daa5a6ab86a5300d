#include <attune/models/decoders.hpp>
