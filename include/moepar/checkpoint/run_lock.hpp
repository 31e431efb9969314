// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/core/error.hpp>
#include <string>
#include <utility>

namespace moepar {

//! Keeps other runs out of the folder of a run while it lives: a lock of the kernel on folder/lock, which also says who
//! has it. When the process dies, however it dies, the lock is free; the file stays. One rank of a run takes it.
class RunLock {
 public:
  //! folder: must exist. Throws Error that names process and host when another run, also of this process, has it.
  explicit RunLock(const std::string& folder) {
    const std::string path = folder + "/lock";
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (descriptor_ < 0)
      detail::refuse_file("the lock '" + path + "' could not be opened", errno,
                          "check that the folder exists and may be written to");
    while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int number = errno;
      if (number == EINTR) continue;
      const std::string owner = number == EWOULDBLOCK ? content() : "";
      free();
      if (number != EWOULDBLOCK)
        detail::refuse_file("the lock '" + path + "' could not be taken", number, "use a file system with locks");
      throw Error{"moepar: the folder '" + folder + "' is in use by another run (" +
                  (owner.empty() ? "it has not said which" : owner) + "; the lock is '" + path +
                  "'). Fix: wait until it ends, or give this run a folder of its own."};
    }
    if (const std::string before = content(); !before.empty() && !before.starts_with("process ")) {
      free();
      throw Error{"moepar: '" + path + "' is not the lock of a run: it begins with '" + before.substr(0, 40) +
                  "'. Fix: give the run a folder of its own."};
    }
    if (const int number = write(); number != 0) {
      free();
      detail::refuse_file("the lock '" + path + "' could not be written", number, "check the disk");
    }
  }
  RunLock(RunLock&& other) noexcept : descriptor_{std::exchange(other.descriptor_, -1)} {}
  RunLock& operator=(RunLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~RunLock() { free(); }

 private:
  void free() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }
  //! "process 1234 on host name"
  [[nodiscard]] std::string content() const {
    std::array<char, 512> bytes;
    const ::ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), 0);
    std::string text(bytes.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    return text.substr(0, text.find('\n'));
  }
  //! Returns errno, 0 when it worked.
  [[nodiscard]] int write() const {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) host = {"unknown"};
    const std::string text = "process " + std::to_string(::getpid()) + " on host " + host.data() + "\n";
    if (::ftruncate(descriptor_, 0) != 0) return errno;
    const ::ssize_t count = ::pwrite(descriptor_, text.data(), text.size(), 0);
    return count < 0 ? errno : static_cast<std::size_t>(count) == text.size() ? 0 : ENOSPC;
  }

  int descriptor_ = -1;
};

}  // namespace moepar
