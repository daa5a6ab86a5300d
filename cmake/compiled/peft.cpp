#include <attune/peft/adapter_file.inl.hpp>
#include <attune/peft/lora_config.inl.hpp>
#include <attune/peft/module_pattern.inl.hpp>
