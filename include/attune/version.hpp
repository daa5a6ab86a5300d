#pragma once

/// The version of the library, also read by CMakeLists.txt.
#define ATTUNE_VERSION_MAJOR 0
#define ATTUNE_VERSION_MINOR 1
#define ATTUNE_VERSION_PATCH 0
#define ATTUNE_VERSION "0.1.0"
