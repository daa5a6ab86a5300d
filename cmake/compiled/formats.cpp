#include <attune/formats/json.inl.hpp>
