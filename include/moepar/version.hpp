// SPDX-License-Identifier: Apache-2.0
#pragma once

// The version of the library, for the preprocessor and for the program. Meson, pkg-config, CMake, CITATION.cff and
// CHANGELOG.md carry the same one; a test compares them.
#define MOEPAR_VERSION_MAJOR 0
#define MOEPAR_VERSION_MINOR 1
#define MOEPAR_VERSION_PATCH 0
#define MOEPAR_VERSION (MOEPAR_VERSION_MAJOR * 1000000 + MOEPAR_VERSION_MINOR * 1000 + MOEPAR_VERSION_PATCH)

namespace moepar {

struct Version {
  int major_number = 0, minor_number = 0, patch_number = 0;
  friend constexpr bool operator==(const Version&, const Version&) = default;
};

inline constexpr Version version{MOEPAR_VERSION_MAJOR, MOEPAR_VERSION_MINOR, MOEPAR_VERSION_PATCH};

}  // namespace moepar
