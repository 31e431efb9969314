// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {
namespace detail {

//! Throws Error: `attempt` names what could not be done and to which path, `number` is errno, `bytes` what a write had
//! still to store, `fix` what to do where the disk is not the reason.
[[noreturn]] inline void refuse_file(const std::string& attempt, int number, const std::string& fix, Index bytes = 0) {
  const std::string reason = std::error_code{number, std::generic_category()}.message();
  const bool full = number == ENOSPC || number == EDQUOT || number == EFBIG;
  if (!full) throw Error{"moepar: " + attempt + " (" + reason + "). Fix: " + fix + "."};
  throw Error{"moepar: " + attempt + " (" + reason + "): the disk is full or has a limit, with " +
              std::to_string(bytes) + " bytes still to be written. Fix: make room or choose another folder."};
}

}  // namespace detail

//! An open file by its POSIX descriptor, closed with its owner. Reads and writes name their offset, so threads may use
//! one DiskFile and ranks may each open the same path. Every failure is an Error that names the path and the reason.
class DiskFile {
 public:
  //! For reading. Refuses what is not a plain file (a folder, a pipe), since only that has a size.
  [[nodiscard]] static DiskFile open(const std::string& path) {
    return DiskFile{path, O_RDONLY, "could not be opened for reading",
                    "check the path, the folder that the program runs in and the permissions"};
  }

  //! For reading and writing, empty: what was at `path` is gone. Mode 0644, less the user's mask.
  [[nodiscard]] static DiskFile create(const std::string& path) {
    return DiskFile{path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, "could not be created",
                    "check that the folder exists and may be written to"};
  }

  //! For reading and writing a file that exists, as it is.
  [[nodiscard]] static DiskFile edit(const std::string& path) {
    return DiskFile{path, O_RDWR, "could not be opened for writing", "check that it exists and may be written to"};
  }

  DiskFile(DiskFile&& other) noexcept
      : path_{std::move(other.path_)}, descriptor_{std::exchange(other.descriptor_, -1)} {}

  DiskFile& operator=(DiskFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  //! Closes without a word; close() reports what the system says.
  ~DiskFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  //! The descriptor, still owned here, for calls that this class lacks; -1 once closed.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

  //! Bytes in the file now.
  [[nodiscard]] Index size() const {
    struct ::stat facts {};
    if (::fstat(descriptor_, &facts) != 0) refuse("the size of '" + path_ + "' could not be read");
    return static_cast<Index>(facts.st_size);
  }

  //! Fills `bytes` with the file's bytes from `offset` on; an Error where the file ends before.
  void read_at(std::span<std::byte> bytes, Index offset) const {
    for (std::size_t done = 0; done < bytes.size();) {
      const ::ssize_t count = ::pread(descriptor_, bytes.data() + done, std::min(bytes.size() - done, most_at_once),
                                      static_cast<::off_t>(offset) + static_cast<::off_t>(done));
      if (count == 0)
        throw Error{"moepar: '" + path_ + "' ends after " + std::to_string(offset + static_cast<Index>(done)) +
                    " bytes, " + std::to_string(bytes.size()) + " bytes were to be read from byte " +
                    std::to_string(offset) + " on. Fix: get the whole file again; this one was cut."};
      if (count > 0)
        done += static_cast<std::size_t>(count);
      else if (errno != EINTR)
        refuse(piece(bytes.size(), offset) + " of '" + path_ + "' could not be read");
    }
  }

  //! Stores all of `bytes` from `offset` on; the file grows where needed. After an Error an unknown part is stored.
  void write_at(std::span<const std::byte> bytes, Index offset) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ::ssize_t count = ::pwrite(descriptor_, bytes.data() + done, std::min(bytes.size() - done, most_at_once),
                                       static_cast<::off_t>(offset) + static_cast<::off_t>(done));
      if (count > 0)
        done += static_cast<std::size_t>(count);
      else if (count == 0 || errno != EINTR)  // 0 has no reason of its own
        detail::refuse_file(piece(bytes.size(), offset) + " of '" + path_ + "' could not be written",
                            count == 0 ? EIO : errno, "check the disk", static_cast<Index>(bytes.size() - done));
    }
  }

  //! Sets the size: cuts, or adds zeros that take no space until written.
  void resize(Index size) {
    while (::ftruncate(descriptor_, static_cast<::off_t>(size)) != 0)
      if (errno != EINTR)
        detail::refuse_file("'" + path_ + "' could not be made " + std::to_string(size) + " bytes long", errno,
                            "check the disk", size);
  }

  //! Returns once all that was written is on the disk.
  void sync() {
    while (::fsync(descriptor_) != 0)
      if (errno != EINTR) refuse("'" + path_ + "' could not be brought to the disk");
  }

  //! Closes and reports what only shows then (a full disk behind a network). Nothing but destroying comes after.
  void close() {
    const int descriptor = std::exchange(descriptor_, -1);
    // The descriptor is gone even after EINTR, on Linux as in POSIX 2024: never a second try.
    if (descriptor >= 0 && ::close(descriptor) != 0 && errno != EINTR) refuse("'" + path_ + "' could not be closed");
  }

 private:
  //! Linux moves at most 2^31 - 4096 bytes a call.
  static constexpr std::size_t most_at_once = std::size_t{1} << 30;

  DiskFile(const std::string& path, int flags, const std::string& problem, const std::string& fix) : path_{path} {
    const std::string attempt = "'" + path + "' " + problem;
    do {
      // Without O_NONBLOCK the opening of a pipe would wait for its other end; plain files do not care.
      descriptor_ = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0644);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) detail::refuse_file(attempt, errno, fix);
    struct ::stat facts {};
    const int number = ::fstat(descriptor_, &facts) != 0 ? errno : S_ISDIR(facts.st_mode) ? EISDIR : 0;
    if (number == 0 && S_ISREG(facts.st_mode)) return;
    ::close(descriptor_);
    if (number != 0) detail::refuse_file(attempt, number, number == EISDIR ? "name a file in it" : fix);
    throw Error{"moepar: " + attempt + " (it is a pipe or a device). Fix: name a plain file."};
  }

  [[noreturn]] void refuse(const std::string& attempt) const { detail::refuse_file(attempt, errno, "check the disk"); }

  static std::string piece(std::size_t bytes, Index offset) {
    return std::to_string(bytes) + " bytes from byte " + std::to_string(offset) + " on";
  }

  std::string path_;
  int descriptor_ = -1;
};

