// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/random.hpp>
#include <moepar/data/keyed_permutation.hpp>

namespace moepar {

//! Which rows of a data set a step takes: the next `batch` in the order of the file, which starts again at its end; or
//! of a random permutation for each epoch. A function of the step alone: the same on every layout, and a resumed run
//! needs no state but its step.
class RowOrder {
 public:
  //! shuffle: seed of the permutations; none: the order of the file. Throws Error unless rows and batch are positive.
  RowOrder(Index rows, Index batch, std::optional<std::uint64_t> shuffle = {}) : rows_{rows}, batch_{batch} {
    if (rows < 1 || batch < 1)
      throw Error{"moepar::RowOrder: " + std::to_string(rows) + " rows in batches of " + std::to_string(batch) +
                  ". Fix: give at least one row, and one row a batch."};
    if (shuffle) order_.emplace(random_key(*shuffle, "data/order"), rows);
  }

  [[nodiscard]] Index batch() const { return batch_; }
  [[nodiscard]] Index rows() const { return rows_; }

  //! Row of place `index`, 0..batch-1, of the batch of `step`, which counts from 1.
  [[nodiscard]] Index row(Index step, Index index) const {
    if (step < 1 || step > std::numeric_limits<Index>::max() / batch_ || index < 0 || index >= batch_)
      throw Error{"moepar::RowOrder: place " + std::to_string(index) + " of step " + std::to_string(step) +
                  " was asked for with batches of " + std::to_string(batch_) +
                  ". Fix: count steps from 1 and places from 0."};
    const Index place = (step - 1) * batch_ + index;
    return order_ ? (*order_)(place / rows_, place % rows_) : place % rows_;
  }

 private:
  Index rows_, batch_;
  std::optional<KeyedPermutation> order_{};
};

}  // namespace moepar
