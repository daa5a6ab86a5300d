#include <attune/io/pretrained.inl.hpp>
#include <attune/models/config.inl.hpp>
#include <attune/models/decoder_config.inl.hpp>
#include <attune/models/sentence_embedding_config.inl.hpp>
#include <attune/train/summary.inl.hpp>
