#pragma once

/// Everything that a program on the CPU needs.

#include <attune/autograd/backward.hpp>
#include <attune/autograd/checkpoint.hpp>
#include <attune/core/log.hpp>
#include <attune/core/parallel.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/data/samplers.hpp>
#include <attune/data/text_classification.hpp>
#include <attune/device.hpp>
#include <attune/models/bert.hpp>
#include <attune/models/distilbert.hpp>
#include <attune/models/instances.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/optim/schedule.hpp>
#include <attune/optim/sgd.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/version.hpp>
