#pragma once

#include <attune/text/bert_tokenizer.hpp>
