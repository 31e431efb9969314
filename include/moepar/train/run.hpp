// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdio>
#include <exception>
#include <moepar/comm/threads/thread_world.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/ieee.hpp>
#include <moepar/core/index.hpp>
#include <moepar/train/job_rank.hpp>
#include <new>
#include <string>

namespace moepar {

//! How the ranks of a job run.
struct RunOptions {
  Index workers = 0;  //!< threads a rank; 0: its share of the machine's cores
  std::chrono::milliseconds deadline = std::chrono::minutes{2};  //!< of every blocking call
};

//! Runs body(rank) on every rank of Job, each a thread of this process, and returns when all have ended. Throws what
//! the first rank at fault threw.
template <class Job, class Body> void run_threads(Body body, const RunOptions& options = {}) {
  if constexpr (Job::valid) {  // else the compiler has said why
    require_ieee_arithmetic();
    ThreadWorld world{Job::layout.world, options.deadline};
    world.run([&](ThreadWorld::Rank& connection) {
      JobRank<typename Job::model, ThreadWorld::Rank> rank{connection, Job::layout, options.workers};
      try {
        body(rank);
      } catch (const Error&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw Error{"moepar: rank " + std::to_string(rank.rank()) +
                    " found no memory. Fix: take fewer sequences or tokens a step, more micro-steps or more ranks; the "
                    "plan says what a rank needs."};
      } catch (const std::exception& error) {
        throw Error{"moepar: rank " + std::to_string(rank.rank()) + " ended with '" + error.what() +
                    "'. Fix: look for what throws it in the code of the ranks."};
      }
    });
  }
}

//! The whole of a main function: runs the job and returns its exit code. An error ends all ranks and is reported once,
//! on stderr. argc and argv are for transports that start from them; threads need none.
//!
//!   int main(int argc, char** argv) {
//!     return mp::run<Job>(argc, argv, [](auto& rank) { ... });
//!   }
template <class Job, class Body> int run(int /*argc*/, char** /*argv*/, Body body, const RunOptions& options = {}) {
  try {
    run_threads<Job>(body, options);
    return 0;
  } catch (const Error& error) {
    std::fflush(stdout);  // what was printed before comes before
    std::fprintf(stderr, "%s\n", error.report().c_str());
  } catch (...) {
    std::fflush(stdout);
    std::fprintf(stderr, "moepar: a rank threw something that is no std::exception. Fix: throw moepar::Error.\n");
  }
  return 1;
}

}  // namespace moepar
