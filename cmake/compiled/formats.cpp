#include <attune/formats/json.inl.hpp>
#include <attune/formats/safetensors.inl.hpp>
