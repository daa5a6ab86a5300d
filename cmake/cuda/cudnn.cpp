// Attention by cuDNN, whose library is loaded at run time.
#include <attune/backend/cuda/cudnn/attention.inl.hpp>
