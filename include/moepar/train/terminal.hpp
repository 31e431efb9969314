// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#if __has_include(<sys/ioctl.h>) && __has_include(<unistd.h>)
#include <sys/ioctl.h>
#include <unistd.h>
#define MOEPAR_HAS_TERMINALS 1
#else
#define MOEPAR_HAS_TERMINALS 0
#endif

namespace moepar {

//! How lines of text may look. The defaults suit a file: no colour, no limit on the width.
struct Terminal {
  bool colour = false;
  int columns = 0;  //!< 0: unknown, as wide as needed
};

//! What `stream` is: colour only for a terminal, and not when NO_COLOR is set to anything (no-color.org) or
//! TERM is "dumb".
[[nodiscard]] inline Terminal terminal_of(std::FILE* stream) {
  Terminal terminal;
#if MOEPAR_HAS_TERMINALS
  const int number = ::fileno(stream);
  if (::isatty(number) == 0) return terminal;
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const kind = std::getenv("TERM");
  terminal.colour = (no_colour == nullptr || *no_colour == '\0') && (kind == nullptr || std::strcmp(kind, "dumb") != 0);
  ::winsize size{};
  if (::ioctl(number, TIOCGWINSZ, &size) == 0) terminal.columns = size.ws_col;
#else
  static_cast<void>(stream);
#endif
  return terminal;
}

}  // namespace moepar
#undef MOEPAR_HAS_TERMINALS
