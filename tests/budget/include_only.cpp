// SPDX-License-Identifier: Apache-2.0
// What the header alone costs, most of it the standard library's; the other workloads are counted beyond it.
#include <moepar/moe.hpp>
