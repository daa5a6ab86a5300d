#pragma once

// Only targets that link attune::cuda find this file: attune/device.hpp looks whether it can be included.
