#include <attune/train/checkpoint_contents.inl.hpp>
