// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <csignal>
#include <cstdlib>

namespace moepar {

namespace detail {
inline volatile std::sig_atomic_t stop_asked = 0;

inline void note_stop(int number) {
  if (stop_asked != 0) std::_Exit(128 + number);  // a second one: at once
  stop_asked = 1;
}
}  // namespace detail

//! While one lives, SIGTERM and SIGINT ask for an orderly end: the trainer finishes its step, saves and returns. A
//! second signal ends the process at once, with the exit code of a shell (128 + number). One at a time in a process.
class StopSignal {
 public:
  StopSignal() : term_{std::signal(SIGTERM, detail::note_stop)}, interrupt_{std::signal(SIGINT, detail::note_stop)} {}
  ~StopSignal() {
    std::signal(SIGTERM, term_);
    std::signal(SIGINT, interrupt_);
    detail::stop_asked = 0;
  }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  //! On this process; ranks must agree on it before they act (Trainer::agree).
  [[nodiscard]] bool asked() const { return detail::stop_asked != 0; }

 private:
  using Handler = void (*)(int);
  Handler term_, interrupt_;
};

}  // namespace moepar
