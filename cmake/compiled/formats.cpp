#include <attune/formats/checkpoint.inl.hpp>
#include <attune/formats/json.inl.hpp>
#include <attune/formats/json_events.inl.hpp>
#include <attune/formats/json_writer.inl.hpp>
#include <attune/formats/pickle.inl.hpp>
#include <attune/formats/safetensors.inl.hpp>
#include <attune/formats/torch_file.inl.hpp>
#include <attune/formats/zip.inl.hpp>