//! Throws Error when there is something at `path` that is no plain file: a rename would take its place, also that of
//! /dev/null.
inline void require_plain_target(const std::string& path) {
  struct ::stat facts {};
  if (::stat(path.c_str(), &facts) == 0 && !S_ISREG(facts.st_mode))
    throw Error{"moepar: '" + path +
                "' is there and is no plain file, so it is not written. Fix: give the path of a file."};
}

//! Gives the file or folder `from` the name `to`, at once for every reader; a file that had that name is gone. Both
//! must be on one file system. sync_folder() of their folder makes it last.
inline void replace_file(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    detail::refuse_file("'" + from + "' could not be renamed to '" + to + "'", errno,
                        "check that both are in one file system and that the folder may be written to");
}

//! Returns once the names in `folder` ("" is the current one) are on the disk.
inline void sync_folder(const std::string& folder) {
  const std::string attempt = "folder '" + folder + "' could not be brought to the disk";
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) detail::refuse_file(attempt, errno, "check that the folder exists and may be read");
  const int number = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  // Some file systems have no order for names to bring about and say EINVAL.
  if (number != 0 && number != EINVAL) detail::refuse_file(attempt, number, "check the disk");
}

//! Makes the folder `path`, whose parent must exist; one that is there already is left as it is.
inline void make_folder(const std::string& path) {
  const std::string attempt = "folder '" + path + "' could not be made";
  const std::string fix = "check that the parent folder exists and may be written to";
  if (::mkdir(path.c_str(), 0777) == 0) return;
  if (errno != EEXIST) detail::refuse_file(attempt, errno, fix);
  struct ::stat facts {};
  if (::stat(path.c_str(), &facts) != 0) detail::refuse_file(attempt, errno, fix);
  if (!S_ISDIR(facts.st_mode)) detail::refuse_file(attempt, ENOTDIR, "remove the file of that name");
}

//! Writes a file of this text, or leaves the one that was there before. sync_folder() of its folder makes it last.
inline void write_whole_file(const std::string& path, const std::string& text) {
  require_plain_target(path);
  const std::string partial = path + ".partial";
  DiskFile file = DiskFile::create(partial);
  file.write_at(std::as_bytes(std::span{text}), 0);
  file.sync();
  file.close();
  replace_file(partial, path);
}

}  // namespace moepar
