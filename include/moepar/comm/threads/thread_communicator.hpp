// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/comm/pull/pull_communicator.hpp>
#include <moepar/comm/threads/meeting.hpp>

namespace moepar {

//! A communicator whose ranks are threads of one process.
using ThreadCommunicator = PullCommunicator<detail::ThreadMeeting>;

}  // namespace moepar
