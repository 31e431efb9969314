// SPDX-License-Identifier: Apache-2.0
// Two translation units include the whole library: that they link is the test, and that both see the same model.
#include <moepar/moe.hpp>

moepar::Index parameters_as_the_other_file_sees_them();

int main() {
  using Job = moepar::Deployment<moepar::Mixtral8x7B<2, 4>, moepar::World<8>>;
  return Job::parameters().total() == parameters_as_the_other_file_sees_them() ? 0 : 1;
}
