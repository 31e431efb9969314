// SPDX-License-Identifier: Apache-2.0
#include <moepar/moe.hpp>

moepar::Index parameters_as_the_other_file_sees_them();

moepar::Index parameters_as_the_other_file_sees_them() {
  return moepar::Deployment<moepar::Mixtral8x7B<2, 4>, moepar::World<8>>::parameters().total();
}
