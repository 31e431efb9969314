// SPDX-License-Identifier: Apache-2.0
// A library to preload: it numbers the operations of a process that change files under one folder, and at one of them
// kills the process, or lets it and those after it find the disk full.
//
//   FAULT_FOLDER  absolute path; what is not under it is left alone
//   FAULT_AT      number of the operation, from 1; 0 or absent: none
//   FAULT_COUNT   absent: the process is killed there, in the middle of a write; else so many operations from there on
//                 fail with ENOSPC, those that free space excepted
//   FAULT_LOG     absent or a file to which a line is appended for each operation
#undef _FILE_OFFSET_BITS  // build systems set it; open would then be another name of open64, and both are defined here
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct Settings {
  std::string folder;
  long at = 0, count = 0;
  bool kills = true;
  int log = -1;
};

template <class Function> Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

const Settings& settings() {
  static const Settings all = [] {
    Settings read;
    const auto text = [](const char* name) { return std::string{std::getenv(name) ? std::getenv(name) : ""}; };
    read.folder = text("FAULT_FOLDER");
    read.at = std::atol(text("FAULT_AT").c_str());
    read.kills = text("FAULT_COUNT").empty();
    read.count = std::atol(text("FAULT_COUNT").c_str());
    if (const std::string log = text("FAULT_LOG"); !log.empty()) {
      static const auto open_file = next<int (*)(const char*, int, ...)>("open");
      read.log = open_file(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    return read;
  }();
  return all;
}

bool inside(const std::string& path) {
  const std::string& folder = settings().folder;
  return !folder.empty() && path.compare(0, folder.size(), folder) == 0;
}
std::string path_of(int descriptor) {
  char path[4096];
  const ::ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return {path, length > 0 ? static_cast<std::size_t>(length) : 0};
}
std::string path_at(int folder, const char* path) {
  return path[0] == '/' || folder == AT_FDCWD ? path : path_of(folder) + '/' + path;
}

std::atomic<long> operations{0};

//! Counts one operation. Returns false when it must fail, with errno set. torn: done before the process is killed.
template <class Torn> bool may(const char* operation, const std::string& path, bool takes_space, Torn torn) {
  if (!inside(path)) return true;
  const Settings& all = settings();
  const long number = ++operations;
  if (all.log >= 0) {
    static const auto write_file = next<::ssize_t (*)(int, const void*, std::size_t)>("write");
    const std::string line = std::to_string(number) + ' ' + operation + ' ' + path + '\n';
    (void)!write_file(all.log, line.data(), line.size());
  }
  if (all.at == 0 || number < all.at) return true;
  if (all.kills) {
    if (number == all.at) torn();
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  if (number >= all.at + all.count || !takes_space) return true;
  errno = ENOSPC;
  return false;
}
bool may(const char* operation, const std::string& path, bool takes_space = true) {
  return may(operation, path, takes_space, [] {});
}

int open_with(const char* name, int folder, const char* path, int flags, ::mode_t mode) {
  if ((flags & O_CREAT) != 0 && !may("open", path_at(folder, path))) return -1;
  return next<int (*)(int, const char*, int, ...)>(name)(folder, path, flags, mode);
}
::mode_t mode_of(int flags, std::va_list arguments) {
  return (flags & O_CREAT) != 0 ? static_cast<::mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

#define OPEN(name, at_name)                                 \
  int name(const char* path, int flags, ...) {              \
    std::va_list arguments;                                 \
    va_start(arguments, flags);                             \
    const ::mode_t mode = mode_of(flags, arguments);        \
    va_end(arguments);                                      \
    return open_with(at_name, AT_FDCWD, path, flags, mode); \
  }
#define OPEN_AT(name)                                      \
  int name(int folder, const char* path, int flags, ...) { \
    std::va_list arguments;                                \
    va_start(arguments, flags);                            \
    const ::mode_t mode = mode_of(flags, arguments);       \
    va_end(arguments);                                     \
    return open_with(#name, folder, path, flags, mode);    \
  }
#define PWRITE(name)                                                                               \
  ::ssize_t name(int file, const void* bytes, std::size_t count, ::off_t offset) {                 \
    static const auto real = next<::ssize_t (*)(int, const void*, std::size_t, ::off_t)>(#name);   \
    return may("pwrite", path_of(file), true, [&] { (void)real(file, bytes, count / 2, offset); }) \
               ? real(file, bytes, count, offset)                                                  \
               : -1;                                                                               \
  }

extern "C" {

OPEN(open, "openat")
OPEN(open64, "openat64")
OPEN_AT(openat)
OPEN_AT(openat64)
PWRITE(pwrite)
PWRITE(pwrite64)

::ssize_t write(int file, const void* bytes, std::size_t count) {
  static const auto real = next<::ssize_t (*)(int, const void*, std::size_t)>("write");
  return may("write", path_of(file), true, [&] { (void)!real(file, bytes, count / 2); }) ? real(file, bytes, count)
                                                                                         : -1;
}
int ftruncate(int file, ::off_t size) noexcept {
  return may("ftruncate", path_of(file)) ? next<int (*)(int, ::off_t)>("ftruncate")(file, size) : -1;
}
int ftruncate64(int file, ::off_t size) noexcept { return ftruncate(file, size); }
int fsync(int file) { return may("fsync", path_of(file)) ? next<int (*)(int)>("fsync")(file) : -1; }
int rename(const char* from, const char* to) noexcept {
  return may("rename", from) ? next<int (*)(const char*, const char*)>("rename")(from, to) : -1;
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  static const auto real = next<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  return may("renameat2", path_at(from_folder, from)) ? real(from_folder, from, to_folder, to, flags) : -1;
}
int mkdir(const char* path, ::mode_t mode) noexcept {
  return may("mkdir", path) ? next<int (*)(const char*, ::mode_t)>("mkdir")(path, mode) : -1;
}
int unlink(const char* path) noexcept {
  return may("unlink", path, false) ? next<int (*)(const char*)>("unlink")(path) : -1;
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return may("unlinkat", path_at(folder, path), false)
             ? next<int (*)(int, const char*, int)>("unlinkat")(folder, path, flags)
             : -1;
}
int remove(const char* path) noexcept {
  return may("remove", path, false) ? next<int (*)(const char*)>("remove")(path) : -1;
}
int rmdir(const char* path) noexcept {
  return may("rmdir", path, false) ? next<int (*)(const char*)>("rmdir")(path) : -1;
}

}  // extern "C"
